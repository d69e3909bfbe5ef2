// Package dnscache is a caching stub resolver: it turns host names into
// addresses by asking nameservers itself, and remembers the answers for as
// long as their TTL allows. Use it in place of net.Resolver in a program that
// looks up many names, or the same names often:
//
//	r, err := dnscache.New(nil) // the system's nameservers
//	addrs, err := r.LookupNetIP(ctx, "ip", "example.com")
//
// What takes a *net.Resolver, such as net.Dialer, takes r.NetResolver().
//
// # Asking
//
// A name and address family is asked for once at a time, however many callers
// wait; IPv6 and IPv4 are asked for at the same instant. Nameservers are
// asked over UDP and TCP, TLS or HTTPS: see Options.Servers. Replies that do
// not match the question are dropped and waiting goes on. A query over UDP
// without a reply is sent again after 0.4 s, to the next nameserver if there
// is one, while the first may still answer. A nameserver that is silent is
// asked last, until it answers again.
//
// # Remembering
//
// Addresses are kept for their TTL (30 s to 24 h), negative answers as RFC
// 2308 says (5 s to 3 h), failures from 1 s to 5 minutes (RFC 9520). An
// answer that is used in the last tenth of its time is refreshed in the
// background. When no nameserver gives a new answer, the old one serves for
// up to a day more (RFC 8767). Names not used lately make room when MaxHosts
// are kept. Snapshot and Restore carry the cache to the next process.
//
// Of an answer the first 64 addresses are kept, and at most 11 aliases are
// followed. A failure for want of any reply ends early when the nameserver is
// heard again.
//
// # A look inside
//
// Stats counts; Options.Hooks are called for each query and each lookup, and
// the DNSStart and DNSDone of net/http/httptrace for each lookup with such a
// context.
//
// # Errors
//
// Every error of a lookup is a *hostwise.DNSError, which unwraps to the
// *net.DNSError that net.Resolver would have returned.
//
// # Timeouts
//
// A lookup takes at most Timeout times Tries (4 s by default), or as long as
// its context lives. With search domains, that is for each name tried. A
// caller that leaves disturbs no other; when the last one leaves, the query
// is given up.
//
// # Functions of the caller's
//
// Hooks, and functions given to Subscribe, are told things and decide nothing.
// They run on goroutines of their own, with no lock held, and may call any
// method, Close included. One that panics, or ends its goroutine
// (runtime.Goexit, as t.FailNow does), is as good as one that returns: it is
// counted in Stats.HookPanics, and the first one kept with its stack in
// Stats.FirstHookPanic. One that blocks delays no lookup: hooks wait for each
// other, 4,096 calls at the most (Stats.HooksDropped), and Close waits for them
// for a second.
//
// Options.Dial, and the functions in Options.TLSConfig, are part of an attempt
// to reach a nameserver. If they panic or end their goroutine, it has failed,
// with an error that has the panic's value in its text but does not unwrap to it;
// that is counted, too, and another nameserver is asked. A Dial that goes on for
// more than 0.1 s beyond its context is not waited for. They may call any method
// but Close, which waits for the attempt; a lookup from there must not depend on
// the nameserver being dialled.
//
// What runs on the goroutine of a call (the hooks of net/http/httptrace, the
// writer of Snapshot, answers that Subscribe has before it returns) panics there,
// and nothing is held meanwhile.
//
// # What it does not do
//
// It validates no DNSSEC, and remembers addresses only: no MX, SRV or TXT
// records. It needs a recursive nameserver.
package dnscache
