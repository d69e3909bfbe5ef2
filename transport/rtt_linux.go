package transport

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// retransmitted reports whether the SYN of a connection was sent more than
// once, so that the time it took says nothing of the round trip.
func retransmitted(c net.Conn) bool {
	info := tcpInfo(c)
	return info != nil && info.Total_retrans > 0
}

// acknowledged is how many bytes the other side has taken, as far as the system
// says.
func acknowledged(c net.Conn) uint64 {
	if info := tcpInfo(c); info != nil {
		return info.Bytes_acked
	}
	return 0
}

// tcpInfo is what the system knows of a connection; nil: nothing.
func tcpInfo(c net.Conn) (info *unix.TCPInfo) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) { info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return info
}
