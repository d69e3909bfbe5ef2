package happyeyeballs

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// pair is a destination with the source that the system would choose for it:
// "2001:db8::1 < 2001:db8::2". Without a source it is unreachable.
type pair string

func (p pair) addrs() (dst, src netip.Addr) {
	d, s, ok := strings.Cut(string(p), " < ")
	if ok {
		src = netip.MustParseAddr(s)
	}
	return netip.MustParseAddr(d), src
}

// sorted sorts destinations.
func sorted(pairs []pair) []netip.Addr {
	sources := map[netip.Addr]netip.Addr{}
	var list []netip.Addr
	for _, p := range pairs {
		dst, src := p.addrs()
		sources[dst] = src
		list = append(list, dst)
	}
	return Sort(list, func(a netip.Addr) netip.Addr { return sources[a] })
}

func TestSort(t *testing.T) {
	for _, tt := range []struct {
		rule string // of RFC 6724, section 6, or the section itself
		want []pair // comes out so, whatever the order it goes in
	}{
		{"rule 1: avoid unusable destinations", []pair{"2001:db8::1 < 2001:db8::2", "2001:db9::1"}},
		{"rule 1: also when the other is of lower precedence", []pair{"192.0.2.1 < 198.51.100.1", "2001:db8::1"}},
		{"rule 1: also when the other matches in nothing", []pair{"2001:db8::1 < fe80::2", "::1"}},
		{"rule 1: with no source anywhere the rules go on", []pair{"::1", "2001:db8::1", "192.0.2.1", "2002::1", "fd00::1"}},

		{"rule 2: prefer matching scope", []pair{"2001:db8::1 < 2001:db8::2", "2001:db9::1 < fe80::2"}},
		{"rule 2: before precedence", []pair{"198.51.100.121 < 198.51.100.117", "2001:db8:1::1 < fe80::1"}},
		{"rule 2: before label", []pair{"2001:db8::1 < 2002::2", "2001:db9::1 < fec0::2"}},
		{"rule 2: private addresses are global (3.2)", []pair{"198.51.100.1 < 10.0.0.1", "198.51.100.2 < 169.254.1.1"}},
		{"rule 2: 127/8 is link-local (3.2)", []pair{"169.254.1.1 < 127.0.0.1", "198.51.100.2 < 127.0.0.1"}},
		{"rule 2: unique local addresses are global (3.1)", []pair{"2001:db8::1 < fd00::1", "2001:db9::1 < fe80::2"}},
		{"rule 2: site-local ones are not (3.1)", []pair{"2001:db8::1 < fd00::1", "2001:db9::1 < fec0::2"}},
		{"rule 2: a mapped address has its IPv4 scope (3.2)", []pair{"::ffff:169.254.1.1 < 169.254.1.2", "198.51.100.1 < 169.254.1.2"}},
		{"rule 2: multicast has the scope in its second byte (3.1)", []pair{"ff02::1 < fe80::2", "ff0e::1 < fe80::2"}},

		{"rule 5: prefer matching label", []pair{"2002:c633:6401::1 < 2002:c633:6401::2", "2001:db8:1::1 < 2002:c633:6401::2"}},
		{"rule 5: before precedence", []pair{"192.0.2.1 < 198.51.100.1", "2001:db8::1 < fd00::1"}},
		{"rule 5: Teredo has a label of its own", []pair{"2001::1 < 2001::2", "2001:db8::1 < 2001::2"}},
		{"rule 5: so has the 6bone", []pair{"3ffe::1 < 3ffe::2", "2001:db8::1 < 3ffe::2"}},

		{"rule 6: prefer higher precedence", []pair{"2001:db8::1 < 2001:db8::2", "192.0.2.1 < 198.51.100.1"}},
		{"rule 6: by the policy table", []pair{"2001:db8::1 < 2001:db8::2", "192.0.2.1 < 192.0.2.2", "2002::1 < 2002::2", "2001::1 < 2001::2", "fd00::1 < fd00::2", "3ffe::1 < 3ffe::2"}},
		{"rule 6: before scope", []pair{"2001:db8::1 < 2001:db8::2", "fec0::1 < fec0::2"}},

		{"rule 8: prefer smaller scope", []pair{"fe80::1 < fe80::2", "2001:db8::1 < 2001:db8::2"}},
		{"rule 8: of IPv4 too", []pair{"127.0.0.1 < 127.0.0.1", "192.0.2.1 < 198.51.100.1"}},
		{"rule 8: before the longest matching prefix", []pair{"fe80::1 < fe80:8000::2", "2001:db8::1 < 2001:db8::2"}},

		{"rule 9: the longest matching prefix", []pair{"2001:db8:1::1 < 2001:db8:1::2", "2001:db8:8000::1 < 2001:db8:1::2"}},
		{"rule 9: bit by bit", []pair{"2001:db8:1:4::1 < 2001:db8:1:5::2", "2001:db8:1:7::1 < 2001:db8:1:5::2", "2001:db8:1:1::1 < 2001:db8:1:5::2"}},

		{"10.2: prefer matching scope, IPv6", []pair{"2001:db8:1::1 < 2001:db8:1::2", "198.51.100.121 < 169.254.13.78"}},
		{"10.2: prefer matching scope, IPv4", []pair{"198.51.100.121 < 198.51.100.117", "2001:db8:1::1 < fe80::1"}},
		{"10.2: prefer higher precedence", []pair{"2001:db8:1::1 < 2001:db8:1::2", "10.1.2.3 < 10.1.2.4"}},
		{"10.2: prefer smaller scope", []pair{"fe80::1 < fe80::2", "2001:db8:1::1 < 2001:db8:1::2"}},
		{"10.2: longest matching prefix", []pair{"2001:db8:1::1 < 2001:db8:1::2", "2001:db8:3ffe::1 < 2001:db8:3f44::2"}},
		{"10.2: prefer matching label", []pair{"2002:c633:6401::1 < 2002:c633:6401::2", "2001:db8:1::1 < 2002:c633:6401::2"}},
		{"10.2: prefer higher precedence, 6to4", []pair{"2001:db8:1::1 < 2001:db8:1::2", "2002:c633:6401::1 < 2002:c633:6401::2"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var want []netip.Addr
			for _, p := range tt.want {
				dst, _ := p.addrs()
				want = append(want, dst)
			}
			for range tt.want { // each rotation, forwards and backwards
				for range 2 {
					if got := sorted(tt.want); !slices.Equal(got, want) {
						t.Errorf("Sort(%q) =\n%v, want\n%v", tt.want, got, want)
					}
					slices.Reverse(tt.want)
				}
				tt.want = append(tt.want[1:], tt.want[0])
			}
		})
	}
}

