package simnet

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

// A Fault is a way for a link to be broken.
type Fault int

const (
	// None is a link in good health.
	None Fault = iota
	// Refuse answers a SYN with a RST and a datagram with an ICMP port
	// unreachable, one RTT later: ECONNREFUSED. Connections that are
	// established already are not affected.
	Refuse
	// BlackHole drops every packet in silence.
	BlackHole
	// Unreachable answers a SYN with an ICMP host unreachable, one RTT later:
	// EHOSTUNREACH. Datagrams and the data of established connections vanish,
	// since Linux reports that ICMP message to neither.
	Unreachable
	// NoRoute fails dials and datagrams at once, before any packet is sent:
	// ENETUNREACH. The data of established connections vanishes.
	NoRoute
	// DataHole lets TCP connect and close, but no data arrives in either
	// direction: a path with an MTU hole. Datagrams pass.
	DataHole
	// ResetData lets TCP connect and resets the connection upon the first
	// data in either direction: ECONNRESET. Datagrams pass.
	ResetData
)

// A Link is the way between the client and one address.
// The zero Link is a healthy one with no latency.
type Link struct {
	// RTT is the round-trip time: a connect takes one RTT, data and datagrams
	// take RTT/2 in each direction.
	RTT time.Duration

	// Fault says how the link is broken, if it is.
	Fault Fault

	// Loss is the share of SYNs, and of datagrams in each direction, that are
	// lost, from 0 to 1. Which ones is drawn from the network's seed, by a
	// source of its own for each address. A lost SYN is sent again 1 s, 3 s,
	// 7 s, 15 s, 31 s and 63 s after the first, and the connect fails with
	// ETIMEDOUT after 127 s, as on Linux.
	Loss float64

	// DropSYNs drops exactly the first so many SYNs to the address.
	DropSYNs int

	// DropDatagrams drops exactly the first so many datagrams to the address
	// (those from it do not count).
	DropDatagrams int
}

// SetLink sets the way to addr, in place of the one it had, for every packet
// from now on.
func (n *Network) SetLink(addr netip.Addr, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[addr.Unmap()] = &l
}

// SetFamily sets one link for all addresses of a family, IPv6 or IPv4,
// in place of their own ones: an outage, for instance. With nil they have
// their own links again.
func (n *Network) SetFamily(is6 bool, l *Link) {
	if l != nil {
		l = new(*l)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.families[family(is6)] = l
}

func family(is6 bool) int {
	if is6 {
		return 1
	}
	return 0
}

// link returns the link to addr as it is now.
func (n *Network) link(addr netip.Addr) Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.linkLocked(addr)
}

// linkLocked returns the link to addr. The caller holds n.mu and may count
// down the link's DropSYNs and DropDatagrams.
func (n *Network) linkLocked(addr netip.Addr) *Link {
	if l := n.families[family(addr.Is6())]; l != nil {
		return l
	}
	if l := n.links[addr]; l != nil {
		return l
	}
	return &n.healthy
}

// loseLocked reports whether the next packet over the link l to addr is lost.
// It counts down drop, if that is not nil. The caller holds n.mu.
func (n *Network) loseLocked(addr netip.Addr, l *Link, drop *int) bool {
	if drop != nil && *drop > 0 {
		*drop--
		return true
	}
	if l.Loss <= 0 {
		return false
	}
	// A source for each address, so that what one host loses does not depend
	// on how the traffic to others interleaves with it.
	rng := n.rngs[addr]
	if rng == nil {
		b := addr.As16()
		hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
		rng = rand.New(rand.NewPCG(n.seed^hi, lo))
		n.rngs[addr] = rng
	}
	return rng.Float64() < l.Loss
}

// holdsData reports whether TCP data is lost and must be sent again later.
func (f Fault) holdsData() bool { return f == DataHole || f.holdsAll() }

// holdsAll reports whether every segment of an established connection is lost.
func (f Fault) holdsAll() bool { return f == BlackHole || f == Unreachable || f == NoRoute }
