package hostwisecolly

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"sync"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
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

	mu        sync.Mutex // protects what follows
	closed    bool
	onFailure func(Failure)
	retry     *RetryOptions                                 // nil: off
	skip      func(*colly.Request, *hostwise.HostDownError) // nil: off
	links     *links                                        // nil: off
	underWay  underWay
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
// its base, and use AttachClone for a clone. Attach before you register
// callbacks; those of the Handle then come first where they must.
func Attach(c *colly.Collector, t *transport.Transport) (*Handle, error) {
	if c == nil || t == nil {
		return nil, errors.New("hostwisecolly: Attach needs a collector and a transport")
	}
	h := &Handle{
		transport: t, collector: c,
		underWay: underWay{map[*url.URL]*colly.Request{}, map[*colly.Request]*url.URL{}},
		chains:   chains{map[uintptr]*chain{}, map[*colly.Request]*chain{}},
		stats:    Stats{Failures: map[hostwise.Kind]uint64{}},
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
	h.shell.RegisterProtocol("file", roundTripper{h}) // which t has its base for
	c.WithTransport(h.shell)
	h.add(c)
	return h, nil
}

// Transport is Attach as an option of colly.NewCollector. Each function in
// setup is called with the Handle, to switch its features on. Where Attach
// fails, which can only be for want of a t, all requests of the collector
// fail with its error.
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
// another HTTP transport than h's.
func (h *Handle) AttachClone(clone *colly.Collector) error {
	if clone == nil {
		return errors.New("hostwisecolly: AttachClone needs a collector")
	}
	shell := reflect.ValueOf(h.shell)
	if t, ok := transportOf(clone); ok && (!t.IsValid() || t.Type() != shell.Type() || t.Pointer() != shell.Pointer()) {
		return errors.New("hostwisecolly: AttachClone: this is not a clone of the collector attached, or WithTransport has taken the adapter out")
	}
	h.add(clone)
	h.mu.Lock()
	links := h.links
	h.mu.Unlock()
	if links != nil {
		links.of(clone)
	}
	return nil
}

// add registers h's callbacks with c: this OnRequest is c's first, and what
// it registers upon the first request c's last.
func (h *Handle) add(c *colly.Collector) {
	last := sync.OnceFunc(func() {
		c.OnError(func(r *colly.Response, err error) {
			h.ended(r.Request)
			h.failed(c, r, err)
		})
		c.OnScraped(h.scraped)
	})
	c.OnRequest(func(r *colly.Request) {
		last()
		again := h.adopt(r)
		if h.skipDead(r) {
			h.take(r)
		} else if again {
			h.count(func(s *Stats) { s.Retries++ })
		}
	})
	c.OnRequestHeaders(h.began)
	c.OnResponseHeaders(func(r *colly.Response) { h.ended(r.Request) })
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

// keepsNothingFrom returns an error if c has a transport, which Attach would
// take out without a word.
func (h *Handle) keepsNothingFrom(c *colly.Collector) error {
	t, _ := transportOf(c)
	switch {
	case !t.IsValid() || t.Kind() == reflect.Pointer && t.IsNil():
		return nil
	case t.Type() != reflect.TypeFor[*http.Transport]():
		return fmt.Errorf("hostwisecolly: Attach would take out the collector's transport, a %v; WithTransport(nil) does so on purpose", t.Type())
	case t.Elem().FieldByName("DialContext").Pointer() == reflect.ValueOf(h.dial).Pointer():
		return errors.New("hostwisecolly: the collector is attached already; for a clone use AttachClone")
	case !t.Elem().FieldByName("Proxy").IsNil():
		return errors.New("hostwisecolly: Attach would take out the collector's proxy; call SetProxy and SetProxyFunc after it")
	}
	return errors.New("hostwisecolly: Attach would take out the collector's *http.Transport; give it to transport.New as the base, and call WithTransport(nil) before Attach")
}

// transportOf looks at the transport of c's HTTP client, which Colly does not
// show: the zero Value if it has none. ok is false if Colly has changed.
func transportOf(c *colly.Collector) (t reflect.Value, ok bool) {
	v := reflect.ValueOf(c)
	for _, name := range []string{"backend", "Client", "Transport"} {
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return reflect.Value{}, false
		}
		if v = v.Elem().FieldByName(name); !v.IsValid() {
			return reflect.Value{}, false
		}
	}
	if v.Kind() != reflect.Interface {
		return reflect.Value{}, false
	}
	return v.Elem(), true
}