// What the rules leave open, or what this package leaves out of them, stays
// in the order that the nameserver gave it.
func TestSort_LeavesTheRestAsItWas(t *testing.T) {
	for _, tt := range []struct {
		rule  string // of RFC 6724, section 6
		given []pair
	}{
		{"rule 3: whether a source is deprecated the system tells nobody portably; it avoids such sources itself (section 5, rule 3)",
			[]pair{"2001:db8:1::1 < 2001:db8:1::2", "2001:db8:1::2 < 2001:db8:1::3"}},
		{"rule 4: home addresses are known to Mobile IPv6 alone", []pair{"2001:db8:1::1 < 2001:db8:1::2", "2001:db8:1::3 < 2001:db8:1::4"}},
		{"rule 7: which transport is encapsulated only the interface knows; 6to4 and Teredo rank low already (rule 6)",
			[]pair{"2001:db8:1::1 < 2001:db8:1::2", "2001:db8:1::3 < 2001:db8:1::2"}},
		{"rule 9: is not for IPv4, where networks say nothing of distance", []pair{"203.0.113.1 < 10.0.0.1", "10.0.0.2 < 10.0.0.1", "192.0.2.1 < 10.0.0.1"}},
		{"rule 9: nor for mapped addresses", []pair{"::ffff:203.0.113.1 < 10.0.0.1", "::ffff:10.0.0.2 < 10.0.0.1"}},
		{"rule 9: beyond 64 bits there is no prefix of the source's (2.2)", []pair{"2001:db8::ff:1 < 2001:db8::1", "2001:db8::2 < 2001:db8::1"}},
		{"rule 9: without sources nothing matches", []pair{"2001:db8:1::1", "2001:db9::1", "2001:db8::1"}},
		{"rule 10: otherwise, leave the order unchanged", []pair{"192.0.2.3 < 198.51.100.1", "192.0.2.1 < 198.51.100.1", "192.0.2.2 < 198.51.100.1"}},
		{"rule 10: of equals among IPv6 too", []pair{"2001:db8::3 < 2001:db8::9", "2001:db8::1 < 2001:db8::9", "2001:db8::2 < 2001:db8::9"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var want []netip.Addr
			for _, p := range tt.given {
				dst, _ := p.addrs()
				want = append(want, dst)
			}
			for range 2 {
				if got := sorted(tt.given); !slices.Equal(got, want) {
					t.Errorf("Sort(%q) =\n%v, want\n%v", tt.given, got, want)
				}
				slices.Reverse(tt.given)
				slices.Reverse(want)
			}
		})
	}
}

