package failure

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// noRoute marks an error as the verdict of this machine's own routing table.
type noRoute struct{ error }

func (e noRoute) Unwrap() error { return e.error }

// Route returns err, the failure to connect or send to address, marked as this
// machine's own if it has no way there. A router far away and a neighbour that
// is silent bring about the same errnos, so the routing table is asked. Unless
// own, it is not this system that has connected: then nobody can be asked, and
// ENETUNREACH is taken to mean that no packet was sent.
func Route(err error, address string, own bool) error {
	var errno syscall.Errno
	var marked noRoute
	switch {
	case !errors.As(err, &errno) || !isNoRoute(errno) || errors.As(err, &marked):
		return err
	case !own && errno == syscall.ENETUNREACH:
		return noRoute{err}
	case own:
		if _, asked := LocalAddr(address); IsNoRoute(asked) {
			return noRoute{err}
		}
	}
	return err
}

// LocalAddr is the source address of packets to address, an ip:port: RFC 6724,
// section 5. Connecting a UDP socket asks the routing table and sends nothing.
func LocalAddr(address string) (netip.Addr, error) {
	c, err := net.Dial("udp", address)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	local, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, nil
	}
	return local.AddrPort().Addr().Unmap(), nil
}

// IsNoRoute reports whether err, of LocalAddr, means that there is no way to
// the address: no route, one that forbids or swallows, no address to send from,
// or nothing of the whole protocol. A want of descriptors is none of them.
func IsNoRoute(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && (isNoRoute(errno) || errno == syscall.EACCES)
}

// isNoRoute reports whether Linux gives errno for want of a way: ENETUNREACH
// without a route, EHOSTUNREACH, EINVAL and EACCES for a route of type
// unreachable, blackhole and prohibit (ip-route(8)), EADDRNOTAVAIL without an
// address of the family. EACCES is no part of it, being the machine's own in
// any case.
func isNoRoute(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EINVAL, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT:
		return true
	}
	return false
}
