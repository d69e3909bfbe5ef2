//go:build linux

// Package network runs a client in a small network that behaves as a
// [scenario.Scenario] says, and records what passes.
//
//	client process  --(namespace)-- wc0 == router == wi0 --(namespace)-- nameserver, web servers
//
// The two network namespaces have no way out of the machine. A router in user
// space reads every IP packet from one TUN device and writes it to the other:
// it delays, loses, and answers with RST or ICMP, by the server's address, and
// stamps every packet on the way. The TCP stacks on both sides are the
// kernel's own.
//
// It needs root and what [namespace.Check] asks for.
package network
