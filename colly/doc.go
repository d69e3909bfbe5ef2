// Package hostwisecolly gives a Colly collector the round tripper of package
// transport: cached names, raced addresses, typed errors, and no requests to
// hosts that are down. Nothing else about the collector changes.
//
//	t, err := transport.New(nil, nil)
//	defer t.Close()
//	c := colly.NewCollector(colly.Async(true))
//	h, err := hostwisecolly.Attach(c, t)
//
// # Errors
//
// The errors that Colly hands to OnError and returns from Visit are those of
// package hostwise; hostwise.KindOf(err) is the reason in one word. Handle's
// OnFailure also sees the failures that Colly keeps to itself: those of
// robots.txt and of requests run by a queue.
//
// # Proxies
//
// SetProxy, SetProxyFunc and proxy switchers work after Attach: Colly would
// replace any round tripper that is not an *http.Transport, so Attach gives
// it one, whose Proxy and DisableKeepAlives the adapter obeys.
//
// # Files
//
// A crawl of file:// URLs needs the handler where it was, with the base:
//
//	base := &http.Transport{}
//	base.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
//	t, err := transport.New(base, nil)
//
// # What it does not do
//
// SetClient, WithTransport and Appengine, called after Attach, take the
// adapter out again.
package hostwisecolly
