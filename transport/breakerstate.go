package transport

import (
	"container/list"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/sony/gobreaker/v2"
)

// hostState is what is known of a host with failures: what undo puts back,
// and what a snapshot holds.
type hostState struct {
	answered bool // when it first failed, it had answered before
	open     bool
	failures int           // in a row
	last     error         // that tripped it
	took     time.Duration // what that failure cost a request
	since    time.Time     // it has been open
	retryAt  time.Time
	cooldown time.Duration // until then, without the jitter
	paused   time.Time     // when it asked for a pause
	resume   time.Time     // and until when; zero: it did not
}

// hostBreaker is the entry of one host.
type hostBreaker struct {
	key string
	hostState
	counter *gobreaker.TwoStepCircuitBreaker[struct{}] // nil: countOf makes it
	probe   *permit                                    // the one request let through, if any
	run     uint64                                     // of failures that has charged it last
	before  *hostState                                 // that run; nil: it was healthy
	told    HostState                                  // to the user's hook
	place   *list.Element                              // in the shard's order
}

// put replaces the state. There must be no probe.
func (h *hostBreaker) put(s hostState) {
	h.hostState, h.counter, h.run, h.before = s, nil, 0, nil
}

// answer replaces the state, since the host has answered the holder of p,
// who may have been any request: p may be nil.
func (h *hostBreaker) answer(p *permit, s hostState) {
	if h.probe == p {
		h.endProbe(nil)
	}
	h.endProbe(errNoVerdict)
	h.put(s)
}

// remember notes the state as it is before the first charge of a run.
func (h *hostBreaker) remember(run uint64) {
	if run == 0 || run == h.run {
		return
	}
	h.run, h.before = run, nil
	if h.failures > 0 {
		before := h.hostState
		h.before = &before
	}
}

// count counts a failure of a closed host. It reports whether that is one too
// many.
func (b *breaker) count(h *hostBreaker, err error) (trips bool) {
	if h.failures == 0 && b.limit(h.answered) != 1 { // most hosts fail only once, which takes no gobreaker
		h.failures++
		return false
	}
	done, allowErr := b.countOf(h).Allow()
	h.failures++
	if allowErr != nil { // cannot be: it is closed
		return false
	}
	done(err)
	return h.counter.State() != gobreaker.StateClosed
}

// countOf returns the gobreaker that counts for h, with the failures so far.
func (b *breaker) countOf(h *hostBreaker) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	if h.counter != nil {
		return h.counter
	}
	trips := b.trips[0]
	if h.answered {
		trips = b.trips[1]
	}
	h.counter = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        h.key,
		Timeout:     1, // nanosecond: the cool-down is ours
		ReadyToTrip: trips,
		IsExcluded:  isNoVerdict,
	})
	failures := h.failures
	if h.open {
		failures = b.limit(h.answered)
	}
	for range failures {
		if done, err := h.counter.Allow(); err == nil {
			done(errNoAnswer)
		}
	}
	return h.counter
}

// endProbe hands gobreaker the result of the probe, if there is one.
func (h *hostBreaker) endProbe(err error) {
	if h.probe != nil {
		h.probe.done(err)
		h.probe = nil
	}
}

// refusal returns the error while the cool-down or a pause lasts, or a probe
// is on its way.
func (h *hostBreaker) refusal(host string, now time.Time) *hostwise.HostDownError {
	switch t := h.opens(now); {
	case h.open && (now.Before(h.retryAt) || h.probe != nil && now.Before(t)):
		return h.error(host, hostwise.HostDown, t)
	case now.Before(h.resume):
		return h.error(host, hostwise.HostPaused, t)
	}
	return nil
}

// opens is when the next request may go.
func (h *hostBreaker) opens(now time.Time) (t time.Time) {
	switch {
	case h.probe != nil:
		t = h.probe.since.Add(probeExpiry)
	case h.open:
		t = h.retryAt
	}
	if h.resume.After(t) && h.resume.After(now) {
		t = h.resume
	}
	return t
}

func (h *hostBreaker) error(host string, k hostwise.Kind, retryAt time.Time) *hostwise.HostDownError {
	since := h.since
	if k == hostwise.HostPaused {
		since = h.paused
	}
	return &hostwise.HostDownError{
		Host: host, Kind: k, Since: since, RetryAt: retryAt,
		Failures: h.failures, Last: h.last, Err: gobreaker.ErrOpenState,
	}
}

// state is the host's state as a user sees it.
func (h *hostBreaker) state(now time.Time) HostState {
	switch {
	case h.probe != nil:
		return StateProbing
	case h.open:
		return StateDown
	case now.Before(h.resume):
		return StatePaused
	}
	return StateUp
}
