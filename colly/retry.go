package hostwisecolly

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// RetryOptions configures Retry. A nil *RetryOptions and every zero field
// mean the documented default.
type RetryOptions struct {
	// Max is the number of times that one request is sent again. To be
	// turned away, since the host is down, is no attempt; it is waited out as
	// many times at the most. Default: 2; negative: none.
	Max int

	// Delay is the wait before the first retry. Each further one waits twice
	// as long, up to MaxDelay; all are shortened at random, down to the half,
	// so that requests that failed together do not come back together.
	// Default: 1 s.
	Delay time.Duration

	// MaxDelay bounds the waits. A failure that cannot do better for longer
	// than that (hostwise.RetryAt: the cool-down of a host, the remembered
	// failure of a name) is final; else RetryAt is waited for, and Delay
	// from then on. Default: 1 min, which covers a host's first cool-down, not
	// the following ones; with SkipDeadHosts there is none to be waited for.
	MaxDelay time.Duration

	// GaveUp is OnError without the failures that are to be retried: it is
	// called with the last failure of each request that has failed for good,
	// after the collector's own OnError, and with the HostDownError of a retry
	// that SkipDeadHosts aborts. A page that came, and cannot be read as HTML
	// or XML, is none; one that cannot be written to CacheDir is, since Colly
	// gives it to no callback. Default: nothing.
	GaveUp func(r *colly.Response, err error)
}

const (
	defaultRetries  = 2
	defaultDelay    = time.Second
	defaultMaxDelay = time.Minute // a breaker's first cool-down is 33 s at the most
)

func (o *RetryOptions) withDefaults() *RetryOptions {
	var c RetryOptions
	if o != nil {
		c = *o
	}
	c.Max = cmp.Or(c.Max, defaultRetries)
	c.Delay = cmp.Or(max(c.Delay, 0), defaultDelay)
	c.MaxDelay = cmp.Or(max(c.MaxDelay, 0), defaultMaxDelay)
	return &c
}

// Retry has requests sent again that failed in a way that may pass:
// hostwise.Retryable. A POST or PATCH is one only if the server cannot have
// seen it. After a redirect only GET, HEAD, OPTIONS and TRACE are sent again,
// from the first URL on: the others have been answered. An HTTP status is no
// failure in this sense. It replaces the options set before.
//
// The collector's OnError sees every failed attempt, as it always does; those
// registered before the first request see it before the wait begins.
// RetryOptions.GaveUp sees only what has failed for good. The wait
// takes none of Colly's slots and delays, which have been given back by then,
// but the goroutine that made the request: in a collector that is not Async
// that of Visit, which then returns the first attempt's error, whatever became
// of the others, and in a queue one of its threads. Wait and a queue's Run end
// after the last retry. When the collector's Context ends, or at Close, the
// waits end and their requests have failed.
//
// The attempts are counted for each request, with a few bytes for each that
// is under way or waits. A retry is Colly's own Request.Retry, but with the
// Cookie header that the request had: OnRequest callbacks run, MaxRequests
// counts it, and a body must be an io.ReadSeeker. Do not call Request.Retry in
// an OnError as well: that begins another request, with retries of its own.
// robots.txt is asked for again, too, within the time-out of the HTTP client.
// With CheckHead in a collector that is not Async, Colly takes a page for lost
// whose HEAD had to be repeated.
//
// A retry that an OnRequest callback aborts has failed for good. Colly says
// nothing of it where the collector is Async: GaveUp is then not called, and
// Stats counts it when the garbage collector has its Request.
func (h *Handle) Retry(o *RetryOptions) {
	o = o.withDefaults()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retry = o
}

// failed is the last of the collector's callbacks for a failure.
func (h *Handle) failed(collector *colly.Collector, r *colly.Response, err error) {
	i := id{collector, r.Request.ID}
	if h.hasArrived(i) {
		return // the page is there, and cannot be read as HTML or XML: OnScraped comes next
	}
	c := h.take(i)
	h.mu.Lock()
	o := h.retry
	h.mu.Unlock()
	if c == nil || !c.isLike(r.Request) || !o.allows(c, c.method, err) || !h.sleep(collector.Context, o.wait(c, err)) ||
		isHostDown(err) && !h.isUp(collector.Context, o, c.url) || !h.again(collector, r.Request, c) {
		h.gaveUp(r, err)
	}
}

