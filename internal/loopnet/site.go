package loopnet

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// A site is a Host and what makes it.
type site struct {
	Host
	net    *Internet
	index  int
	think  time.Duration // before each response
	cold   time.Duration // before the first answer for its name
	closes bool          // Connection: close, as a part of the web has it

	zone  map[string]*record // its names
	tls   *tls.Config        // nil: plain HTTP
	doors []*door            // where it answers
	socks []io.Closer        // sockets that nobody serves
	flaw  error              // why it is not, or not quite, as its Fate says
}

var loopback6 = netip.IPv6Loopback()

// address returns the i-th address of 127.77.0.0/16.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 77, byte(i / 250), byte(1 + i%250)})
}

// addr returns the k-th of the two IPv4 addresses of the host.
func (s *site) addr(k int) netip.Addr {
	if s.net.shared {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return address(2*s.index + k)
}

// build makes the host. If it cannot, it leaves URL empty and says why.
func (s *site) build() {
	var err error
	switch s.Fate {
	case NXDomain:
		s.publish(0, &record{rcode: dns.RcodeNameError})
	case NoData:
		s.publish(0, &record{})
	case ServFail:
		s.publish(0, &record{rcode: dns.RcodeServerFailure})
	case DNSSilent:
		s.publish(0, &record{silent: true})
	case Refused:
		err = s.park()
	case BlackHole:
		err = s.blackHole()
	case DeadFirst:
		err = s.deadFirst()
	case DeadIPv6:
		err = s.deadIPv6()
	case DualStack:
		err = s.serve(s.addr(0), loopback6)
	default:
		err = s.serve(s.addr(0))
	}
	s.flaw = cmp.Or(err, s.flaw)
}

// publish gives the host its URLs and its name. Port 0 is that of the scheme.
func (s *site) publish(port uint16, r *record) {
	r.cold = s.cold
	s.zone = map[string]*record{s.Name + ".": r}
	switch s.Fate {
	case Truncated:
		r.truncate = true
	case Alias:
		www, edge := "www."+s.Name+".", "edge."+s.Name+"."
		s.zone = map[string]*record{
			s.Name + ".": {alias: www, cold: s.cold},
			www:          {alias: edge},
			edge:         r,
		}
	}
	s.URL = "http://" + s.Name
	if s.secure() || s.Fate == NotTLS {
		s.URL = "https://" + s.Name
	}
	if port != 0 {
		s.URL += ":" + strconv.Itoa(int(port))
	}
	s.URL += "/"
	s.Pages = []string{s.URL}
	for i := 1; i < s.net.opt.Pages; i++ {
		s.Pages = append(s.Pages, s.URL+strconv.Itoa(i))
	}
}

// secure reports whether the host's web server speaks TLS.
func (s *site) secure() bool { return s.Fate == HTTPS || s.Fate == Expired }

// serve answers on one port of all addresses.
func (s *site) serve(addrs ...netip.Addr) error {
	ls, err := listen(addrs...)
	if err != nil {
		return err
	}
	if err := s.answer(ls...); err != nil {
		return err
	}
	s.publish(port(ls[0]), &record{addrs: addrs})
	return nil
}

// deadFirst publishes two addresses, where the first drops connection
// attempts, or at least refuses them.
func (s *site) deadFirst() error {
	dead, good := address(2*s.index), s.addr(1)
	addrs := []netip.Addr{good, dead}
	if s.net.shared {
		addrs = addrs[:1] // dead is not an address of this machine
	}
	ls, err := listen(addrs...)
	if err != nil {
		return err
	}
	if s.net.shared {
		if err := drops(netip.AddrPortFrom(dead, port(ls[0]))); err != nil {
			ls[0].Close()
			return err
		}
	} else {
		s.kill(ls[1])
	}
	if err := s.answer(ls[0]); err != nil {
		return err
	}
	s.publish(port(ls[0]), &record{addrs: []netip.Addr{dead, good}})
	return nil
}

// deadIPv6 publishes an IPv6 address that does not connect beside an IPv4
// address that does.
func (s *site) deadIPv6() error {
	addrs := []netip.Addr{s.addr(0), loopback6}
	ls, err := listen(addrs...)
	if err != nil {
		return err
	}
	s.kill(ls[1])
	if err := s.answer(ls[0]); err != nil {
		return err
	}
	s.publish(port(ls[0]), &record{addrs: addrs})
	return nil
}

// kill makes l drop connection attempts. Where the system knows only how to
// refuse them, it closes l and notes the difference.
func (s *site) kill(l net.Listener) {
	held, err := stuff(l)
	s.socks = append(s.socks, held...)
	if err != nil {
		s.flaw = fmt.Errorf("the dead address refuses connections, it does not drop them: %w", err)
	}
}

// park takes a port on which nothing listens: the port of a connection to a
// listener that never accepts. It stays closed as long as that is open,
// while a port merely found free could be anybody's the next moment.
func (s *site) park() error {
	local := netip.AddrPortFrom(s.addr(0), 0)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local)}
	c, err := d.Dial("tcp4", s.net.parking.Addr().String())
	if err != nil {
		return err
	}
	s.socks = append(s.socks, c)
	s.publish(c.LocalAddr().(*net.TCPAddr).AddrPort().Port(), &record{addrs: []netip.Addr{local.Addr()}})
	return nil
}

// listen opens the same port on all addresses.
func listen(addrs ...netip.Addr) (ls []net.Listener, err error) {
	// The port is free on the first address, and somebody else may have it
	// on the others.
	for range 20 {
		var p uint16
		ls = ls[:0]
		for _, a := range addrs {
			var l net.Listener
			if l, err = net.Listen("tcp", netip.AddrPortFrom(a, p).String()); err != nil {
				break
			}
			ls = append(ls, l)
			p = port(l)
		}
		if err == nil {
			return ls, nil
		}
		for _, l := range ls {
			l.Close()
		}
	}
	return nil, err
}

func port(l net.Listener) uint16 {
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// answer starts the host's web server.
func (s *site) answer(ls ...net.Listener) error {
	if s.secure() {
		end := time.Now().Add(24 * time.Hour)
		if s.Fate == Expired {
			end = time.Now().Add(-24 * time.Hour)
		}
		cert, err := s.net.ca.issue(s.Name, end)
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
			return err
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	for _, l := range ls {
		d := &door{site: s, addr: l.Addr().(*net.TCPAddr).AddrPort()}
		d.open(l)
		s.doors = append(s.doors, d)
	}
	return nil
}

func (s *site) close() error {
	var errs []error
	for _, d := range s.doors {
		errs = append(errs, d.close())
	}
	for _, c := range s.socks {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// connState counts connections. The server calls it before it starts the
// connection's goroutine, and as that goroutine's last act.
func (n *Internet) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		n.wg.Add(1)
		n.conns.Add(1)
		n.open.Add(1)
	case http.StateClosed:
		n.open.Add(-1)
		n.wg.Done()
	}
}
