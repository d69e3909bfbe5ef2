// Package transport is an http.RoundTripper for programs that fetch from
// very many hosts. It resolves names with a cache, races a host's addresses,
// says which phase of a request failed and why, and stops dialling hosts
// that are down. Connections are kept and spoken over by an *http.Transport
// inside it, so HTTP/1.1, HTTP/2, proxies and cookies work as they do in
// net/http.
//
//	t, err := transport.Wrap(client, nil) // any *http.Client
//	defer t.Close()
//
// # The race between addresses
//
// A host's addresses are tried as RFC 8305 says, IPv6 first and the TLS
// handshake included, with a memory of hosts, of round trips and of whole
// address families: see Options.ConnectionAttemptDelay, Prefer and
// DisableMemory. Options.DialDone reports each dial, Stats.Race counts them.
//
// # Dead hosts
//
// A host that fails five times in a row (three times, if it has never
// answered) is down: requests to it, also those that wait for a connection,
// fail at once with a hostwise.HostDownError, which says when to come back.
// Then one request finds out whether the host is back, and if not, the next
// cool-down is twice as long. A host:port that has never answered is dialled
// by two requests at a time, by three from the second second on, while the
// others wait for the verdict. A host that is down costs a table entry of half
// a kilobyte, one that has failed once a third of a kilobyte, and others nothing;
// there are 65,536 entries at most, and when they are used up, the host whose
// last failure is the oldest is forgotten, those that are not down before the
// others.
//
// See BreakerOptions for what counts and what does not, for hosts that go
// down together, HTTP statuses, pauses that servers ask for (Retry-After) and
// a hook; Transport.HostDown to ask beforehand; SnapshotBreakers and
// RestoreBreakers to carry what is known to the next run; and Stats for what
// it has saved.
//
// # Silent addresses
//
// Very many names may lead to one address that drops all packets: when
// connecting to an address and port has timed out for three different names,
// and nothing was answered there meanwhile, it is silent for 30 s, then twice
// as long each time, up to an hour. A host that has other addresses is still
// tried, at the silent one last. A host that has no others fails at once,
// without being charged, but for one dial after each time to see whether the
// address is back; the first answer ends the silence. Stats counts both.
// Addresses of proxies are left out of it, and Options.DisableMemory switches
// it off.
//
// # Outages
//
// When this machine's own network is down, no host is to blame. It is
// suspected to be when 32 different hosts have failed one after the other:
// charged to the host, but for refusals, which take a network, or for want of
// a nameserver's answer or of a route. Each must have been begun after the last
// success, and 8 of them must have been reached before and been without a
// failure then (half of all, where fewer than 16 were reached), since the end of
// a crawl may be made of dead hosts alone; in a Transport that nobody has ever
// answered, any will do, at 8 addresses or more. One failure for want of a route
// is enough when there is no default route any more.
//
// Then what the breakers were charged with since the last success is taken
// back, and nobody is charged until the end, nor for what was begun before it.
// About ten dials a second are let through, with 2 s to connect: five to hosts
// that were reached before and have not failed since, four to those that have,
// two to others. The rest fail at once with a hostwise.ConnectError of Kind
// hostwise.LocalOutage or, with Options.WaitOnOutage, wait. Requests on connections that are there pass. The
// first success that was begun since ends it, and the Resolver, if it has a
// method ForgetFailures, is told to forget them. So does a minute in which no
// host that was reached before was tried in vain: then there is no telling.
//
// A proxy is a host like others, and what lies behind it is none. With a
// net.Dialer, loopback addresses are neither held nor counted. See
// Options.OnOutage and Stats.
//
// # Where requests may lead
//
// Options.PublicOnly keeps requests out of private networks and away from
// clouds' metadata services, whatever URL, redirect or nameserver leads there;
// GuardOptions has exceptions and further rules. With or without them, a host
// such as 0x7f.1 or 2130706433, which some programs take for an address, is
// an error of Kind hostwise.DNSBadName, and no nameserver is asked.
//
// # Errors
//
// Errors are those of package hostwise, wrapped by http.Client in a
// *url.Error as always: use errors.As, or hostwise.KindOf.
//
// # Timeouts
//
// A context's deadline and http.Client.Timeout hold. While response headers
// are awaited, RoundTrip gives up 1 % (at least 10 ms) before the context's
// deadline, since http.Client replaces errors that come at the deadline by
// one that says nothing. Reading a body is not cut short that way.
// A dial ends with the request's deadline or after Options.DialTimeout, also
// when nobody waits for it any more; one that has not begun to connect by then
// does not. Through a proxy, CONNECT or SOCKS and the handshake behind it end
// with the request's deadline, too, or after DialTimeout and
// TLSHandshakeTimeout together.
//
// # Memory
//
// Whatever number of hosts a Transport meets, it keeps no more than 65,536
// breakers, 65,536 hosts and as many networks of which the race has learned
// something, and 16,384 addresses that do not answer: some 50 MB in all when
// every one of these tables is full. The least recent make room. An
// http.Transport by itself keeps half a kilobyte for ever for each host whose
// connections have never become idle, dead ones in the first place. Therefore
// its place is taken by a new one after 4,096 hosts, or eight times
// Options.MaxConns, and idle connections are closed then. Requests under way go
// on, and those to the same hosts join them, so that the bounds for a host hold.
// The names are the Resolver's: see dnscache.Options.MaxHosts.
//
// # Bounds
//
// Without any deadline, too, whatever a server does to a request ends, with a
// Kind that says what it was, and leaves no socket and no goroutine:
//
//	        resolving its name                  the Resolver's own time-outs
//	10 s    connecting to a host                Options.DialTimeout
//	 5 s    the TLS handshake                   TLSHandshakeTimeout
//	15 s    a proxy's answer to CONNECT or SOCKS, and the handshake behind it: the sum of the two
//	15 s    until the server takes the request  ResponseHeaderTimeout, for each 16 KiB of a body
//	15 s    until the response headers are all there, after any 1xx: the same
//	256 KiB of response headers, 1xx included   MaxResponseHeaderBytes
//	30 s    for the next byte of the body       IdleBodyTimeout
//	16 B/s  of the body in each minute waited   MinBodyRate
//	none    for the size of the body            MaxBodyBytes
//	15 s    without a sign of life, HTTP/2      SendPingTimeout, PingTimeout
//	3       connections for one request         MaxDialsPerRequest
//	200, 8  connections in all and to a host    MaxConns, MaxConnsPerHost
//	half    of the file descriptors there are   MaxFiles
//
// Where a server refuses an HTTP/2 stream again and again, net/http repeats the
// request after 0, 1, 3, 7, 15 and 31 s; the first of these at the end of
// ResponseHeaderTimeout is not made. Writing to an HTTP/2 connection that takes
// nothing ends after 15 s, or the WriteByteTimeout of the base transport's
// HTTP2, and connections that are idle are closed after 30 s, or its
// IdleConnTimeout. Time that the caller takes, to produce the request's body or
// between two reads of the response's, does not count. A request that waits for
// its turn, because of MaxConns, MaxConnsPerHost or bodies that are not closed,
// waits for other requests of this program: only its context bounds that. An
// upgraded connection and a tunnel are their user's.
//
// A dial has at most nine goroutines: one of net/http's and one for each of
// eight addresses; for a moment one more for each family that the Resolver is
// asked for. An HTTP/1.1 connection has two, an HTTP/2 connection one, and each
// request over it one more.
//
// # Functions of the caller's
//
// A function of the caller's that panics, or ends its goroutine
// (runtime.Goexit, as t.FailNow does), takes nothing along: no lock, no
// connection, no place among the dials, no probe of the breaker; and no host is
// charged. What it leads to depends on what the function is for:
//
//   - DialDone, OnOutage, BreakerOptions.OnChange and the Resolver's
//     ForgetFailures decide nothing: the request goes on as if they had returned.
//     They run on goroutines of their own, for which the request waits.
//   - The base's DialContext, OnProxyConnectResponse, GetProxyConnectHeader and
//     the functions of its TLSClientConfig, the Resolver, BreakerOptions.Key
//     within a dial, a request's body, and the httptrace hooks DNSStart, DNSDone,
//     ConnectStart, ConnectDone and Got1xxResponse are part of an attempt: it has
//     failed, with an error of Kind hostwise.Other that has the panic's value in
//     its text but does not unwrap to it. The other httptrace hooks that net/http
//     calls on its own goroutines decide nothing, as above. A panic of
//     Guard.Check is a refusal.
//   - What runs on the caller's goroutine (Proxy, WithProxy, GetBody, GetConn,
//     GotConn, BreakerOptions.Key before and after a dial, the writer of
//     SnapshotBreakers) panics there, as with net/http.
//
// The first two are counted in Stats.HookPanics, and Stats.FirstHookPanic has the
// first one with its stack. The methods of connections that DialContext returns
// are net/http's to call, and not looked after.
//
// A function that blocks delays its own request, and no other but for those that
// use, or wait for, the same connection; OnChange and OnOutage are called for one change
// at a time, and later ones wait, 131,072 at the most (Stats.HooksDropped). The
// request still ends with its deadline, unless the function runs on its own
// goroutine, or is one that takes part in writing the request (its body, the hooks
// Wrote…), as in net/http. No lock is held, but that the httptrace hooks of one
// request are called one after the other; only PutIdleConn is not waited for, so
// that one which blocks leaves a goroutine for each request. All may call any
// method. Only Close waits for DialContext, the Resolver, Guard.Check and
// handshakes, whose contexts it ends: it is not to be called from there.
//
// # What it does not do
//
// It does not retry, limit rates, obey robots.txt or follow redirects.
package transport
