//go:build unix

package hostwise_test

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// fullPort returns a port whose queue of connections is full, so that the
// kernel drops what comes.
func (l *lab) fullPort() (string, error) {
	ln := l.listen()
	rc, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return "", err
	}
	var listenErr error
	if err := rc.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 1) }); err != nil {
		return "", err
	}
	for range 8 {
		c, err := net.DialTimeout("tcp4", ln.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return portOf(ln.Addr()), listenErr
		}
		l.keep(c)
	}
	return "", errors.New("it queues connections beyond the backlog")
}
