// Package packet reads and makes the IP packets that a router in user space
// must understand: enough of IPv4, IPv6, TCP, UDP and ICMP to tell connections
// apart and to answer in the place of a host.
package packet
