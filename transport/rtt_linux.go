package transport

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// retransmitted reports whether the SYN of a connection was sent more than
// once, so that the time it took says nothing of the round trip.
func retransmitted(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	repeated := false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		repeated = err == nil && info.Total_retrans > 0
	})
	return repeated
}
