package transport

import (
	"container/list"
	"errors"
	"syscall"
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
	pause    *pause        // that it has asked for; nil: none
}

// A pause is never changed once made.
type pause struct{ from, until time.Time }

// lasts reports whether there is a pause, and it is not over.
func (p *pause) lasts(now time.Time) bool { return p != nil && now.Before(p.until) }

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

// kept is what is kept of a failure: neither the attempts nor the causes,
// certificates among them, but for the errno. There may be very many.
func kept(err error) error {
	var cause error
	var errno syscall.Errno
	if errors.As(err, &errno) {
		cause = errno
	}
	switch e := err.(type) {
	case *hostwise.ConnectError:
		return &hostwise.ConnectError{Host: e.Host, Proxy: e.Proxy, Kind: e.Kind, Err: cause, Elapsed: e.Elapsed}
	case *hostwise.TLSError:
		return &hostwise.TLSError{Host: e.Host, Addr: e.Addr, Kind: e.Kind, Err: cause, Elapsed: e.Elapsed}
	case *hostwise.RequestError:
		if e.Kind != hostwise.HTTPStatus {
			return &hostwise.RequestError{Host: e.Host, Addr: e.Addr, Kind: e.Kind, Phase: e.Phase, Err: cause, Elapsed: e.Elapsed}
		}
	}
	return err
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
	case h.open && now.Before(h.retryAt):
		return h.error(host, hostwise.HostDown, t)
	case h.open && h.probe != nil && now.Before(t):
		if soon := now.Add(probePatience); soon.Before(t) && !h.pause.lasts(now) { // its answer may come any moment
			t = soon
		}
		return h.error(host, hostwise.HostDown, t)
	case h.pause.lasts(now):
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
	if h.pause.lasts(now) && h.pause.until.After(t) {
		t = h.pause.until
	}
	return t
}

func (h *hostBreaker) error(host string, k hostwise.Kind, retryAt time.Time) *hostwise.HostDownError {
	since := h.since
	if k == hostwise.HostPaused {
		since = h.pause.from
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
	case h.pause.lasts(now):
		return StatePaused
	}
	return StateUp
}
