package transport

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// ruleOf is the rule of g that refuses an address, or "".
func ruleOf(g guard, addr netip.Addr) string {
	if e := g.denies(guardedHost{"H.test.:80", "h.test:80"}, netip.AddrPortFrom(addr, 80)); e != nil {
		return e.Rule
	}
	return ""
}

func TestGuard(t *testing.T) {
	table := &strings.Builder{}
	defer func() { t.Logf("address, and why PublicOnly refuses it:\n%s", table) }()
	for _, tt := range []struct {
		addr string
		rule string // "" for an address on the public Internet
	}{
		{"1.1.1.1", ""},
		{"8.8.8.8", ""},
		{"9.255.255.255", ""},
		{"11.0.0.0", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"126.255.255.255", ""},
		{"128.0.0.1", ""},
		{"168.63.129.15", ""},
		{"169.253.255.255", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.0.1.0", ""},
		{"192.167.255.255", ""},
		{"192.169.0.0", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"2606:4700:4700::1111", ""},
		{"2001:4860:4860::8888", ""},
		{"2001:200::1", ""},
		{"2003::1", ""},
		{"3ffe:ffff::1", ""},

		{"223.255.255.254", ""},
		{"192.31.196.1", ""}, // AS112
		{"2620:4f:8000::1", ""},
		{"::ffff:8.8.8.8", ""},       // mapped: it is 8.8.8.8
		{"64:ff9b::8.8.8.8", ""},     // NAT64: it leads to 8.8.8.8
		{"64:ff9b::a9fd:ffff", ""},   // 169.253.255.255
		{"2001:200:ffff::1", ""},     // just above 2001::/23
		{"2001:db7:ffff::1", ""},     // just below the documentation's
		{"2001:db9::1", ""},          // just above
		{"2003::1", ""},              // just above 6to4's
		{"3fff:1000::1", ""},         // just above the documentation's
		{"2a00:1450:4001::200e", ""}, // of Europe

		{"169.254.169.254", "cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
		{"::ffff:169.254.169.254", "cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
		{"169.254.170.2", "cloud metadata (AWS containers)"},
		{"169.254.170.23", "cloud metadata (AWS EKS)"},
		{"169.254.42.42", "cloud metadata (Scaleway)"},
		{"169.254.0.23", "cloud metadata (Tencent Cloud)"},
		{"100.100.100.200", "cloud metadata (Alibaba Cloud)"},
		{"168.63.129.16", "cloud metadata (Azure)"},
		{"192.0.0.192", "cloud metadata (Oracle)"},
		{"fd00:ec2::254", "cloud metadata (AWS)"},
		{"fd00:ec2::23", "cloud metadata (AWS EKS)"},
		{"fd20:ce::254", "cloud metadata (Google Cloud)"},
		{"fd00:42::42", "cloud metadata (Scaleway)"},

		{"0.0.0.0", "unspecified address (RFC 1122, RFC 4291)"},
		{"0.1.2.3", "this network (RFC 791)"},
		{"10.0.0.1", "private use (RFC 1918)"},
		{"10.255.255.255", "private use (RFC 1918)"},
		{"100.64.0.0", "shared address space (RFC 6598)"},
		{"100.127.255.255", "shared address space (RFC 6598)"},
		{"127.0.0.1", "loopback (RFC 1122)"},
		{"127.255.255.255", "loopback (RFC 1122)"},
		{"169.254.0.0", "link local (RFC 3927)"},
		{"172.16.0.1", "private use (RFC 1918)"},
		{"172.31.255.255", "private use (RFC 1918)"},
		{"192.0.0.9", "IETF protocol assignments (RFC 6890)"},
		{"192.0.2.1", "documentation (RFC 5737)"},
		{"192.52.193.1", "AMT relay anycast (RFC 7450)"},
		{"192.88.99.1", "6to4 relay anycast (RFC 7526)"},
		{"192.168.1.1", "private use (RFC 1918)"},
		{"198.18.0.1", "benchmarking (RFC 2544)"},
		{"198.19.255.255", "benchmarking (RFC 2544)"},
		{"198.51.100.1", "documentation (RFC 5737)"},
		{"203.0.113.1", "documentation (RFC 5737)"},
		{"224.0.0.1", "multicast (RFC 5771)"},
		{"239.255.255.255", "multicast (RFC 5771)"},
		{"240.0.0.1", "reserved (RFC 1112)"},
		{"255.255.255.255", "limited broadcast (RFC 919)"},

		{"::", "unspecified address (RFC 1122, RFC 4291)"},
		{"::ffff:0.0.0.0", "unspecified address (RFC 1122, RFC 4291)"},
		{"::1", "loopback (RFC 4291)"},
		{"::ffff:10.0.0.1", "private use (RFC 1918)"},
		{"::ffff:127.0.0.1", "loopback (RFC 1122)"},
		{"::10.0.0.1", "IPv4-compatible (RFC 4291)"},
		{"::8.8.8.8", "IPv4-compatible (RFC 4291)"},
		{"::ffff:0:10.0.0.1", "IPv4-translated (RFC 2765)"},
		{"::ffff:0:8.8.8.8", "IPv4-translated (RFC 2765)"},
		{"64:ff9b::10.0.0.1", "10.0.0.1 inside it: private use (RFC 1918)"},
		{"64:ff9b::127.0.0.1", "127.0.0.1 inside it: loopback (RFC 1122)"},
		{"64:ff9b::0.0.0.0", "0.0.0.0 inside it: unspecified address (RFC 1122, RFC 4291)"},
		{"64:ff9b::169.254.169.254", "169.254.169.254 inside it: cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
		{"64:ff9b:1::1", "local-use NAT64 (RFC 8215)"},
		{"64:ff9b:2::1", "not global unicast (RFC 4291)"},
		{"100::1", "discard only (RFC 6666)"},
		{"100:0:0:1::1", "not global unicast (RFC 4291)"}, // RFC 9780
		{"1fff::1", "not global unicast (RFC 4291)"},
		{"4000::1", "not global unicast (RFC 4291)"},
		{"5f00::1", "segment routing (RFC 9602)"},
		{"fc00::1", "unique local (RFC 4193)"},
		{"fdff::1", "unique local (RFC 4193)"},
		{"fe80::1", "link local (RFC 4291)"},
		{"fec0::1", "site local (RFC 3879)"},
		{"ff02::1", "multicast (RFC 4291)"},
		{"ff0e::1", "multicast (RFC 4291)"},
		{"2001::1", "Teredo (RFC 4380)"},
		{"2001:0:a00:1::1", "Teredo (RFC 4380)"},
		{"2001:1::1", "IETF protocol assignments (RFC 2928)"},
		{"2001:4:112::1", ""},
		{"2001:20::1", "IETF protocol assignments (RFC 2928)"},
		{"2001:1ff:ffff::1", "IETF protocol assignments (RFC 2928)"},
		{"2001:db8::1", "documentation (RFC 3849)"},
		{"2002:a00:1::1", "6to4 (RFC 3056)"}, // 10.0.0.1
		{"2002:808:808::1", "6to4 (RFC 3056)"},
		{"3fff::1", "documentation (RFC 9637)"},
		{"fe80::1%eth0", "address with a zone (RFC 4007)"},
		{"2606:4700:4700::1111%eth0", "address with a zone (RFC 4007)"},
		{"::ffff:8.8.8.8%eth0", "address with a zone (RFC 4007)"},
	} {
		got := ruleOf(guard{publicOnly: true}, netip.MustParseAddr(tt.addr))
		if got != tt.rule {
			t.Errorf("%s: %q, want %q", tt.addr, got, tt.rule)
		}
		fmt.Fprintf(table, "%-40s %s\n", tt.addr, got)
		if got := ruleOf(guard{}, netip.MustParseAddr(tt.addr)); got != "" {
			t.Errorf("%s: %q without a rule, want nothing", tt.addr, got)
		}
	}
}

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

var errNotMine = errors.New("not mine")

func TestGuard_Options(t *testing.T) {
	allowed := GuardOptions{Allow: prefixes("10.1.0.0/16", "::1/128", "fd00::/8", "2002::/16", "::/96", "64:ff9b::/96"), Deny: prefixes("10.1.9.0/24", "8.8.8.0/24", "fd00:bad::/32")}
	meta := GuardOptions{Allow: prefixes("fd00:ec2::254/128", "169.254.0.0/16", "192.0.0.0/8")}
	denied := GuardOptions{Deny: prefixes("127.0.0.0/8", "::1/128")}
	checked := GuardOptions{Check: func(host string, a netip.AddrPort) error {
		if host != "h.test:80" || a.Port() != 80 {
			panic(host + a.String())
		}
		if a.Addr() == netip.MustParseAddr("8.8.4.4") {
			return errNotMine
		}
		return nil
	}}
	for _, tt := range []struct {
		public bool
		o      GuardOptions
		addr   string
		rule   string
	}{
		{true, allowed, "10.1.2.3", ""},
		{true, allowed, "::ffff:10.1.2.3", ""},
		{true, allowed, "10.2.0.1", "private use (RFC 1918)"},
		{true, allowed, "10.1.9.1", "Options.Guard.Deny: 10.1.9.0/24"},
		{true, allowed, "::ffff:10.1.9.1", "Options.Guard.Deny: 10.1.9.0/24"},
		{true, allowed, "8.8.8.8", "Options.Guard.Deny: 8.8.8.0/24"},
		{true, allowed, "64:ff9b::8.8.8.8", "8.8.8.8 inside it: Options.Guard.Deny: 8.8.8.0/24"},
		{true, allowed, "64:ff9b::10.1.2.3", ""},
		{true, allowed, "64:ff9b::10.2.0.1", "10.2.0.1 inside it: private use (RFC 1918)"},
		{true, allowed, "2002:a02:1::1", "10.2.0.1 inside it: private use (RFC 1918)"},
		{true, allowed, "2002:a01:1::1", ""},
		{true, allowed, "::10.2.0.1", "10.2.0.1 inside it: private use (RFC 1918)"},
		{true, allowed, "::", "unspecified address (RFC 1122, RFC 4291)"},
		{true, allowed, "::1", ""},
		{true, allowed, "fd12::1", ""},
		{true, allowed, "fd00:ec2::254", "cloud metadata (AWS)"},
		{true, meta, "fd00:ec2::254", ""},
		{true, meta, "169.254.169.254", "cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
		{true, meta, "169.254.1.1", ""},
		{true, meta, "192.168.1.1", "private use (RFC 1918)"}, // Allow has a larger range
		{true, allowed, "fd00:bad::1", "Options.Guard.Deny: fd00:bad::/32"},
		{true, allowed, "fd12::1%eth0", "address with a zone (RFC 4007)"},
		{false, denied, "10.0.0.1", ""},
		{false, denied, "127.0.0.2", "Options.Guard.Deny: 127.0.0.0/8"},
		{false, denied, "::ffff:127.0.0.2", "Options.Guard.Deny: 127.0.0.0/8"},
		{false, denied, "64:ff9b::127.0.0.2", "127.0.0.2 inside it: Options.Guard.Deny: 127.0.0.0/8"},
		{false, denied, "2001:0:808:808::80ff:fffd", "127.0.0.2 inside it: Options.Guard.Deny: 127.0.0.0/8"}, // Teredo's client
		{false, denied, "2001:0:7f00:2::f7f7:f7f7", "127.0.0.2 inside it: Options.Guard.Deny: 127.0.0.0/8"},  // and server
		{false, denied, "0.0.0.0", "unspecified address (RFC 1122, RFC 4291)"},
		{false, denied, "::", "unspecified address (RFC 1122, RFC 4291)"},
		{false, denied, "::1", "Options.Guard.Deny: ::1/128"},
		{false, denied, "8.8.8.8", ""},
		{false, checked, "8.8.4.4", "Options.Guard.Check: not mine"},
		{false, checked, "::ffff:8.8.4.4", "Options.Guard.Check: not mine"},
		{false, checked, "64:ff9b::8.8.4.4", "8.8.4.4 inside it: Options.Guard.Check: not mine"},
		{false, checked, "127.0.0.1", ""},
		{false, checked, "::", "unspecified address (RFC 1122, RFC 4291)"},
		{true, checked, "8.8.4.4", "Options.Guard.Check: not mine"},
		{true, checked, "127.0.0.1", "loopback (RFC 1122)"},
		{false, GuardOptions{Check: func(string, netip.AddrPort) error { panic("oh") }}, "8.8.8.8", "Options.Guard.Check: a function of the caller's has panicked: oh"},
	} {
		g, err := newGuard(tt.public, tt.o, new(hook.Group))
		if err != nil {
			t.Fatal(err)
		}
		if got := ruleOf(g, netip.MustParseAddr(tt.addr)); got != tt.rule {
			t.Errorf("PublicOnly %v, %s: %q, want %q", tt.public, tt.addr, got, tt.rule)
		}
	}
	g, err := newGuard(true, checked, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.denies(guardedHost{dialled: "h.test:80"}, netip.MustParseAddrPort("8.8.4.4:80")); !errors.Is(err, errNotMine) {
		t.Errorf("%v does not lead to Check's error", err)
	}
}

func TestGuard_BadOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"Options.Guard.Deny has an invalid prefix":                  {Guard: GuardOptions{Deny: []netip.Prefix{{}}}},
		"Options.Guard.Allow has an invalid prefix":                 {PublicOnly: true, Guard: GuardOptions{Allow: []netip.Prefix{{}}}},
		"Options.Guard.Deny has the prefix ::ffff:10.0.0.0/104":     {Guard: GuardOptions{Deny: prefixes("::ffff:10.0.0.0/104")}},
		"Options.Guard.Allow exempts addresses from PublicOnly":     {Guard: GuardOptions{Allow: prefixes("10.0.0.0/8")}},
		"Options.Guard.Allow has the prefix ::ffff:192.168.0.0/112": {PublicOnly: true, Guard: GuardOptions{Allow: prefixes("::ffff:192.168.0.0/112")}},
	} {
		if tr, err := New(nil, &o); err == nil || !strings.Contains(err.Error(), want) {
			if tr != nil {
				tr.Close()
			}
			t.Errorf("New(%+v): %v, want an error with %q", o.Guard, err, want)
		}
	}
}

// The guard of the socket, which the dial's own decision leaves nothing to do
// for: Check changes its mind in between.
func TestGuard_OfTheSocket(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defaults := http.DefaultTransport.(*http.Transport)
	for name, base := range map[string]*http.Transport{"nil": nil, "DefaultTransport": defaults, "its clone": defaults.Clone(), "without a DialContext": {}} {
		asked := 0
		tr, err := New(base, &Options{Guard: GuardOptions{Check: func(string, netip.AddrPort) error {
			if asked++; asked > 1 {
				return errNotMine
			}
			return nil
		}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := tr.DialContext(t.Context(), "tcp", l.Addr().String())
		var denied *hostwise.DeniedError
		if !errors.As(err, &denied) || !errors.Is(err, errNotMine) || hostwise.KindOf(err) != hostwise.PolicyDenied || asked != 2 {
			t.Errorf("base %s: %v, after %d questions; want DeniedError after 2", name, err, asked)
		}
		if denied != nil && denied.Host != l.Addr().String() {
			t.Errorf("base %s: host %q", name, denied.Host)
		}
		if c != nil {
			c.Close()
		}
		tr.Close()
	}
}

// insides are the IPv4 addresses that a may stand for: mapped, compatible
// and translated ones, NAT64's well-known prefix, 6to4 and Teredo's server and
// client.
func insides(a netip.Addr) (list []netip.Addr) {
	if a.Is4() {
		return []netip.Addr{a}
	}
	if a.IsLoopback() { // ::1
		return nil
	}
	b := a.As16()
	v4 := func(i int) { list = append(list, netip.AddrFrom4([4]byte(b[i:]))) }
	for _, p := range []struct {
		prefix string
		at     int
	}{{"::ffff:0:0/96", 12}, {"::/96", 12}, {"::ffff:0:0:0/96", 12}, {"64:ff9b::/96", 12}, {"2002::/16", 2}, {"2001::/32", 4}} {
		if netip.MustParsePrefix(p.prefix).Contains(a.WithZone("")) {
			v4(p.at)
		}
	}
	if netip.MustParsePrefix("2001::/32").Contains(a.WithZone("")) {
		list = append(list, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	return list
}

// FuzzGuard holds the guard to package net's own idea of what is not public,
// also for addresses inside others.
func FuzzGuard(f *testing.F) {
	for _, a := range []string{"8.8.8.8", "10.0.0.1", "2606:4700::1", "2002:a00:1::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2001:0:7f00:1::", "fe80::1"} {
		f.Add(netip.MustParseAddr(a).AsSlice(), "")
	}
	f.Add(netip.MustParseAddr("fe80::1").AsSlice(), "eth0")
	public := guard{publicOnly: true}
	private, err := newGuard(true, GuardOptions{Allow: prefixes("10.0.0.0/8", "::/96", "2002::/16", "fc00::/7"), Deny: prefixes("10.1.0.0/16", "127.0.0.0/8")}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, zone string) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if zone != "" {
			a = a.WithZone(zone)
		}
		if ruleOf(private, a) == "" {
			for _, x := range append(insides(a), a.Unmap()) {
				if rule := ruleOf(private, x); rule != "" {
					t.Errorf("%v is allowed, %v in it is denied: %s", a, x, rule)
				}
			}
		}
		if ruleOf(public, a) != "" {
			return
		}
		for _, x := range append(insides(a), a, a.Unmap()) {
			if rule := ruleOf(public, x); rule != "" {
				t.Errorf("%v is allowed, %v in it is denied: %s", a, x, rule)
			}
			if !x.IsValid() || x.Zone() != "" || x.IsLoopback() || x.IsPrivate() || x.IsLinkLocalUnicast() || x.IsMulticast() || x.IsUnspecified() || !x.IsGlobalUnicast() {
				t.Errorf("%v is allowed, though %v in it is not public", a, x)
			}
		}
	})
}
