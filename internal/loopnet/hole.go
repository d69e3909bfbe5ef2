package loopnet

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// A connection attempt over loopback is answered within microseconds, or not
// at all.
const holeWait = 100 * time.Millisecond

// maxBacklog bounds the connections it takes to fill the queue of a listener
// with a backlog of 1. Linux takes 2.
const maxBacklog = 16

// blackHole publishes an address that drops connection attempts.
func (s *site) blackHole() error {
	ls, err := listen(s.addr(0))
	if err != nil {
		return err
	}
	if err := s.stuff(ls[0]); err != nil {
		return err
	}
	s.publish(port(ls[0]), &record{addrs: []netip.Addr{s.addr(0)}})
	return nil
}

// stuff fills the accept queue of l, which nobody empties: from then on the
// kernel drops what comes for it. It proves that before it returns; if it
// cannot, l is closed.
func (s *site) stuff(l net.Listener) error {
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	err := shrink(l)
	var held []net.Conn
	for quiet := 0; err == nil && quiet < 2; {
		var c net.Conn
		c, err = net.DialTimeout("tcp", addr.String(), holeWait)
		switch {
		case err == nil && len(held) == maxBacklog:
			c.Close()
			err = errors.New("the system queues connections beyond the backlog")
		case err == nil:
			held = append(held, c)
			quiet = 0
		case isTimeout(err):
			quiet++
			err = nil
		}
	}
	if err != nil {
		l.Close()
		for _, c := range held {
			c.Close()
		}
		return err
	}
	s.socks = append(s.socks, l)
	for _, c := range held {
		s.socks = append(s.socks, c)
	}
	return nil
}

// drops returns nil if connection attempts to addr get no answer.
func drops(addr netip.AddrPort) error {
	c, err := net.DialTimeout("tcp", addr.String(), holeWait)
	switch {
	case err == nil:
		c.Close()
		return errors.New("somebody answers at " + addr.String())
	case isTimeout(err):
		return nil
	}
	return err
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
