package dnscache

import (
	"fmt"
	"math"
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
		{"TCP://192.0.2.1", overTCP, "192.0.2.1:53", "", ""}, // RFC 3986, section 3.1
		{"HTTPS://192.0.2.1/dns-query", overHTTPS, "192.0.2.1:443", "192.0.2.1", "https://192.0.2.1/dns-query"},
		{"https://dns.test/dns-query#[2001:db8::1]", overHTTPS, "[2001:db8::1]:443", "dns.test", "https://dns.test/dns-query"},
		{"[[192.0.2.1]]", 0, "", "", ""},
		{"[192.0.2.1", 0, "", "", ""},
		{"https://dns.test/dns-query#192.0.2.1:443", 0, "", "", ""},
		{"https://dns.test/dns-query#[[2001:db8::1]]", 0, "", "", ""},
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

// The errors say what to write.
func TestParseServer_Errors(t *testing.T) {
	for server, want := range map[string]string{
		"ns.test":                    `dnscache: nameserver "ns.test" is not an IP address with an optional port`,
		"quic://192.0.2.1":           `dnscache: nameserver "quic://192.0.2.1": unknown scheme "quic"; use udp://, tcp://, tls:// or https://`,
		"tls://dns.test":             `dnscache: nameserver "tls://dns.test" is not an IP address with an optional port and name, such as tls://192.0.2.1#dns.example`,
		"https://dns.test/dns-query": `dnscache: nameserver "https://dns.test/dns-query": looking up its own name would need a nameserver; add the addresses it has, such as https://dns.example/dns-query#192.0.2.1,2001:db8::1`,
		"https://dns.test/dns-query#192.0.2.1:443": `dnscache: nameserver "https://dns.test/dns-query#192.0.2.1:443": "192.0.2.1:443" has a port, which belongs into the URL, such as https://dns.example:8443/dns-query#192.0.2.1`,
	} {
		if _, err := parseServer(server); err == nil || err.Error() != want {
			t.Errorf("parseServer(%q): %v, want %s", server, err, want)
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

// Values beyond the bounds are refused; those at the bounds work.
func TestOptions_Bounds(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Timeout: time.Hour + 1}, "dnscache: Options.Timeout is 1h0m0.000000001s, must be from 0 to 1h0m0s"},
		{Options{Timeout: math.MaxInt64}, "dnscache: Options.Timeout is 2562047h47m16.854775807s, must be from 0 to 1h0m0s"},
		{Options{Tries: 101}, "dnscache: Options.Tries is 101, must be from 0 to 100"},
		{Options{MaxTTL: 720*time.Hour + 1}, "dnscache: Options.MaxTTL is 720h0m0.000000001s, must be from 0 to 720h0m0s"},
		{Options{MaxStale: 720*time.Hour + 1}, "dnscache: Options.MaxStale is 720h0m0.000000001s, must be at most 720h0m0s"},
		{Options{MaxHosts: mostHosts + 1}, fmt.Sprintf("dnscache: Options.MaxHosts is %d, must be from 0 to %d", mostHosts+1, mostHosts)},
		{Options{MaxHosts: -1}, fmt.Sprintf("dnscache: Options.MaxHosts is -1, must be from 0 to %d", mostHosts)},
	} {
		tt.o.Servers = []string{"192.0.2.1"}
		if _, err := tt.o.withDefaults(); err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
	o, err := (&Options{Servers: []string{"192.0.2.1"}, Timeout: mostTimeout, Tries: mostTries, MinTTL: mostTTL, MaxTTL: mostTTL, MaxStale: mostStale, MaxHosts: mostHosts}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&Resolver{opt: o}).newConfig(resolvConf{}, nil)
	if err != nil || c.lookupTime() != 100*time.Hour || c.maxSends() > math.MaxUint8 {
		t.Errorf("a lookup takes %v and %d messages at most, %v", c.lookupTime(), c.maxSends(), err)
	}
	if got, want := newCache(o.MaxHosts).mostBuckets(), int(int64(mostHosts)*100/(bucketSlots*fullAt)+1); got != want || int64(want)*bucketSlots*fullAt > math.MaxInt {
		t.Errorf("%d buckets, want %d", got, want)
	}
	rec := record{state: positive, addrs: list("192.0.2.1"), ttl: max(mostTTL, mostStale+staleFor)}
	if got := newEntry("a.test", [2]*record{v4: &rec}).record(v4).ttl; got != rec.ttl {
		t.Errorf("an entry keeps %v, want %v", got, rec.ttl)
	}
}
