package dnscache

import (
	"testing"
	"time"
)

func TestParseServer(t *testing.T) {
	for _, tt := range []struct {
		server, addr string // addr "": an error
		tcpOnly      bool
	}{
		{"192.0.2.1", "192.0.2.1:53", false},
		{"192.0.2.1:5353", "192.0.2.1:5353", false},
		{"2001:db8::1", "[2001:db8::1]:53", false},
		{"[2001:db8::1]", "[2001:db8::1]:53", false},
		{"[2001:db8::1]:5353", "[2001:db8::1]:5353", false},
		{"fe80::1%eth0", "[fe80::1%eth0]:53", false},
		{"udp://192.0.2.1", "192.0.2.1:53", false},
		{"udp://[2001:db8::1]:5353", "[2001:db8::1]:5353", false},
		{"tcp://192.0.2.1", "192.0.2.1:53", true},
		{"tcp://192.0.2.1:5353", "192.0.2.1:5353", true},
		{"tcp://2001:db8::1", "[2001:db8::1]:53", true},
		{"", "", false},
		{"ns.test", "", false},
		{"ns.test:53", "", false},
		{"192.0.2.1:0", "", false},
		{"192.0.2.1:65536", "", false},
		{"192.0.2.1:dns", "", false},
		{"192.0.2", "", false},
		{"tcp://", "", false},
		{"tls://192.0.2.1", "", false},
		{"https://192.0.2.1/dns-query", "", false},
		{"quic://192.0.2.1", "", false},
		{"TCP://192.0.2.1", "", false},
	} {
		addr, tcpOnly, err := parseServer(tt.server)
		if (err == nil) != (tt.addr != "") {
			t.Errorf("parseServer(%q): err = %v, want an error: %v", tt.server, err, tt.addr == "")
			continue
		}
		if err == nil && (addr.String() != tt.addr || tcpOnly != tt.tcpOnly) {
			t.Errorf("parseServer(%q) = %v, %v, want %v, %v", tt.server, addr, tcpOnly, tt.addr, tt.tcpOnly)
		}
	}
}

func TestOptions_Defaults(t *testing.T) {
	given := Options{Servers: []string{"192.0.2.1"}}
	got, err := given.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got.Timeout != 2*time.Second || got.Tries != 2 || got.MinTTL != 30*time.Second || got.MaxTTL != 24*time.Hour || got.MaxHosts != 1_000_000 || got.HostsFile == "" || got.Dial == nil {
		t.Errorf("defaults = %+v, want those of the documentation", got)
	}
	if given.Timeout != 0 || given.Dial != nil {
		t.Error("the caller's Options were changed")
	}
	// A ceiling below the default floor lowers the floor.
	low := Options{Servers: []string{"192.0.2.1"}, MaxTTL: time.Second}
	if got, err = low.withDefaults(); err != nil || got.MinTTL != time.Second {
		t.Errorf("MinTTL = %v, %v, want MaxTTL", got.MinTTL, err)
	}
}
