package simnet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
)

// The client's addresses: all dials come from them.
var (
	client4 = netip.AddrFrom4([4]byte{10, 0, 0, 1})
	client6 = netip.AddrFrom16([16]byte{0: 0xfd, 15: 1})
)

// The range of ephemeral ports, as on Linux.
const (
	firstPort = 32768
	lastPort  = 60999
)

// A Network is a set of hosts and the links to them. Its methods may be
// called by several goroutines at once.
type Network struct {
	seed    uint64
	healthy Link // the link of an address that has none set

	mu        sync.Mutex // protects all below; a leaf: no other lock is taken under it
	links     map[netip.Addr]*Link
	families  [2]*Link // IPv4, IPv6
	rngs      map[netip.Addr]*rand.Rand
	listeners map[netip.AddrPort]*listener
	sockets   map[netip.AddrPort]*packetConn // all UDP sockets, by their local address
	clients   map[netip.AddrPort]bool        // local addresses of open dialled TCP connections
	lastPort  uint16                         // last ephemeral port given out
	stats     Stats
	hosts     map[netip.Addr]*HostStats
	dials     []*Dial
}

// New returns an empty network: every address is reachable without latency,
// and nobody listens on it. The seed decides which packets a Link with Loss
// loses.
func New(seed uint64) *Network {
	return &Network{
		seed:      seed,
		links:     make(map[netip.Addr]*Link),
		rngs:      make(map[netip.Addr]*rand.Rand),
		listeners: make(map[netip.AddrPort]*listener),
		sockets:   make(map[netip.AddrPort]*packetConn),
		clients:   make(map[netip.AddrPort]bool),
		lastPort:  lastPort,
		hosts:     make(map[netip.Addr]*HostStats),
	}
}

// clientFor returns the client's address in the family of addr.
func clientFor(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		return client6
	}
	return client4
}

// ephemeralLocked returns addr with the next ephemeral port for which taken
// is false. The caller holds n.mu.
func (n *Network) ephemeralLocked(addr netip.Addr, taken func(netip.AddrPort) bool) (netip.AddrPort, error) {
	for range lastPort - firstPort + 1 {
		if n.lastPort++; n.lastPort > lastPort {
			n.lastPort = firstPort
		}
		if ap := netip.AddrPortFrom(addr, n.lastPort); !taken(ap) {
			return ap, nil
		}
	}
	return netip.AddrPort{}, syscall.EADDRNOTAVAIL
}
