package dnscache

import (
	"strings"
	"testing"
	"time"
)

func TestParseServer(t *testing.T) {
	for _, tt := range []struct {
		server   string
		protocol protocol
		addrs    string // "": an error
		tlsName  string
		url      string
	}{
		{"192.0.2.1", overUDP, "192.0.2.1:53", "", ""},
		{"192.0.2.1:5353", overUDP, "192.0.2.1:5353", "", ""},
		{"2001:db8::1", overUDP, "[2001:db8::1]:53", "", ""},
		{"[2001:db8::1]", overUDP, "[2001:db8::1]:53", "", ""},
		{"[2001:db8::1]:5353", overUDP, "[2001:db8::1]:5353", "", ""},
		{"fe80::1%eth0", overUDP, "[fe80::1%eth0]:53", "", ""},
		{"udp://192.0.2.1", overUDP, "192.0.2.1:53", "", ""},
		{"udp://[2001:db8::1]:5353", overUDP, "[2001:db8::1]:5353", "", ""},
		{"tcp://192.0.2.1", overTCP, "192.0.2.1:53", "", ""},
		{"tcp://192.0.2.1:5353", overTCP, "192.0.2.1:5353", "", ""},
		{"tcp://2001:db8::1", overTCP, "[2001:db8::1]:53", "", ""},
		{"tls://192.0.2.1", overTLS, "192.0.2.1:853", "192.0.2.1", ""},
		{"tls://[2001:db8::1]:8853", overTLS, "[2001:db8::1]:8853", "2001:db8::1", ""},
		{"tls://192.0.2.1#dns.test", overTLS, "192.0.2.1:853", "dns.test", ""},
		{"https://192.0.2.1/dns-query", overHTTPS, "192.0.2.1:443", "192.0.2.1", "https://192.0.2.1/dns-query"},
		{"https://[2001:db8::1]:8443/q?x=1", overHTTPS, "[2001:db8::1]:8443", "2001:db8::1", "https://[2001:db8::1]:8443/q?x=1"},
		{"https://dns.test/dns-query#192.0.2.1", overHTTPS, "192.0.2.1:443", "dns.test", "https://dns.test/dns-query"},
		{"https://dns.test:8443/dns-query#192.0.2.1,2001:db8::1", overHTTPS, "192.0.2.1:8443 [2001:db8::1]:8443", "dns.test", "https://dns.test:8443/dns-query"},
		{"", 0, "", "", ""},
		{"ns.test", 0, "", "", ""},
		{"ns.test:53", 0, "", "", ""},
		{"192.0.2.1:0", 0, "", "", ""},
		{"192.0.2.1:65536", 0, "", "", ""},
		{"192.0.2.1:dns", 0, "", "", ""},
		{"192.0.2", 0, "", "", ""},
		{"tcp://", 0, "", "", ""},
		{"tls://dns.test", 0, "", "", ""},
		{"https://dns.test/dns-query", 0, "", "", ""}, // who looks dns.test up?
		{"https://dns.test/dns-query#ns.test", 0, "", "", ""},
		{"https://user@192.0.2.1/dns-query", 0, "", "", ""},
		{"https://192.0.2.1:0/dns-query", 0, "", "", ""},
		{"https:///dns-query", 0, "", "", ""},
		{"quic://192.0.2.1", 0, "", "", ""},
		{"TCP://192.0.2.1", 0, "", "", ""},
	} {
		n, err := parseServer(tt.server)
		if (err == nil) != (tt.addrs != "") {
			t.Errorf("parseServer(%q): err = %v, want an error: %v", tt.server, err, tt.addrs == "")
			continue
		}
		var addrs []string
		for _, a := range n.addrs {
			addrs = append(addrs, a.String())
		}
		if err == nil && (n.protocol != tt.protocol || strings.Join(addrs, " ") != tt.addrs || n.tlsName != tt.tlsName || n.url != tt.url) {
			t.Errorf("parseServer(%q) = %+v, want %+v", tt.server, n, tt)
		}
	}
}

func TestOptions_Defaults(t *testing.T) {
	given := Options{Servers: []string{"192.0.2.1"}}
	got, err := given.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got.MinTTL != 30*time.Second || got.MaxTTL != 24*time.Hour || got.MaxHosts != 1_000_000 || got.HostsFile == "" || got.Dial == nil {
		t.Errorf("defaults = %+v, want those of the documentation", got)
	}
	if given.MaxTTL != 0 || given.Dial != nil {
		t.Error("the caller's Options were changed")
	}
	c, err := (&Resolver{opt: got}).newConfig(resolvConf{}, nil)
	if err != nil || c.timeout != 2*time.Second || c.tries != 2 {
		t.Errorf("Timeout %v, Tries %d, %v, want 2s and 2", c.timeout, c.tries, err)
	}
	// A ceiling below the default floor lowers the floor.
	low := Options{Servers: []string{"192.0.2.1"}, MaxTTL: time.Second}
	if got, err = low.withDefaults(); err != nil || got.MinTTL != time.Second {
		t.Errorf("MinTTL = %v, %v, want MaxTTL", got.MinTTL, err)
	}
}
