package simnet

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// maxDatagram is the largest payload of a UDP datagram over IPv4.
const maxDatagram = 65507

// A packetConn is a UDP socket. Like *net.UDPConn it is both a net.Conn and a
// net.PacketConn, and it may be connected or not.
type packetConn struct {
	n       *Network
	network string
	local   netip.AddrPort
	remote  netip.AddrPort // zero: not connected

	mu            sync.Mutex // protects all below; no other lock is taken under it
	changed       signal
	queue         []datagram  // by time of arrival
	icmp          []time.Time // at which an ICMP port unreachable arrives, in order
	closed        bool
	readDeadline  time.Time
	writeDeadline time.Time
}

// A datagram is on its way or waits to be read.
type datagram struct {
	from netip.AddrPort
	data []byte
	at   time.Time
}

// ListenPacket opens an unconnected UDP socket at address, a literal ip:port.
// Port 0 is an ephemeral one.
func (n *Network) ListenPacket(address string) (net.PacketConn, error) {
	ap, err := parseAddrPort(address)
	if err == nil && ap.Addr().IsUnspecified() {
		err = &net.AddrError{Err: "not one host's address", Addr: address}
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	c := &packetConn{n: n, network: "udp"}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.local, err = n.bindLocked(ap, n.socketTakenLocked); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(ap), Err: err}
	}
	n.sockets[c.local] = c
	return c, nil
}

// dialUDP opens a UDP socket connected to ap. No packet is sent.
func (n *Network) dialUDP(network string, ap netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	opError := func(err error) error {
		err = os.NewSyscallError("connect", err)
		return &net.OpError{Op: "dial", Net: network, Addr: net.UDPAddrFromAddrPort(ap), Err: err}
	}
	if n.linkLocked(ap.Addr()).Fault == NoRoute {
		return nil, opError(syscall.ENETUNREACH)
	}
	local, err := n.ephemeralLocked(clientFor(ap.Addr()), n.socketTakenLocked)
	if err != nil {
		return nil, opError(err)
	}
	c := &packetConn{n: n, network: network, local: local, remote: ap}
	n.sockets[local] = c
	n.stats.OpenUDP++
	return c, nil
}

func (n *Network) socketTakenLocked(ap netip.AddrPort) bool { return n.sockets[ap] != nil }

// Inject delivers b to the UDP socket at the address to, now, as if it came
// from the address from: a forged packet, which is subject to no link. Like
// any other, a connected socket whose peer is not from does not receive it,
// and Stats.Filtered counts it.
func (n *Network) Inject(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	c := n.sockets[to]
	n.mu.Unlock()
	if c != nil {
		c.deliver(datagram{from, slices.Clone(b), time.Now()})
	}
}

// deliver queues a datagram that arrives at d.at.
func (c *packetConn) deliver(d datagram) {
	if c.remote.IsValid() && d.from != c.remote {
		c.n.mu.Lock()
		c.n.stats.Filtered++
		c.n.mu.Unlock()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	i := len(c.queue) // a later packet over a shorter way overtakes
	for i > 0 && c.queue[i-1].at.After(d.at) {
		i--
	}
	c.queue = slices.Insert(c.queue, i, d)
	c.changed.broadcast()
}

// send sends b to the address to, over the link as it is now.
func (c *packetConn) send(b []byte, to netip.AddrPort) error {
	n := c.n
	n.mu.Lock()
	host, outward := to.Addr(), true
	if (host == client4 || host == client6) && c.local.Addr() != host {
		host, outward = c.local.Addr(), false // an answer, over the server's link
	}
	l := n.linkLocked(host)
	drop := &l.DropDatagrams
	if !outward {
		drop = nil
	}
	fault, rtt := l.Fault, l.RTT
	if fault == NoRoute {
		n.mu.Unlock()
		return syscall.ENETUNREACH
	}
	n.hostLocked(to.Addr()).Datagrams++
	lost := n.loseLocked(host, l, drop)
	dst := n.sockets[to]
	n.mu.Unlock()

	now := time.Now()
	switch {
	case lost, fault == BlackHole, fault == Unreachable:
	case dst == nil, fault == Refuse && outward:
		c.refuse(now.Add(rtt))
	default:
		dst.deliver(datagram{c.local, slices.Clone(b), now.Add(rtt / 2)})
	}
	return nil
}

// refuse notes that an ICMP port unreachable arrives at the given time. As on
// Linux only a connected socket hears of it.
func (c *packetConn) refuse(at time.Time) {
	if !c.remote.IsValid() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.icmp = append(c.icmp, at)
	slices.SortFunc(c.icmp, time.Time.Compare)
	c.changed.broadcast()
}

// icmpLocked reports whether an ICMP message has arrived, and forgets it: the
// socket has room for one pending error.
func (c *packetConn) icmpLocked(now time.Time) bool {
	i := 0
	for i < len(c.icmp) && reached(c.icmp[i], now) {
		i++
	}
	c.icmp = slices.Delete(c.icmp, 0, i)
	return i > 0
}

// read reads the next datagram. What does not fit in b is lost.
func (c *packetConn) read(b []byte) (int, netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case c.closed:
			return 0, netip.AddrPort{}, net.ErrClosed
		case reached(c.readDeadline, now):
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		case c.icmpLocked(now):
			return 0, netip.AddrPort{}, syscall.ECONNREFUSED
		}
		next := c.readDeadline
		if len(c.queue) > 0 {
			d := c.queue[0]
			if reached(d.at, now) {
				c.queue = slices.Delete(c.queue, 0, 1)
				return copy(b, d.data), d.from, nil
			}
			next = earlier(next, d.at)
		}
		if len(c.icmp) > 0 {
			next = earlier(next, c.icmp[0])
		}
		c.changed.wait(&c.mu, next)
	}
}

// write sends b unless there is an error that keeps it from that.
func (c *packetConn) write(b []byte, to netip.AddrPort) error {
	c.mu.Lock()
	now, err := time.Now(), error(nil)
	switch {
	case c.closed:
		err = net.ErrClosed
	case reached(c.writeDeadline, now):
		err = os.ErrDeadlineExceeded
	case c.icmpLocked(now):
		err = syscall.ECONNREFUSED
	case len(b) > maxDatagram:
		err = syscall.EMSGSIZE
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.send(b, to)
}
