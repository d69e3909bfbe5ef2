package dnscache

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/hostwise-go/hostwise/internal/failure"
)

// family is an address family; the values index the two halves of an entry.
type family uint8

const (
	v6 family = iota // asked for first: RFC 8305, section 3
	v4
)

// familyOf is the family of an address as package net has it: an IPv4 address
// mapped into IPv6 is IPv4.
func familyOf(a netip.Addr) family {
	if a.Unmap().Is4() {
		return v4
	}
	return v6
}

func (f family) network() string { return [...]string{"ip6", "ip4"}[f] }

// familySet is a set of families, one bit each.
type familySet uint8

func (s familySet) has(f family) bool { return s&(1<<f) != 0 }

// familiesOf says which families LookupNetIP's network stands for.
func familiesOf(network string) (want familySet, ok bool) {
	switch network {
	case "ip":
		return 1<<v6 | 1<<v4, true
	case "ip6":
		return 1 << v6, true
	case "ip4":
		return 1 << v4, true
	}
	return 0, false
}

// maxName is the longest name in bytes, without the final dot: RFC 1035,
// section 2.3.4.
const maxName = 253

// normalize returns host as the cache and the wire know it: in ASCII, lower
// case, without a final dot. It allocates only when host is not so already. A name
// that no nameserver could know is refused, with the reason: RFC 1035,
// section 2.3.4 (lengths), RFC 1123, section 2.1 (a last label that is a
// number is a misspelt address, never a name). The underscore is accepted, as
// package net does.
func normalize(host string) (name, fault string) {
	name = strings.TrimSuffix(host, ".")
	if len(name) > maxName && !isASCII(name) {
		return fromUnicode(host)
	}
	if name == "" || len(name) > maxName {
		return "", "empty or longer than 253 bytes"
	}
	label, upper := 0, false
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return "", "empty label"
			}
			label = -1
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		case c >= 0x80:
			return fromUnicode(host)
		default:
			return "", "a character other than letters, digits, - and _"
		}
		if label++; label > 63 {
			return "", "label longer than 63 bytes"
		}
	}
	if label == 0 {
		return "", "empty label"
	}
	if failure.EndsInNumber(name) {
		return "", "last label is a number, but the whole is not an IP address"
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, ""
}

// fromUnicode is normalize for an internationalized name, which net/http
// converts in the same way: UTS 46, non-transitional, for lookups.
func fromUnicode(host string) (name, fault string) {
	if len(host) > maxUnicode || !utf8.ValidString(host) {
		return "", notIDN
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || !isASCII(ascii) {
		return "", notIDN
	}
	return normalize(ascii)
}

const (
	maxUnicode = 4 * maxName // bytes
	notIDN     = "not an internationalized domain name (UTS 46)"
)

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// parseLiteral returns the address that host is, if it is one.
func parseLiteral(host string) (netip.Addr, bool) {
	if len(host) == 0 || host[0] > '9' && !strings.Contains(host, ":") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// special answers the names that must never be asked for: RFC 6761,
// section 6.3 (localhost) and 6.4 (invalid), RFC 7686, section 2 (onion).
func special(name string) (addrs [2][]netip.Addr, ok bool) {
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "localhost":
		return [2][]netip.Addr{v6: loopback6, v4: loopback4}, true
	case "invalid", "onion":
		return addrs, true
	}
	return addrs, false
}

var (
	loopback6 = []netip.Addr{netip.IPv6Loopback()}
	loopback4 = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
)
