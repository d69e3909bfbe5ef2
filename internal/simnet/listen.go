package simnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// A listener accepts TCP connections.
type listener struct {
	n    *Network
	addr netip.AddrPort

	mu      sync.Mutex // protects all below; no other lock is taken under it
	changed signal
	backlog []handshake
	closed  bool
}

// A handshake is a connection that is complete for the client.
type handshake struct {
	conn *conn
	at   time.Time // at which the client's ACK arrives
}

// Listen listens for TCP connections to address, a literal ip:port. Port 0 is
// an ephemeral one. The addresses 0.0.0.0 and :: stand for every IPv4 or IPv6
// address that nobody listens on by itself; the accepted connection's
// LocalAddr is the one that was dialled.
func (n *Network) Listen(address string) (net.Listener, error) {
	ap, err := parseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l := &listener{n: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := func(ap netip.AddrPort) bool { return n.listeners[ap] != nil }
	if l.addr, err = n.bindLocked(ap, taken); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(ap), Err: err}
	}
	n.listeners[l.addr] = l
	return l, nil
}

// bindLocked returns ap, or if its port is 0 its address with an ephemeral
// one, unless it is taken. The caller holds n.mu.
func (n *Network) bindLocked(ap netip.AddrPort, taken func(netip.AddrPort) bool) (_ netip.AddrPort, err error) {
	if ap.Port() == 0 {
		if ap, err = n.ephemeralLocked(ap.Addr(), taken); err != nil {
			return ap, os.NewSyscallError("bind", err)
		}
		return ap, nil
	}
	if taken(ap) {
		return ap, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	return ap, nil
}

// listenerFor returns the listener for ap, or nil.
func (n *Network) listenerFor(ap netip.AddrPort) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.listeners[ap]; l != nil {
		return l
	}
	wildcard := netip.IPv4Unspecified()
	if ap.Addr().Is6() {
		wildcard = netip.IPv6Unspecified()
	}
	return n.listeners[netip.AddrPortFrom(wildcard, ap.Port())]
}

// push adds a connection to the backlog. It reports whether the listener is
// open.
func (l *listener) push(h handshake) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.backlog = append(l.backlog, h)
	l.changed.broadcast()
	return true
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.closed {
			return nil, l.opError("accept", net.ErrClosed)
		}
		first, next := -1, time.Time{}
		for i, h := range l.backlog { // links differ: the first in line need not be the first to arrive
			if first < 0 || h.at.Before(next) {
				first, next = i, h.at
			}
		}
		if reached(next, time.Now()) {
			c := l.backlog[first].conn
			l.backlog = append(l.backlog[:first], l.backlog[first+1:]...)
			return c, nil
		}
		l.changed.wait(&l.mu, next)
	}
}

// Close implements net.Listener. Connections not yet accepted are reset.
func (l *listener) Close() error {
	l.mu.Lock()
	closed, backlog := l.closed, l.backlog
	l.closed, l.backlog = true, nil
	l.changed.broadcast()
	l.mu.Unlock()
	if closed {
		return l.opError("close", net.ErrClosed)
	}
	l.n.mu.Lock()
	delete(l.n.listeners, l.addr)
	l.n.mu.Unlock()
	for _, h := range backlog {
		h.conn.SetLinger(0)
		h.conn.Close()
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}
