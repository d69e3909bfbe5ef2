package dnscache

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseResolvConf_Servers(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"usual", "search a.test\nnameserver 192.0.2.53\noptions ndots:1\nnameserver 2001:db8::53\n", []string{"192.0.2.53", "2001:db8::53"}},
		{"three at most", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
		{"with a zone", "nameserver fe80::1%eth0\n", []string{"fe80::1%eth0"}},
		{"tabs, comments and no newline", "# nameserver 192.0.2.1\n; nameserver 192.0.2.2\n \tnameserver\t192.0.2.3 # the router", []string{"192.0.2.3"}},
		{"what is no address is left out", "nameserver ns.test\nnameserver\nnameservers 192.0.2.1\nnameserver 192.0.2.2\n", []string{"192.0.2.2"}},
		{"over TCP", "nameserver 192.0.2.1\nnameserver 2001:db8::53\noptions use-vc\n", []string{"tcp://192.0.2.1", "tcp://2001:db8::53"}},
		{"none: the local ones", "search a.test\n", []string{"127.0.0.1", "::1"}},
		{"empty: the local ones", "", []string{"127.0.0.1", "::1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := parseResolvConf(tt.text).servers
			if !slices.Equal(got, tt.want) {
				t.Errorf("servers = %q, want %q", got, tt.want)
			}
			for _, s := range got {
				if _, err := parseServer(s); err != nil {
					t.Errorf("parseServer refuses %q: %v", s, err)
				}
			}
		})
	}
}

// Bounds are those of resolv.conf(5).
func TestParseResolvConf_Options(t *testing.T) {
	for _, tt := range []struct {
		text     string
		ndots    int
		timeout  time.Duration
		attempts int
		rotate   bool
	}{
		{"", 1, 0, 0, false},
		{"options ndots:5 timeout:3 attempts:4 rotate edns0 trust-ad", 5, 3 * time.Second, 4, true},
		{"options ndots:99 timeout:99 attempts:99", 15, 30 * time.Second, 5, false},
		{"options ndots:0 timeout:0 attempts:0", 0, time.Second, 1, false},
		{"options ndots:-1 timeout:x attempts:", 1, 0, 0, false},
		{"options ndots:2\noptions rotate\n", 2, 0, 0, true},
	} {
		c := parseResolvConf(tt.text)
		if c.ndots != tt.ndots || c.timeout != tt.timeout || c.attempts != tt.attempts || c.rotate != tt.rotate {
			t.Errorf("%q: ndots %d, timeout %v, attempts %d, rotate %v, want %d, %v, %d, %v", tt.text, c.ndots, c.timeout, c.attempts, c.rotate, tt.ndots, tt.timeout, tt.attempts, tt.rotate)
		}
	}
}

func TestParseResolvConf_Search(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"search a.test B.test.\n", []string{"a.test", "b.test"}},
		{"domain a.test c.test\n", []string{"a.test"}},
		{"domain a.test\nsearch b.test\n", []string{"b.test"}}, // the last one counts
		{"search a..test b.test .\n", []string{"b.test"}},
	} {
		if got := parseResolvConf(tt.text).search; !slices.Equal(got, tt.want) {
			t.Errorf("%q: search %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzParseResolvConf reads any text. What it returns is within the bounds,
// names only servers that New accepts, and is the same when it is written down
// and read again.
func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nnameserver 2001:db8::1%eth0\nsearch a.test b.test\noptions ndots:2 timeout:1 attempts:3 rotate use-vc\n", "192.0.2.9")
	f.Add("domain A.test.\noptions ndots:99 timeout:0 attempts:-1 # x\n;\nnameserver\t::ffff:192.0.2.1\r\nsearch . a..b 127.1", "::1")
	f.Add("nameserver fe80::1%a://b\nnameserver fe80::1%[]\noptions timeout:99999999999999999999 attempts:0", "fe80::1%1")
	f.Fuzz(func(t *testing.T, text, server string) {
		c := parseResolvConf(text)
		if len(c.servers) < 1 || len(c.servers) > 3 || c.ndots < 0 || c.ndots > 15 || c.attempts < 0 || c.attempts > 5 {
			t.Errorf("%d servers, ndots %d, %d attempts", len(c.servers), c.ndots, c.attempts)
		}
		if c.timeout != 0 && (c.timeout < time.Second || c.timeout > 30*time.Second) {
			t.Errorf("timeout %v", c.timeout)
		}
		for _, s := range c.servers {
			if _, err := parseServer(s); err != nil {
				t.Errorf("New would say: %v", err)
			}
		}
		for _, d := range c.search {
			if name, fault := normalize(d); name != d || fault != "" {
				t.Errorf("search domain %q, of which normalize makes %q, %q", d, name, fault)
			}
		}
		c.none = false // they are written down
		if again := parseResolvConf(writeResolvConf(c)); !reflect.DeepEqual(again, c) {
			t.Errorf("read again: %+v, want %+v", again, c)
		}
		// A line that is in order is read whatever comes before it.
		a, err := netip.ParseAddr(server)
		if err != nil || a.Zone() != "" {
			return
		}
		more := parseResolvConf(text + "\nnameserver " + server + "\n")
		if len(more.servers) < 3 && !strings.HasSuffix(more.servers[len(more.servers)-1], a.String()) {
			t.Errorf("servers %q behind this text, want %s as well", more.servers, server)
		}
	})
}

// writeResolvConf is the text that says what c does.
func writeResolvConf(c resolvConf) string {
	var b strings.Builder
	for _, s := range c.servers {
		fmt.Fprintln(&b, "nameserver", strings.TrimPrefix(s, "tcp://"))
	}
	if len(c.search) > 0 {
		fmt.Fprintln(&b, "search", strings.Join(c.search, " "))
	} else {
		fmt.Fprintln(&b, "search .") // or it would be the host name's domain
	}
	fmt.Fprintf(&b, "options ndots:%d", c.ndots)
	if c.timeout > 0 {
		fmt.Fprintf(&b, " timeout:%d", c.timeout/time.Second)
	}
	if c.attempts > 0 {
		fmt.Fprintf(&b, " attempts:%d", c.attempts)
	}
	if c.rotate {
		b.WriteString(" rotate")
	}
	if c.tcp {
		b.WriteString(" use-vc")
	}
	return b.String()
}
