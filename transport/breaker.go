package transport

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/sony/gobreaker/v2"
)

const (
	tripAfter        = 5 // failures in a row
	tripAfterUnknown = 3 // of a host that never answered
	firstCooldown    = 30 * time.Second
	lastCooldown     = time.Hour
	probeExpiry      = time.Minute // a probe nobody reported on no longer blocks the next
	breakerShards    = 16
	maxBreakers      = 65536 // hosts with a recent failure
)

// breaker stops requests to hosts that keep failing. A host without a recent
// failure has no entry, and costs a map miss. Each entry counts with a
// gobreaker; since a gobreaker's open state always lasts equally long, that
// state is given no length, and the cool-down is a gate of our own in front
// of it.
type breaker struct {
	seed   maphash.Seed
	shards [breakerShards]breakerShard
}

type breakerShard struct {
	mu    sync.RWMutex // protects the map
	hosts map[string]*hostBreaker
}

// hostBreaker is the state of one failing host.
type hostBreaker struct {
	mu       sync.Mutex // protects what follows; gobreaker's callback runs under it
	counter  *gobreaker.TwoStepCircuitBreaker[struct{}]
	limit    uint32 // failures in a row that trip it
	failures int
	last     error
	open     bool
	since    time.Time
	retryAt  time.Time
	cooldown time.Duration
	probe    *permit // the one request let through, if any
}

// A permit is held by the one request that finds out whether a host that was
// down is back.
type permit struct {
	host  *hostBreaker
	done  func(error)
	since time.Time
}

// errNoVerdict is reported for a probe that found out nothing.
var errNoVerdict = errors.New("no verdict")

func newBreaker() *breaker {
	b := &breaker{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].hosts = map[string]*hostBreaker{}
	}
	return b
}

func (b *breaker) shard(key string) *breakerShard {
	return &b.shards[maphash.String(b.seed, key)%breakerShards]
}

func (b *breaker) get(key string) *hostBreaker {
	s := b.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hosts[key]
}

// allow says whether a request to the host may be tried. The permit is nil,
// except for a probe.
func (b *breaker) allow(key string, now time.Time) (*permit, *hostwise.HostDownError) {
	h := b.get(key)
	if h == nil {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open {
		return nil, nil
	}
	if down := h.down(key, now); down != nil {
		return nil, down
	}
	if h.probe != nil { // expired
		h.probe.done(errNoVerdict)
		h.probe = nil
	}
	done, err := h.counter.Allow()
	if err != nil { // cannot be: the open state has no length
		return nil, h.error(key)
	}
	h.probe = &permit{host: h, done: done, since: now}
	return h.probe, nil
}

// refuses returns the error for requests that wait for a host, once it is
// down.
func (b *breaker) refuses(key string, now time.Time) *hostwise.HostDownError {
	h := b.get(key)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open {
		return nil
	}
	return h.down(key, now)
}

// down returns the error while the cool-down lasts or a probe is on its way.
// h.mu is held.
func (h *hostBreaker) down(key string, now time.Time) *hostwise.HostDownError {
	if now.Before(h.retryAt) || h.probe != nil && now.Before(h.probe.since.Add(probeExpiry)) {
		return h.error(key)
	}
	return nil
}

func (h *hostBreaker) error(key string) *hostwise.HostDownError {
	retryAt := h.retryAt
	if h.probe != nil {
		retryAt = h.probe.since.Add(probeExpiry)
	}
	return &hostwise.HostDownError{
		Host: key, Kind: hostwise.HostDown, Since: h.since, RetryAt: retryAt,
		Failures: h.failures, Last: h.last, Err: gobreaker.ErrOpenState,
	}
}

// failure charges the host. It reports whether that tripped the breaker, or
// kept it open.
func (b *breaker) failure(key string, now time.Time, err error, answered bool, p *permit) (tripped bool) {
	h := b.entry(key, answered)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = err
	switch {
	case h.open && (p == nil || h.probe != p): // begun before it tripped, or a probe that took too long
		h.failures++
		return false
	case h.open:
		h.probe = nil
		h.failures++
		p.done(err)
		h.trip(now, min(2*h.cooldown, lastCooldown))
		return true
	}
	done, allowErr := h.counter.Allow()
	if allowErr != nil {
		return false
	}
	h.failures++
	done(err) // calls opened if this is one too many
	if h.open {
		h.since = now
		h.trip(now, firstCooldown)
	}
	return h.open
}

// trip begins a cool-down, up to a tenth longer or shorter than said, so that
// hosts that went down together are not probed together.
func (h *hostBreaker) trip(now time.Time, cooldown time.Duration) {
	h.open, h.cooldown = true, cooldown
	jitter := time.Duration((rand.Float64() - 0.5) * 0.2 * float64(cooldown))
	h.retryAt = now.Add(min(cooldown+jitter, lastCooldown))
}

// success forgets a host's failures: it has answered.
func (b *breaker) success(key string, p *permit) {
	if b.get(key) == nil {
		return
	}
	s := b.shard(key)
	s.mu.Lock()
	delete(s.hosts, key)
	s.mu.Unlock()
	if p != nil {
		p.host.mu.Lock()
		defer p.host.mu.Unlock()
		if p.host.probe == p {
			p.host.probe = nil
			p.done(nil)
		}
	}
}

// release gives back the permit of a request that has found out nothing. A
// nil permit needs no release.
func (b *breaker) release(p *permit) {
	if p == nil {
		return
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.host.probe == p {
		p.host.probe = nil
		p.done(errNoVerdict)
	}
}

// entry returns the host's state, making it if need be.
func (b *breaker) entry(key string, answered bool) *hostBreaker {
	s := b.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hosts[key]; h != nil {
		return h
	}
	if len(s.hosts) >= maxBreakers/breakerShards {
		s.evict()
	}
	h := newHostBreaker(key, answered)
	s.hosts[key] = h
	return h
}

func newHostBreaker(key string, answered bool) *hostBreaker {
	h := &hostBreaker{limit: tripAfterUnknown}
	if answered {
		h.limit = tripAfter
	}
	h.counter = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        key,
		Timeout:     1, // nanosecond: the cool-down is ours
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= h.limit },
		IsExcluded:  func(err error) bool { return err == errNoVerdict },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			h.open = to != gobreaker.StateClosed
		},
	})
	return h
}

// evict makes room for another host: of a few looked at, the one whose loss
// costs least, a closed one before an open one.
func (s *breakerShard) evict() {
	var victim string
	looked := 0
	for key, h := range s.hosts {
		h.mu.Lock()
		open := h.open
		h.mu.Unlock()
		victim = key
		if looked++; !open || looked == 8 {
			break
		}
	}
	delete(s.hosts, victim)
}
