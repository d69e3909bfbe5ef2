package hostwisecolly

import (
	"errors"
	"maps"
	"net/http"
	"sync"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// A Handle is the adapter of one collector (and of its clones, which share
// its HTTP client). It is safe for concurrent use.
type Handle struct {
	transport *transport.Transport
	shell     *http.Transport // what Colly sees, and sets Proxy and DisableKeepAlives of

	mu        sync.Mutex // protects what follows
	onFailure func(Failure)
	requests  uint64
	responses uint64
	failures  map[hostwise.Kind]uint64
}

// Attach makes c send its requests through t. One t may serve many
// collectors. It remains the caller's to close, after the last of them.
// Attach replaces c's transport; call it before SetProxy and SetProxyFunc.
func Attach(c *colly.Collector, t *transport.Transport) (*Handle, error) {
	if c == nil || t == nil {
		return nil, errors.New("hostwisecolly: Attach needs a collector and a transport")
	}
	h := &Handle{transport: t, failures: map[hostwise.Kind]uint64{}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // of the shell, which never speaks: HTTP/2 is t's
	h.shell = &http.Transport{Protocols: protocols, DialContext: t.DialContext}
	h.shell.RegisterProtocol("http", roundTripper{h})
	h.shell.RegisterProtocol("https", roundTripper{h})
	h.shell.RegisterProtocol("file", roundTripper{h}) // which t has its base for
	c.WithTransport(h.shell)
	return h, nil
}

// roundTripper is the Handle as the shell sees it.
type roundTripper struct{ h *Handle }

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	h := rt.h
	r := req
	if proxy := h.shell.Proxy; proxy != nil {
		r = r.WithContext(transport.WithProxy(r.Context(), proxy))
	}
	if h.shell.DisableKeepAlives {
		if r == req {
			r = r.WithContext(r.Context())
		}
		r.Close = true
	}
	resp, err := h.transport.RoundTrip(r)
	h.count(req, err)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	resp.Body = newBody(req.Context(), resp.Body)
	return resp, nil
}

func (h *Handle) count(req *http.Request, err error) {
	kind := hostwise.KindOf(err)
	h.mu.Lock()
	h.requests++
	if err == nil {
		h.responses++
	} else {
		h.failures[kind]++
	}
	tell := h.onFailure
	h.mu.Unlock()
	if err != nil && tell != nil {
		tell(Failure{Request: req, Kind: kind, Err: err})
	}
}

// A Failure is one round trip without a response.
type Failure struct {
	Request *http.Request
	Kind    hostwise.Kind
	Err     error
}

// OnFailure has f called for every failed round trip, those that never reach
// the collector's OnError included, on the goroutine that made it. It
// replaces the function set before; nil removes it.
func (h *Handle) OnFailure(f func(Failure)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onFailure = f
}

// Stats are the counters of one collector since Attach. Those of names,
// connections and hosts are the Transport's.
type Stats struct {
	Requests  uint64                   // round trips: pages, redirects, robots.txt
	Responses uint64                   // of these, with response headers
	Failures  map[hostwise.Kind]uint64 // the others, by Kind
}

// Stats returns the current counters.
func (h *Handle) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{Requests: h.requests, Responses: h.responses, Failures: maps.Clone(h.failures)}
}
