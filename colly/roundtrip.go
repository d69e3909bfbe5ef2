package hostwisecolly

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// roundTripper is the Handle as the shell sees it.
type roundTripper struct{ h *Handle }

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if isRobotsTxt(req) {
		return rt.h.robotsTxt(req)
	}
	return rt.h.roundTrip(req)
}

func (h *Handle) roundTrip(req *http.Request) (*http.Response, error) {
	r := req
	if proxy := h.shell.Proxy; proxy != nil {
		r = r.WithContext(transport.WithProxy(r.Context(), h.naming(proxy, req)))
	}
	if h.shell.DisableKeepAlives {
		if r == req {
			r = r.WithContext(r.Context())
		}
		r.Close = true
	}
	resp, err := h.transport.RoundTrip(r)
	h.count(func(s *Stats) {
		s.Requests++
		if err == nil {
			s.Responses++
		} else {
			s.Failures[hostwise.KindOf(err)]++
		}
	})
	if err != nil {
		h.tell(req, err)
		return nil, err
	}
	resp.Request = req
	resp.Body = newBody(req.Context(), resp.Body)
	return resp, nil
}

// isRobotsTxt reports whether it is Colly that wants to know what it may
// visit: the requests of a page have a context of Colly's making.
func isRobotsTxt(req *http.Request) bool {
	return req.Context().Value(colly.CheckRevisitKey) == nil && req.Method == http.MethodGet && req.Response == nil && req.URL.Path == "/robots.txt"
}

// dial is the shell's way to connect, by which Attach knows a shell.
func (h *Handle) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.transport.DialContext(ctx, network, address)
}

// underWay holds the requests that an http.Client has, so that the round trip
// can tell them their proxy. Colly has the name from the context of its own
// request, but an http.Client with a time-out works on a copy.
type underWay struct {
	requests map[*url.URL]*colly.Request // by the URL of the first hop, which the copy shares
	urls     map[*colly.Request]*url.URL // the way back: a redirect changes the Request's
}

// began notes a request that is about to be sent.
func (h *Handle) began(r *colly.Request) {
	if h.shell.Proxy == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.underWay.requests[r.URL] = r
	h.underWay.urls[r] = r.URL
}

// ended forgets a request that has its response headers, or never will.
func (h *Handle) ended(r *colly.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := h.underWay.urls[r]; u != nil {
		delete(h.underWay.requests, u)
		delete(h.underWay.urls, r)
	}
}

// naming returns proxy, which also tells the page that req is for.
func (h *Handle) naming(proxy func(*http.Request) (*url.URL, error), req *http.Request) func(*http.Request) (*url.URL, error) {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	h.mu.Lock()
	page := h.underWay.requests[first.URL]
	h.mu.Unlock()
	if page == nil {
		return proxy
	}
	return func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if u != nil {
			page.ProxyURL = u.String()
		}
		return u, err
	}
}
