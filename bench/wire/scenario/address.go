package scenario

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// PoolSize is how many addresses of each family web servers have.
const PoolSize = 40

// Addresses are from the ranges for documentation and for benchmarks, which
// are routed nowhere. IPv6 is of global scope, since RFC 6724 ranks unique
// local addresses below IPv4.
var (
	ClientV4  = netip.MustParsePrefix("192.0.2.10/24")
	ClientV6  = netip.MustParsePrefix("2001:db8:c::10/64")
	ServersV4 = netip.MustParsePrefix("198.18.0.0/18") // the pools
	ServersV6 = netip.MustParsePrefix("2001:db8:1000::/42")

	Nameserver4     = netip.MustParseAddr("198.51.100.53")
	Nameserver6     = netip.MustParseAddr("2001:db8:5::53")
	DeadNameserver4 = netip.MustParseAddr("198.51.100.54")
	DeadNameserver6 = netip.MustParseAddr("2001:db8:5::54")
	Router4         = netip.MustParseAddr("198.51.100.254")
	Router6         = netip.MustParseAddr("2001:db8:5::fe")
)

// Server is an address of the pool of a family, 4 or 6. Each is alone in its
// /24 or /48, so that clients that remember outcomes by prefix see different
// networks; rule 9 of RFC 6724 sees no difference between those of a family.
func Server(family, index int) netip.Addr {
	if family == 4 {
		return netip.AddrFrom4([4]byte{198, 18, byte(index), 1})
	}
	third := firstV6 + index
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(third >> 8), byte(third), 15: 1})
}

const firstV6 = 0x1000

// Find is the inverse of [Server].
func Find(a netip.Addr) (family, index int, ok bool) {
	if a.Is4() {
		family, index = 4, int(a.As4()[2])
	} else {
		b := a.As16()
		family, index = 6, int(b[4])<<8+int(b[5])-firstV6
	}
	if index < 0 || index >= PoolSize || Server(family, index) != a {
		return 0, 0, false
	}
	return family, index, true
}

// AddressName is a server's address in tables, as 6a or 4c.
func AddressName(family, index int) string {
	return fmt.Sprintf("%d%c", family, 'a'+index%26)
}

// IsDeadNameserver reports whether nothing ever answers at an address.
func IsDeadNameserver(a netip.Addr) bool { return a == DeadNameserver4 || a == DeadNameserver6 }

// Zone is where all names are.
const Zone = "wire.test"

func hostName(host int, nonce string) string {
	return fmt.Sprintf("h%d-%s.%s", host, nonce, Zone)
}

// ParseHostName reads the names of [Scenario.URL], with or without a dot at
// the end.
func ParseHostName(name string) (host int, nonce string, ok bool) {
	label, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(name), "."), "."+Zone)
	if !ok {
		return 0, "", false
	}
	number, nonce, ok := strings.Cut(strings.TrimPrefix(label, "h"), "-")
	host, err := strconv.Atoi(number)
	return host, nonce, ok && err == nil && host >= 0
}
