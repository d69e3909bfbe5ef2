package happyeyeballs

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
)

// policy is the default policy table of RFC 6724, section 2.1, the longest
// prefixes first.
var policy = [...]struct {
	prefix            netip.Prefix
	precedence, label uint8
}{
	{netip.MustParsePrefix("::1/128"), 50, 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4},
	{netip.MustParsePrefix("::/96"), 1, 3},
	{netip.MustParsePrefix("2001::/32"), 5, 5},
	{netip.MustParsePrefix("2002::/16"), 30, 2},
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},
	{netip.MustParsePrefix("fec0::/10"), 1, 11},
	{netip.MustParsePrefix("fc00::/7"), 3, 13},
	{netip.MustParsePrefix("::/0"), 40, 1},
}

// classify returns an address's precedence and label.
func classify(a netip.Addr) (precedence, label uint8) {
	a = netip.AddrFrom16(a.As16()) // IPv4 addresses are looked up as mapped ones; without zone
	for _, p := range policy {
		if p.prefix.Contains(a) {
			return p.precedence, p.label
		}
	}
	return 0, 0
}

// Scopes: RFC 4291, section 2.7, and RFC 6724, section 3.
const (
	scopeLinkLocal = 0x2
	scopeSiteLocal = 0x5
	scopeGlobal    = 0xe
)

func scopeOf(a netip.Addr) uint8 {
	a = a.Unmap()
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast():
		return scopeLinkLocal
	case a.Is6() && a.IsMulticast():
		return a.As16()[1] & 0xf
	case a.Is6() && siteLocal.Contains(a.WithZone("")):
		return scopeSiteLocal
	}
	return scopeGlobal
}

var siteLocal = netip.MustParsePrefix("fec0::/10")

// commonPrefix is the number of leading bits that a source and a destination
// share, at most the 64 of a usual source's prefix: RFC 6724, section 2.2.
func commonPrefix(src, dst netip.Addr) int {
	a, b := src.As16(), dst.As16()
	n := 0
	for i := range 8 {
		if x := a[i] ^ b[i]; x != 0 {
			return n + bits.LeadingZeros8(x)
		}
		n += 8
	}
	return n
}

// destination is what RFC 6724 wants to know of an address.
type destination struct {
	addr       netip.Addr
	reachable  bool // there is a source for it
	scope      uint8
	sameScope  bool // as its source
	precedence uint8
	sameLabel  bool // as its source
	common     int  // bits with its source, of IPv6
}

func newDestination(a, source netip.Addr) destination {
	d := destination{addr: a, reachable: source.IsValid(), scope: scopeOf(a)}
	var label uint8
	d.precedence, label = classify(a)
	if d.reachable {
		_, sourceLabel := classify(source)
		d.sameScope, d.sameLabel = d.scope == scopeOf(source), label == sourceLabel
		if Of(a) == IPv6 && Of(source) == IPv6 {
			d.common = commonPrefix(source, a)
		}
	}
	return d
}

// compare orders destinations by the rules of RFC 6724, section 6, that can
// be known without asking the system about each source address: all but 3
// (deprecated sources), 4 (home addresses) and 7 (native transport). Rule 9
// is for IPv6 only, as in package net.
func (d destination) compare(e destination) int {
	if c := prefer(d.reachable, e.reachable); c != 0 { // rule 1
		return c
	}
	if c := prefer(d.sameScope, e.sameScope); c != 0 { // rule 2
		return c
	}
	if c := prefer(d.sameLabel, e.sameLabel); c != 0 { // rule 5
		return c
	}
	if c := cmp.Compare(e.precedence, d.precedence); c != 0 { // rule 6
		return c
	}
	if c := cmp.Compare(d.scope, e.scope); c != 0 { // rule 8
		return c
	}
	if Of(d.addr) == IPv6 && Of(e.addr) == IPv6 { // rule 9
		return cmp.Compare(e.common, d.common)
	}
	return 0
}

func prefer(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Sort returns addresses in the order of RFC 6724, section 6; what the rules
// leave open stays as it was. source returns the local address from which a
// connection to an address would come, or the zero Addr if there is none.
func Sort(addrs []netip.Addr, source func(netip.Addr) netip.Addr) []netip.Addr {
	if len(addrs) < 2 {
		return addrs
	}
	list := make([]destination, len(addrs))
	for i, a := range addrs {
		list[i] = newDestination(a, source(a))
	}
	slices.SortStableFunc(list, destination.compare)
	sorted := make([]netip.Addr, len(list))
	for i, d := range list {
		sorted[i] = d.addr
	}
	return sorted
}

// Preferred returns the family that RFC 6724 puts first for a host on the
// public Internet, by the local addresses that connections to it would come
// from: IPv4, when those of IPv6 are of a kind that does not go with it, such
// as unique local ones (rule 5).
func Preferred(source6, source4 netip.Addr) Family {
	if newDestination(public4, source4).compare(newDestination(public6, source6)) < 0 {
		return IPv4
	}
	return IPv6
}

// Addresses that stand for the public Internet; nothing is sent to them.
var public6, public4 = netip.MustParseAddr("2001:500:2f::f"), netip.MustParseAddr("192.5.5.241")
