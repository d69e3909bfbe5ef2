//go:build unix

package loopnet

import (
	"net"
	"syscall"
)

// shrink sets the backlog of l to 1. Listening again on a listening socket
// changes nothing else.
func shrink(l net.Listener) error {
	rc, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := rc.Control(func(fd uintptr) { lerr = syscall.Listen(int(fd), 1) }); err != nil {
		return err
	}
	return lerr
}
