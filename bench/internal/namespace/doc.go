//go:build linux

// Package namespace makes pairs of network namespaces, one for a client and
// one for the internet as the client sees it, with no way out of the machine.
// A router in user space between two TUN devices joins them.
//
// It needs root, and what [Check] asks for.
package namespace