// RFC 6724, section 2.1: the default policy table.
func TestPolicy(t *testing.T) {
	for _, tt := range []struct {
		first, last       string // of the prefix
		precedence, label uint8
	}{
		{"::1", "::1", 50, 0},
		{"::", "::", 1, 3}, // ::/96
		{"::2", "::ffff:ffff", 1, 3},
		{"::1:0:0", "::fffe:ffff:ffff", 40, 1}, // ::/0
		{"::ffff:0:0", "::ffff:ffff:ffff", 35, 4},
		{"0.0.0.0", "255.255.255.255", 35, 4},
		{"2000::", "2000:ffff::", 40, 1},
		{"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", 5, 5},
		{"2001:1::", "2001:ffff::", 40, 1},
		{"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 30, 2},
		{"2003::", "3ffd:ffff::", 40, 1},
		{"3ffe::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, 12},
		{"3fff::", "fbff:ffff::", 40, 1},
		{"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 3, 13},
		{"fe00::", "febf:ffff::", 40, 1},
		{"fe80::1%eth0", "fe80::1%1", 40, 1},
		{"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, 11},
		{"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 40, 1},
	} {
		for _, a := range []string{tt.first, tt.last} {
			if p, l := classify(netip.MustParseAddr(a)); p != tt.precedence || l != tt.label {
				t.Errorf("%s: precedence %d, label %d, want %d, %d", a, p, l, tt.precedence, tt.label)
			}
		}
	}
}

func TestSort_DoesNotChangeTheCallersSlice(t *testing.T) {
	given := addrs("fd00::1", "2001:db8::1")
	if got, want := Sort(given, func(netip.Addr) netip.Addr { return netip.Addr{} }), addrs("2001:db8::1", "fd00::1"); !slices.Equal(got, want) {
		t.Errorf("Sort = %v, want %v", got, want)
	}
	if want := addrs("fd00::1", "2001:db8::1"); !slices.Equal(given, want) {
		t.Errorf("the argument became %v, want %v", given, want)
	}
}

func TestPreferred(t *testing.T) {
	for _, tt := range []struct {
		why              string
		source6, source4 string // "" for none
		want             Family
	}{
		{"rule 6: IPv6 has the higher precedence", "2001:db8::2", "198.51.100.1", IPv6},
		{"rule 6: whether or not IPv4 is behind a NAT", "2001:db8::2", "10.0.0.1", IPv6},
		{"rule 1: no IPv6", "", "198.51.100.1", IPv4},
		{"rule 1: no IPv4", "2001:db8::2", "", IPv6},
		{"rule 1: not even when IPv6 is unique local", "fd00::2", "", IPv6},
		{"rule 6: nothing is known", "", "", IPv6},
		{"rule 2: IPv6 is link-local only", "fe80::2", "198.51.100.1", IPv4},
		{"rule 2: IPv4 is link-local only", "2001:db8::2", "169.254.1.1", IPv6},
		{"rule 5: unique local IPv6 does not go with the public Internet", "fd00::2", "10.0.0.1", IPv4},
		{"rule 5: nor does 6to4", "2002:c633:6401::2", "10.0.0.1", IPv4},
		{"rule 5: nor does Teredo", "2001::2", "10.0.0.1", IPv4},
		{"rule 6: neither is good for anything, by its scope", "fe80::2", "169.254.1.1", IPv6},
	} {
		parse := func(s string) (a netip.Addr) {
			if s != "" {
				a = netip.MustParseAddr(s)
			}
			return a
		}
		if got := Preferred(parse(tt.source6), parse(tt.source4)); got != tt.want {
			t.Errorf("%s: from %q or %q: %v, want %v", tt.why, tt.source6, tt.source4, got, tt.want)
		}
	}
}
