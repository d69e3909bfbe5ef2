package simnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// The retransmission of SYNs, after Linux: the initial RTO of RFC 6298 and the
// default of the sysctl tcp_syn_retries.
const (
	synRTO     = time.Second
	synRetries = 6
)

// DialContext connects to address, a literal ip:port, over network: tcp, tcp4,
// tcp6, udp, udp4 or udp6. It fits http.Transport.DialContext and
// net.Resolver.Dial. A TCP dial takes one round trip of the link. The socket
// of a UDP dial is connected: it receives only what comes from address. It is
// a net.PacketConn too.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ap, err := parseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var addr net.Addr = net.TCPAddrFromAddrPort(ap)
	switch network {
	case "tcp", "tcp4", "tcp6":
	case "udp", "udp4", "udp6":
		addr = net.UDPAddrFromAddrPort(ap)
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr, Err: net.UnknownNetworkError(network)}
	}
	if f := network[3:]; f == "4" && ap.Addr().Is6() || f == "6" && ap.Addr().Is4() {
		err := &net.AddrError{Err: "no suitable address found", Addr: ap.Addr().String()}
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr, Err: contextError(err)}
	}
	var c net.Conn
	if network[:3] == "tcp" {
		c, err = n.dialTCP(ctx, network, ap)
	} else {
		c, err = n.dialUDP(network, ap)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dialTCP connects to ap.
func (n *Network) dialTCP(ctx context.Context, network string, ap netip.AddrPort) (net.Conn, error) {
	d := n.beginDial(ap)
	c, err := n.connect(ctx, network, ap)
	canceled := false
	if err != nil {
		switch errno, ok := err.(syscall.Errno); {
		case ok:
			err = os.NewSyscallError("connect", errno)
		default:
			err, canceled = contextError(err), true
		}
		err = &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(ap), Err: err}
	}
	n.endDial(d, err, canceled)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// connect does the handshake with ap. Its errors are errnos and the context's.
func (n *Network) connect(ctx context.Context, network string, ap netip.AddrPort) (*conn, error) {
	for try := range synRetries + 1 {
		l, lost := n.syn(ap.Addr())
		switch {
		case l.Fault == NoRoute:
			return nil, syscall.ENETUNREACH
		case lost:
			if err := sleep(ctx, synRTO<<try); err != nil {
				return nil, err
			}
			continue
		}
		if err := sleep(ctx, l.RTT); err != nil {
			return nil, err
		}
		if l.Fault == Unreachable {
			return nil, syscall.EHOSTUNREACH
		}
		if l.Fault == Refuse {
			return nil, syscall.ECONNREFUSED
		}
		return n.establish(network, ap, l)
	}
	return nil, syscall.ETIMEDOUT
}

// syn sends a SYN to addr. It returns the link it went over and whether it
// was lost.
func (n *Network) syn(addr netip.Addr) (l Link, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	way := n.linkLocked(addr)
	if way.Fault == NoRoute {
		return *way, false
	}
	n.hostLocked(addr).SYNs++
	lost = n.loseLocked(addr, way, &way.DropSYNs)
	return *way, lost || way.Fault == BlackHole
}

// establish makes a connection to the listener for ap, if there is one.
func (n *Network) establish(network string, ap netip.AddrPort, l Link) (*conn, error) {
	listener := n.listenerFor(ap)
	if listener == nil {
		return nil, syscall.ECONNREFUSED
	}
	n.mu.Lock()
	client, err := n.ephemeralLocked(clientFor(ap.Addr()), func(ap netip.AddrPort) bool { return n.clients[ap] })
	if err == nil {
		n.clients[client] = true
	}
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	dialled, accepted := n.newConns(network, client, ap)
	if !listener.push(handshake{accepted, time.Now().Add(l.RTT / 2)}) {
		n.mu.Lock()
		delete(n.clients, client)
		n.mu.Unlock()
		return nil, syscall.ECONNREFUSED
	}
	return dialled, nil
}

// sleep waits for d, or for ctx to end if that is not later.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case now := <-timer.C:
		if deadline, ok := ctx.Deadline(); ok && reached(deadline, now) {
			return context.DeadlineExceeded // its own timer is about to fire
		}
		return ctx.Err()
	}
}

// parseAddrPort parses a literal ip:port.
func parseAddrPort(address string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return ap, &net.AddrError{Err: "not a literal ip:port", Addr: address}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// contextError returns the error that package net has for a context's error.
func contextError(err error) error {
	if err == context.DeadlineExceeded {
		return timeoutError{}
	}
	return canceledError{}
}

// A timeoutError is net's error for a dial that its deadline ended.
type timeoutError struct{}

func (timeoutError) Error() string        { return "i/o timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// A canceledError is net's error for a dial that was canceled.
type canceledError struct{}

func (canceledError) Error() string        { return "operation was canceled" }
func (canceledError) Is(target error) bool { return target == context.Canceled }
