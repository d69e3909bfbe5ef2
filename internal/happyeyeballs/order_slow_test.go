package happyeyeballs

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// slowSort is RFC 6724, section 6, word for word: rules that compare two
// destinations, asked one after the other for every pair. FuzzSort holds Sort
// to it.
func slowSort(list []netip.Addr, source func(netip.Addr) netip.Addr) []netip.Addr {
	list = slices.Clone(list)
	for end := range list {
		for i := end; i > 0 && slowPrefers(list[i], source(list[i]), list[i-1], source(list[i-1])); i-- {
			list[i-1], list[i] = list[i], list[i-1]
		}
	}
	return list
}

// slowPrefers reports whether the rules prefer destination da, reached from
// sa, to db.
func slowPrefers(da, sa, db, sb netip.Addr) bool {
	matches := func(f func(netip.Addr) int, d, s netip.Addr) bool { return s.IsValid() && f(d) == f(s) }
	for _, rule := range []func() (a, b bool){
		// Rule 1: Avoid unusable destinations.
		func() (a, b bool) { return sa.IsValid(), sb.IsValid() },
		// Rule 2: Prefer matching scope.
		func() (a, b bool) { return matches(slowScope, da, sa), matches(slowScope, db, sb) },
		// Rule 5: Prefer matching label.
		func() (a, b bool) { return matches(slowLabel, da, sa), matches(slowLabel, db, sb) },
		// Rule 6: Prefer higher precedence.
		func() (a, b bool) {
			return slowPrecedence(da) > slowPrecedence(db), slowPrecedence(db) > slowPrecedence(da)
		},
		// Rule 8: Prefer smaller scope.
		func() (a, b bool) { return slowScope(da) < slowScope(db), slowScope(db) < slowScope(da) },
		// Rule 9: Use longest matching prefix, of IPv6.
		func() (a, b bool) {
			if da.Unmap().Is4() || db.Unmap().Is4() {
				return false, false
			}
			return slowCommon(sa, da) > slowCommon(sb, db), slowCommon(sb, db) > slowCommon(sa, da)
		},
	} {
		if a, b := rule(); a != b {
			return a
		}
	}
	return false // Rule 10: Otherwise, leave the order unchanged.
}

// slowBits is an address as 128 digits, IPv4 as mapped.
func slowBits(a netip.Addr) string {
	b := a.As16()
	return fmt.Sprintf("%064b%064b", binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]))
}

// slowPolicy is the table of section 2.1 as it is printed there.
var slowPolicy = []struct {
	prefix            string
	precedence, label int
}{
	{"::1/128", 50, 0},
	{"::/0", 40, 1},
	{"::ffff:0:0/96", 35, 4},
	{"2002::/16", 30, 2},
	{"2001::/32", 5, 5},
	{"fc00::/7", 3, 13},
	{"::/96", 1, 3},
	{"fec0::/10", 1, 11},
	{"3ffe::/16", 1, 12},
}

// slowLookup finds the longest matching prefix.
func slowLookup(a netip.Addr) (precedence, label int) {
	longest := -1
	for _, p := range slowPolicy {
		prefix, length, _ := strings.Cut(p.prefix, "/")
		n, _ := strconv.Atoi(length)
		if n > longest && slowBits(a)[:n] == slowBits(netip.MustParseAddr(prefix))[:n] {
			longest, precedence, label = n, p.precedence, p.label
		}
	}
	return precedence, label
}

func slowPrecedence(a netip.Addr) int { p, _ := slowLookup(a); return p }
func slowLabel(a netip.Addr) int      { _, l := slowLookup(a); return l }

// slowScope is section 3.1 and, for IPv4, 3.2.
func slowScope(a netip.Addr) int {
	b := slowBits(a)
	mapped := strings.Repeat("0", 80) + strings.Repeat("1", 16)
	switch {
	case strings.HasPrefix(b, mapped+"01111111"), strings.HasPrefix(b, mapped+"1010100111111110"): // 127/8, 169.254/16
		return 0x2
	case strings.HasPrefix(b, mapped):
		return 0xe
	case strings.HasPrefix(b, "11111111"): // ff00::/8
		scope, _ := strconv.ParseInt(b[12:16], 2, 8)
		return int(scope)
	case strings.HasPrefix(b, "1111111010"), b == strings.Repeat("0", 127)+"1": // fe80::/10, ::1
		return 0x2
	case strings.HasPrefix(b, "1111111011"): // fec0::/10
		return 0x5
	}
	return 0xe
}

// slowCommon is CommonPrefixLen(S, D) of section 2.2, with the 64 bits of a
// usual prefix.
func slowCommon(s, d netip.Addr) (n int) {
	if !s.IsValid() || s.Unmap().Is4() {
		return 0
	}
	for a, b := slowBits(s), slowBits(d); n < 64 && a[n] == b[n]; {
		n++
	}
	return n
}

// FuzzSort compares Sort with the reference: destinations and sources are
// made of the bytes, from stems that the rules tell apart.
func FuzzSort(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18})
	f.Add([]byte("the quick brown fox jumps over the lazy dog, twice"))
	f.Add([]byte{1, 1, 9, 1, 2, 9, 1, 1, 8, 1, 3, 9, 1, 1, 7})
	stems := addrs("::", "2001:db8::", "2001:db8:1::", "2001::", "2002:c000:200::", "3ffe::", "fc00::", "fd00::", "fe80::", "fec0::", "ff02::", "ff0e::", "ff00::",
		"::ffff:0:0", "0.0.0.0", "10.0.0.0", "127.0.0.0", "169.254.0.0", "192.0.2.0", "::ffff:169.254.0.0")
	address := func(stem, rest byte) netip.Addr {
		a := stems[int(stem)%len(stems)]
		b := a.AsSlice()
		b[len(b)-1] = rest & 0x0f
		if a.Is6() && !a.Is4In6() && rest&0x80 != 0 {
			b[7] = rest & 0x70
		}
		a, _ = netip.AddrFromSlice(b)
		if a.IsLinkLocalUnicast() && a.Is6() && rest&0x10 != 0 {
			a = a.WithZone("eth0")
		}
		return a
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sources := map[netip.Addr]netip.Addr{}
		var list []netip.Addr
		for ; len(data) >= 4 && len(list) < 12; data = data[4:] {
			dst, src := address(data[0], data[1]), netip.Addr{}
			if data[2] < 220 {
				src = address(data[2], data[3])
			}
			if _, ok := sources[dst]; !ok {
				sources[dst] = src
			}
			list = append(list, dst) // some of them twice
		}
		before := slices.Clone(list)
		source := func(a netip.Addr) netip.Addr { return sources[a] }
		got, want := Sort(list, source), slowSort(list, source)
		if !slices.Equal(got, want) {
			t.Errorf("Sort(%v) with sources %v =\n%v, the rules say\n%v", list, sources, got, want)
		}
		if !slices.Equal(list, before) {
			t.Errorf("Sort changed its argument to %v, was %v", list, before)
		}
		if again := Sort(got, source); !slices.Equal(again, got) {
			t.Errorf("sorted again, %v became %v", got, again)
		}
		slices.SortFunc(list, netip.Addr.Compare)
		slices.SortFunc(got, netip.Addr.Compare)
		if !slices.Equal(got, list) {
			t.Errorf("%v is no permutation of %v", got, list)
		}
	})
}
