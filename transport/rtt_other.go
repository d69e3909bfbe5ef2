//go:build !linux

package transport

import "net"

// retransmitted cannot be known here; see longestRTT.
func retransmitted(net.Conn) bool { return false }

// acknowledged cannot be known here.
func acknowledged(net.Conn) uint64 { return 0 }
