package hostwisecolly

import (
	"maps"
	"net/http"

	"github.com/hostwise-go/hostwise"
)

// Stats are the counters of a Handle since Attach: those of its collector
// and its clones. Those of names, connections and hosts are the Transport's.
type Stats struct {
	Requests  uint64                   // round trips: pages, each redirect and retry, robots.txt
	Responses uint64                   // of these, with response headers
	Failures  map[hostwise.Kind]uint64 // the others, by Kind

	// When nothing waits or is under way, Retries and GaveUp are together the
	// failures that OnError was called for, but for pages that came.
	Retries   uint64 // requests sent again by Retry, which are not aborted in OnRequest
	Recovered uint64 // pages that came after one retry or several
	GaveUp    uint64 // requests that failed and were not sent again
	Skipped   uint64 // requests aborted by SkipDeadHosts

	Prefetched      uint64 // names looked up by PrefetchLinks
	PrefetchDropped uint64 // names that its queue had no room for

	HookPanics     uint64 // calls of OnFailure's, SkipDeadHosts' and GaveUp's functions that have panicked, or ended their goroutine
	FirstHookPanic string // what the first of them did, with its stack; "": there was none
}

// Stats returns the current counters.
func (h *Handle) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Failures = maps.Clone(s.Failures)
	s.HookPanics, s.FirstHookPanic = h.calls.Count()
	return s
}

func (h *Handle) count(f func(*Stats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.stats)
}

// A Failure is one round trip without a response.
type Failure struct {
	Request *http.Request // the hop that failed: after a redirect not the page asked for
	Kind    hostwise.Kind
	Err     error
}

// OnFailure has f called for every failed round trip, which waits for it:
// those that never reach the collector's OnError (robots.txt), those whose
// errors nobody looks at (a queue's), each hop of a redirect and each retry. It
// replaces the function set before; nil removes it.
//
// A response whose body breaks off is none of them: the error is in OnError.
func (h *Handle) OnFailure(f func(Failure)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onFailure = f
}

func (h *Handle) tell(req *http.Request, err error) {
	h.mu.Lock()
	f := h.onFailure
	h.mu.Unlock()
	if f != nil {
		_ = h.calls.Call(func() { f(Failure{Request: req, Kind: hostwise.KindOf(err), Err: err}) }) // which has counted a panic
	}
}
