// Package dnscache is a caching stub resolver: it turns host names into
// addresses by asking nameservers itself, and remembers the answers for as
// long as their TTL allows. Use it in place of net.Resolver in a program that
// looks up many names, or the same names often:
//
//	r, err := dnscache.New(nil) // the system's nameservers
//	addrs, err := r.LookupNetIP(ctx, "ip", "example.com")
//
// A name and address family is asked for once at a time, however many callers
// wait; IPv6 and IPv4 are asked for at the same instant. Answers that do not
// match the question are dropped and waiting goes on. A query without an
// answer is sent again after 0.4 s, to the next nameserver if there is one,
// while the first may still answer. An answer that is used in the last tenth
// of its time is refreshed in the background. When no nameserver gives a new
// answer, the old one serves for up to a day more (RFC 8767).
//
// # Errors
//
// Every error is a *hostwise.DNSError, which unwraps to the *net.DNSError
// that net.Resolver would have returned.
//
// # Timeouts
//
// A lookup takes at most Timeout times Tries (4 s by default), or as long as
// its context lives. A caller that leaves disturbs no other; when the last
// one leaves, the query is given up.
//
// # What it does not do
//
// It validates no DNSSEC, and it returns addresses only: no MX, SRV or TXT
// records. It needs a recursive nameserver. Search domains, DNS over TLS and
// DNS over HTTPS are not supported in this version.
package dnscache
