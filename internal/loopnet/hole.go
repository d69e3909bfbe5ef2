package loopnet

import (
	"errors"
	"io"
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
	if s.socks, err = stuff(ls[0]); err != nil {
		return err
	}
	s.publish(port(ls[0]), &record{addrs: []netip.Addr{s.addr(0)}})
	return nil
}

// stuff fills the accept queue of l, which nobody empties: from then on the
// kernel drops what comes for it. It proves that before it returns, with all
// that is to be closed in the end; if it cannot, l is closed.
func stuff(l net.Listener) (socks []io.Closer, err error) {
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	err = shrink(l)
	socks = []io.Closer{l}
	for quiet := 0; err == nil && quiet < 2; {
		var c net.Conn
		c, err = net.DialTimeout("tcp", addr.String(), holeWait)
		switch {
		case err == nil && len(socks) > maxBacklog:
			c.Close()
			err = errors.New("the system queues connections beyond the backlog")
		case err == nil:
			socks = append(socks, c)
			quiet = 0
		case isTimeout(err):
			quiet++
			err = nil
		}
	}
	if err != nil {
		for _, c := range socks {
			c.Close()
		}
		return nil, err
	}
	return socks, nil
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
