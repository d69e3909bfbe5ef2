package hostwisecolly

import (
	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// SkipDeadHosts has requests aborted, before they take one of Colly's slots
// or wait for one of its delays, whose host is down: the Transport would not
// try them before down.RetryAt. To Colly an aborted request is neither a
// response nor an error, so f is told of each, while the request waits; it may
// be nil. A retry is aborted, too, and has failed for good:
// RetryOptions.GaveUp is told as well. Requests through a proxy are not looked
// at. A collector that obeys robots.txt asks for it before: where it has none of
// the host, Visit fails with the HostDownError, and nothing is skipped.
//
// The collector's other OnRequest callbacks still run, with r.IsAbort() true.
// To Colly the page has been visited: to come back to it, call r.Retry later, or
// use a collector with AllowURLRevisit.
func (h *Handle) SkipDeadHosts(f func(r *colly.Request, down *hostwise.HostDownError)) {
	if f == nil {
		f = func(*colly.Request, *hostwise.HostDownError) {}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skip = f
}

// skipDead aborts r if its host is down, and returns why; nil if it is not.
func (h *Handle) skipDead(r *colly.Request) *hostwise.HostDownError {
	h.mu.Lock()
	f := h.skip
	h.mu.Unlock()
	if f == nil || !h.isDirect(r.URL) {
		return nil
	}
	down := h.transport.HostDown(failure.HostPort(r.URL))
	if down == nil {
		return nil
	}
	r.Abort()
	h.count(func(s *Stats) { s.Skipped++ })
	_ = h.calls.Call(func() { f(r, down) }) // which has counted a panic
	return down
}
