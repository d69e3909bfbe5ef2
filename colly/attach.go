package hostwisecolly

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"weak"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
	"github.com/hostwise-go/hostwise/transport"
)

// A Handle is the adapter of one collector and of those of its clones that
// were given to AttachClone. It is safe for concurrent use, but its features
// are to be switched on, as Colly's callbacks are, before the first request.
type Handle struct {
	transport *transport.Transport
	collector *colly.Collector
	shell     *http.Transport // what Colly sees, and sets Proxy and DisableKeepAlives of

	life context.Context // of the goroutines and the waits; ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup // the goroutines of PrefetchLinks

	calls hook.Group // of the caller's functions

	mu        sync.Mutex // protects what follows
	closed    bool
	onFailure func(Failure)
	retry     *RetryOptions                                 // nil: off
	skip      func(*colly.Request, *hostwise.HostDownError) // nil: off
	links     *links                                        // nil: off
	members   map[weak.Pointer[colly.Collector]]bool
	chains    chains
	stats     Stats
}

// Attach makes c send its requests through t. One t may serve many
// collectors, each with a Handle of its own. It remains the caller's to
// close, after the last of them.
//
// Attach takes the place of c's transport, so it fails when there is one,
// set by WithTransport, SetProxy or an earlier Attach: call SetProxy and
// SetProxyFunc afterwards, give a transport of your own to transport.New as
// its base, and use AttachClone for a clone. It fails for http.DefaultClient,
// too, which it would change for the whole program. Attach before you register
// callbacks: those of the Handle then come first where they must. Retry works
// with OnRequest callbacks registered before, but gives up a request that it
// cannot tell from another one: of the same method, URL and Ctx.
func Attach(c *colly.Collector, t *transport.Transport) (*Handle, error) {
	if c == nil || t == nil {
		return nil, errors.New("hostwisecolly: Attach needs a collector and a transport")
	}
	h := &Handle{
		transport: t, collector: c,
		members: map[weak.Pointer[colly.Collector]]bool{},
		chains:  newChains(),
		stats:   Stats{Failures: map[hostwise.Kind]uint64{}},
	}
	if err := h.keepsNothingFrom(c); err != nil {
		return nil, err
	}
	h.life, h.end = context.WithCancel(context.Background())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // of the shell, which never speaks: HTTP/2 is t's
	h.shell = &http.Transport{Protocols: protocols, DialContext: h.dial}
	h.shell.RegisterProtocol("http", roundTripper{h})
	h.shell.RegisterProtocol("https", roundTripper{h})
	h.shell.RegisterProtocol("file", roundTripper{h}) // t hands it to its base
	c.WithTransport(h.shell)
	h.add(c)
	return h, nil
}

// Transport is Attach as an option of colly.NewCollector. Each function in
// setup is called with the Handle, to switch its features on. If Attach fails,
// for want of a t or because of an option before this one, all requests of the
// collector fail with its error.
func Transport(t *transport.Transport, setup ...func(*Handle)) colly.CollectorOption {
	return func(c *colly.Collector) {
		h, err := Attach(c, t)
		if err != nil {
			c.WithTransport(failing{err})
			return
		}
		for _, f := range setup {
			f(h)
		}
	}
}

// failing fails each request.
type failing struct{ err error }

func (f failing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, f.err
}

// AttachClone makes the features of h work for a clone of its collector, too:
// PrefetchLinks if it is switched on already, the others whenever they are. A
// clone shares the HTTP client, and so is attached as it is; but Colly gives it
// none of the callbacks, which the features are made of. It fails if clone uses
// another HTTP transport than h's, or is attached already.
func (h *Handle) AttachClone(clone *colly.Collector) error {
	if clone == nil {
		return errors.New("hostwisecolly: AttachClone needs a collector")
	}
	if !h.mayServe(clone) {
		return errors.New("hostwisecolly: AttachClone: this is not a clone of the collector attached, or WithTransport has taken the adapter out")
	}
	h.mu.Lock()
	links, has := h.links, h.members[weak.Make(clone)]
	h.mu.Unlock()
	if has {
		return errors.New("hostwisecolly: AttachClone: the collector is attached already")
	}
	h.add(clone)
	if links != nil {
		links.of(clone)
	}
	return nil
}

// add registers h's callbacks with c: this OnRequest is c's first, if c has
// none, and what it registers upon the first request c's last.
func (h *Handle) add(c *colly.Collector) {
	h.mu.Lock()
	h.members[weak.Make(c)] = true
	h.mu.Unlock()
	late := hasOnRequest(c)
	last := sync.OnceFunc(func() {
		c.OnError(func(r *colly.Response, err error) { h.failed(c, r, err) })
		c.OnScraped(func(r *colly.Response) { h.scraped(id{c, r.Request.ID}) })
	})
	c.OnRequest(func(r *colly.Request) {
		last()
		i := id{c, r.ID}
		h.adopt(i, r, late)
		if down := h.skipDead(r); down != nil && h.take(i) != nil {
			h.gaveUp(&colly.Response{Request: r, Ctx: r.Ctx}, down)
		}
	})
	c.OnRequestHeaders(func(r *colly.Request) { h.began(id{c, r.ID}, r, late) })
	c.OnResponseHeaders(func(r *colly.Response) { h.headersCame(id{c, r.Request.ID}, r.Request) })
	c.OnResponse(func(r *colly.Response) { h.arrived(id{c, r.Request.ID}) })
}

// Close ends what h does in the background: waits of Retry, whose requests
// are then failed, and PrefetchLinks, whose goroutines it joins. Requests
// remain possible. The Transport is closed after it. Close returns nil.
func (h *Handle) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.end()
	h.wg.Wait()
	return nil
}

// start runs f on a goroutine that Close waits for. It reports whether it
// does, which it does not after Close.
func (h *Handle) start(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.wg.Go(f)
	}
	return !h.closed
}