// again sends r once more. It reports whether that is or was on its way.
func (h *Handle) again(collector *colly.Collector, r *colly.Request, c *chain) bool {
	// What Retry changes, and what a redirect has changed, is r's. The map of
	// the headers may be one that the program uses for other requests.
	url, headers := r.URL, r.Headers
	own := c.headers.Clone()
	if own == nil {
		own = http.Header{}
	}
	r.URL, r.Headers = c.url, &own
	if !h.expect(c, r) {
		r.URL, r.Headers = url, headers
		return false
	}
	err := r.Retry()
	r.URL, r.Headers = url, headers
	if err == nil && collector.Async {
		return true
	}
	if h.unexpect(c) {
		return err == nil
	}
	// It has ended. If no callback was told, one has aborted it.
	return h.take(c.id) == nil
}

func (h *Handle) gaveUp(r *colly.Response, err error) {
	h.mu.Lock()
	h.stats.GaveUp++
	o := h.retry
	h.mu.Unlock()
	if o != nil && o.GaveUp != nil {
		_ = h.calls.Call(func() { o.GaveUp(r, err) }) // which has counted a panic
	}
}

// robotsTxt asks for a robots.txt. Colly does so outside of its limits and
// tells no callback of a failure, though the page is lost by it.
func (h *Handle) robotsTxt(req *http.Request) (*http.Response, error) {
	var c chain
	for {
		resp, err := h.roundTrip(req)
		h.mu.Lock()
		o := h.retry
		h.mu.Unlock()
		if err == nil || !o.allows(&c, req.Method, err) {
			return resp, err
		}
		wait := o.wait(&c, err)
		if deadline, ok := req.Context().Deadline(); ok && time.Until(deadline) <= wait || !h.sleep(h.collector.Context, wait) {
			return nil, err
		}
		h.count(func(s *Stats) { s.Retries++ })
	}
}

// allows reports whether a request that failed with err may be sent again.
func (o *RetryOptions) allows(c *chain, method string, err error) bool {
	switch {
	case o == nil || !hostwise.Retryable(err) || time.Until(hostwise.RetryAt(err)) > o.MaxDelay:
		return false
	case c.hops > 1 && !isSafe(method): // the first hop has seen it, and answered
		return false
	case isHostDown(err):
		return c.waits < o.Max
	}
	return c.tries < o.Max && (isIdempotent(method) || neverArrived(err))
}

// wait counts a failure, and returns how long to wait after it.
func (o *RetryOptions) wait(c *chain, err error) time.Duration {
	d := max(0, time.Until(hostwise.RetryAt(err))) + o.backoff(c.tries)
	if isHostDown(err) {
		c.waits++
	} else {
		c.tries++
	}
	return d
}

// backoff is a random part, half or more, of the delay after so many tries.
func (o *RetryOptions) backoff(tries int) time.Duration {
	d := min(o.Delay, o.MaxDelay)
	for range tries {
		d = min(2*d, o.MaxDelay)
	}
	return d - rand.N(d/2+1)
}

// isSafe goes by RFC 9110, section 9.2.1.
func isSafe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}, method)
}

// isIdempotent goes by RFC 9110, section 9.2.2.
func isIdempotent(method string) bool {
	return isSafe(method) || method == http.MethodPut || method == http.MethodDelete
}

// neverArrived reports whether the server has not seen the request.
func neverArrived(err error) bool {
	switch hostwise.PhaseOf(err) {
	case hostwise.PhaseResolve, hostwise.PhaseConnect, hostwise.PhaseTLS:
		return true
	}
	return false
}

// isHostDown reports whether the request was not even tried.
func isHostDown(err error) bool {
	k := hostwise.KindOf(err)
	return k == hostwise.HostDown || k == hostwise.HostPaused
}

// isUp waits while the host's probe is under way, or has just failed: of those
// who wait for a host, one is let through to it at first. It returns false when
// that takes MaxDelay again.
func (h *Handle) isUp(ctx context.Context, o *RetryOptions, u *url.URL) bool {
	end := time.Now().Add(o.MaxDelay)
	for h.isDirect(u) {
		down := h.transport.HostDown(failure.HostPort(u))
		if down == nil {
			break
		}
		if down.RetryAt.After(end) || !h.sleep(ctx, o.backoff(0)) {
			return false
		}
	}
	return true
}

// sleep returns false when ctx or h ends first.
func (h *Handle) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil && h.life.Err() == nil
	case <-ctx.Done():
	case <-h.life.Done():
	}
	return false
}
