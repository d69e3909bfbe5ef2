// Package simnet is an in-memory network for tests: hosts at any IP address,
// each behind a link with a latency, loss and a fault of its own, and a DNS
// server that follows a script.
//
// Use it where a test would otherwise need sockets, sleeps or root: a dead
// first address of two, an IPv6 path that connects and swallows all data, a
// nameserver that loses its first two queries. It works inside and outside of
// [testing/synctest] bubbles. In a bubble time is virtual, so latencies cost
// nothing and can be asserted to the nanosecond.
//
//	n := simnet.New(1)
//	l, err := n.Listen("192.0.2.1:443")               // a host
//	n.SetLink(addr, simnet.Link{RTT: 80 * time.Millisecond}) // and the way to it
//	d := n.ServeDNS("192.0.2.53:53")                  // a nameserver
//	d.AddHost("a.test", 300, addr)
//	transport := &http.Transport{DialContext: n.DialContext}
//	resolver := &net.Resolver{PreferGo: true, Dial: toNameserver} // DialContext to 192.0.2.53:53
//
// # Model
//
// There is one client host, at 10.0.0.1 and fd00::1, from which all dials come
// with an ephemeral port of their own, and a server host at every address
// something listens on. The [Link] to an address is looked at for each packet
// that matters (a SYN, a datagram, a write, a close), so a test can break
// things and heal them in the middle. An address without a link has a healthy
// one with no latency.
//
// TCP is a byte stream with a window of 64 KiB in each direction: a write
// returns when it fits in the window, and the bytes arrive RTT/2 later. What
// is written while the link swallows data is retransmitted as Linux does it,
// 200 ms later and then with doubling intervals, so a connection survives an
// outage.
//
// # Errors
//
// Errors are those of package net on Linux, on every system: a *net.OpError
// around a *os.SyscallError with the syscall package's ECONNREFUSED,
// EHOSTUNREACH, ENETUNREACH, ECONNRESET, EPIPE or ETIMEDOUT, around
// os.ErrDeadlineExceeded or around net.ErrClosed.
//
// # Bubbles
//
// A Network and all that hangs on it must be made in the bubble that uses it.
// A Network owns no goroutines; a DNS server does, and its Close ends them.
// Events that are due at the same virtual instant in different goroutines
// happen in any order; a deadline that falls on the instant of the event it
// waits for wins.
//
// Two things of the standard library to know: a net.Resolver must have been
// used once outside of any bubble, since package net then makes a channel that
// it keeps; and an http.Server that closes a connection on its own account
// sleeps 500 ms, so let that pass before the bubble ends.
//
// # What it does not do
//
// There is no bandwidth, no congestion, no limit to a UDP socket's receive
// buffer or to a listener's backlog, and no name resolution by the network
// itself: DialContext takes literal addresses.
package simnet
