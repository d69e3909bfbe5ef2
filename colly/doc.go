// Package hostwisecolly gives a Colly collector the round tripper of package
// transport: cached names, raced addresses, typed errors, and no requests to
// hosts that are down. Nothing else about the collector changes, until a
// feature of the Handle is switched on:
//
//	t, err := transport.New(nil, nil)
//	defer t.Close()
//	c := colly.NewCollector(colly.Async(true))
//	h, err := hostwisecolly.Attach(c, t) // before callbacks and proxies
//	defer h.Close()
//	h.Retry(nil)
//	h.SkipDeadHosts(nil)
//	h.PrefetchLinks(nil)
//
// Transport is the same as an option of colly.NewCollector. One Transport may
// serve many collectors; Stats are those of one.
//
// # Errors
//
// The errors that Colly hands to OnError and returns from Visit are those of
// package hostwise. Kind is the reason in one word, for Colly's own outcomes
// (a forbidden domain, a page already visited, robots.txt) as well. The same
// failure is seen
//
//   - by OnFailure: each failed round trip, those that Colly keeps to itself
//     included (robots.txt, a queue's), and each hop of a redirect;
//   - by Colly's OnError: each attempt at a page that failed, a bad status and
//     a body that broke off included;
//   - by RetryOptions.GaveUp: what Retry does not send again.
//
// # Timeouts
//
// Colly gives a request 10 s in all (SetRequestTimeout). The errors are typed
// nevertheless, by the phase in which the time ran out. The waits of Retry are
// not part of it, but for robots.txt.
//
// # Proxies
//
// SetProxy, SetProxyFunc and proxy switchers work after Attach: Colly would
// replace any round tripper that is not an *http.Transport, so Attach gives
// it one, whose Proxy and DisableKeepAlives the adapter obeys: a request without
// keep-alive may still be sent over a connection that is idle, and closes it,
// as an http.Request with Close set. The proxy is
// chosen once for each round trip, and its URL is in Request.ProxyURL, which
// Colly alone fills in only for a client without a time-out. Errors name it,
// and its failures are charged to it. The Proxy of the Transport's base, which
// by default goes by the environment, is used where Colly has none. Names whose
// requests go through a proxy are not resolved ahead, and SkipDeadHosts leaves
// them alone: for that the base's Proxy is asked more than once, Colly's never.
//
// # Functions of the caller's
//
// A function given to OnFailure, SkipDeadHosts or RetryOptions.GaveUp that
// panics, or ends its goroutine, is as good as one that returns, and counted in
// Stats.HookPanics; Stats.FirstHookPanic has the first one with its stack. The
// request waits for them; no lock is held, and they may call any method. Colly's
// own callbacks, and a proxy function, panic where Colly calls them.
//
// # Files
//
// A crawl of file:// URLs needs the handler where it was, with the base; other
// schemes than http, https and file are not supported:
//
//	base := &http.Transport{}
//	base.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
//	t, err := transport.New(base, nil)
//
// # Clones
//
// Collector.Clone shares the HTTP client, and so the Transport and the
// counters, but no callbacks. Retry, SkipDeadHosts, PrefetchLinks and ProxyURL
// are made of callbacks: AttachClone registers them with a clone.
//
// # What it does not do
//
// SetClient, WithTransport and Appengine, called after Attach, take the
// adapter out again. A transport or a proxy set before is an error of Attach;
// a client set before is kept. An https request with the headers
// Connection: Upgrade and Upgrade: websocket fails: net/http does not let it
// out of the shell.
// CloseIdleConnections of Colly's HTTP client closes none: call that of the
// Transport. It retries no HTTP status. It keeps no queue, and no record of
// what was visited: those are Colly's.
package hostwisecolly
