package world

import (
	"encoding/binary"
	"net/netip"
)

// The address plan. None of these is routed on the internet: RFC 2544 (test
// range), RFC 3849 and RFC 5737 (documentation).
var (
	V4Net     = netip.MustParsePrefix("198.18.0.0/15")
	V6Net     = netip.MustParsePrefix("2001:db8:1000::/64")
	ClientV4  = netip.MustParseAddr("192.0.2.1")
	ClientV6  = netip.MustParseAddr("2001:db8:c::1")
	Resolvers = [2]netip.Addr{netip.MustParseAddr("198.18.0.53"), netip.MustParseAddr("198.18.1.53")}
)

// Each host owns a block of slots in both families; the IPv4 range begins
// with what the resolvers need.
const (
	slotsPerHost = 8
	firstV4Slot  = 1024
	V4Slots      = 1 << 17 // all of V4Net
	maxHosts     = (V4Slots - firstV4Slot) / slotsPerHost
)

// V6Slots is how many slots of V6Net so many hosts take.
func V6Slots(hosts int) int { return hosts*slotsPerHost + 16 }

func v4Slot(host, j int) netip.Addr {
	b := V4Net.Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) + uint32(firstV4Slot+host*slotsPerHost+j)
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func v6Slot(host, j int) netip.Addr {
	b := V6Net.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], uint64(host*slotsPerHost+j+1))
	return netip.AddrFrom16(b)
}

// Slot is the inverse of the address plan: the position of ip in V4Net or
// V6Net, or -1 if it is in neither.
func Slot(ip netip.Addr) int {
	switch {
	case V4Net.Contains(ip):
		b, first := ip.As4(), V4Net.Addr().As4()
		return int(binary.BigEndian.Uint32(b[:]) - binary.BigEndian.Uint32(first[:]))
	case V6Net.Contains(ip):
		b := ip.As16()
		if n := binary.BigEndian.Uint64(b[8:]); n < 1<<31-1 {
			return int(n)
		}
	}
	return -1
}
