package dnscache

import (
	"net"
	"syscall"
)

// ackAtOnce returns conn without delayed acknowledgements. With them, the
// second of two replies comes 40 ms late from a server that leaves Nagle's
// algorithm on, as unbound, named and dnsmasq do: it is not sent before the
// first is acknowledged (RFC 9293, sections 3.7.4 and 3.8.6.3).
func ackAtOnce(conn net.Conn) net.Conn {
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return ackingConn{conn, raw}
		}
	}
	return conn
}

type ackingConn struct {
	net.Conn
	raw syscall.RawConn
}

// Read sets the option each time, for the kernel takes it back: tcp(7).
func (c ackingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	_ = c.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
	return n, err
}
