//go:build !linux

package transport

import "net"

// retransmitted cannot be known here; see longestRTT.
func retransmitted(net.Conn) bool { return false }
