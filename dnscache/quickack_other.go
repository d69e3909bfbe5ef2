//go:build !linux

package dnscache

import "net"

// ackAtOnce returns conn: this system has no such option.
func ackAtOnce(conn net.Conn) net.Conn { return conn }
