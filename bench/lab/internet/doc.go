//go:build linux

// Package internet makes a [world.World] real on one Linux machine.
//
//	client process  --(namespace)-- tc0 == router == ti0 --(namespace)-- name servers, web servers
//
// The two network namespaces have no way out of the machine. A router in user
// space reads every IP packet from one TUN device and writes it to the other
// when it is due: each address has its own delay, loses packets, answers with
// a RST or is silent. The TCP stacks on both sides are the kernel's own.
//
// It needs root and the programs that [Check] asks for.
package internet
