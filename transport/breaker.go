package transport

import (
	"container/list"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
	"github.com/sony/gobreaker/v2"
)

const (
	probeExpiry   = time.Minute // a probe nobody reported on no longer blocks the next
	probePatience = time.Second // after which to ask again who was refused because of one
	breakerShards = 16
	maxBreakers   = 65536 // hosts with a recent failure
)

// breaker stops requests to hosts that keep failing. A host without a recent
// failure has no entry, and costs a map miss. Each entry counts with a
// gobreaker; since a gobreaker's open state always lasts equally long, that
// state is given no length, and the cool-down is a gate of our own in front
// of it. No function of the user's runs under a lock.
type breaker struct {
	opt     BreakerOptions // none of them zero
	trips   [2]func(gobreaker.Counts) bool
	seed    maphash.Seed
	shards  [breakerShards]breakerShard
	changes changes[HostChange]

	tripped, refused atomic.Uint64
	saved            atomic.Int64 // nanoseconds, that the refused would have taken
}

type breakerShard struct {
	mu    sync.RWMutex // protects what follows, and the hosts themselves; gobreaker's callbacks run under it
	hosts map[string]*hostBreaker
	order [2]list.List // of the same: those that are worth less and worth more; what has not changed for the longest time first
}

// A permit is held by the one request that finds out whether a host that was
// down is back.
type permit struct {
	host  *hostBreaker
	done  func(error)
	since time.Time
}

// What gobreaker is told of a probe that found out nothing, and of the
// failures before it was made.
var (
	errNoVerdict = errors.New("no verdict")
	errNoAnswer  = errors.New("no answer")
)

func isNoVerdict(err error) bool { return err == errNoVerdict }

func newBreaker(o BreakerOptions, calls *hook.Group) *breaker {
	b := &breaker{opt: o, seed: maphash.MakeSeed(), changes: changes[HostChange]{hook: o.OnChange, calls: calls}}
	for i := range b.trips {
		limit := b.limit(i == 1)
		b.trips[i] = func(c gobreaker.Counts) bool { return limit > 0 && int(c.ConsecutiveFailures) >= limit }
	}
	for i := range b.shards {
		b.shards[i].hosts = map[string]*hostBreaker{}
	}
	return b
}

// limit is the number of failures in a row that trips a host; negative: none
// does.
func (b *breaker) limit(answered bool) int {
	if answered || b.opt.FirstFailures < 0 {
		return b.opt.Failures
	}
	return b.opt.FirstFailures
}

// of returns the key of a host:port, and its shard.
func (b *breaker) of(host string) (key string, s *breakerShard) {
	key = host
	if b.opt.Key != nil {
		key = b.opt.Key(host)
	}
	return key, b.shard(key)
}

func (b *breaker) shard(key string) *breakerShard {
	return &b.shards[maphash.String(b.seed, key)%breakerShards]
}

// allow says whether a request to the host may be tried. The permit is nil,
// except for a probe.
func (b *breaker) allow(host string, now time.Time) (*permit, *hostwise.HostDownError) {
	if b.opt.Disable {
		return nil, nil
	}
	key, s := b.of(host)
	s.mu.RLock()
	h := s.hosts[key]
	down := b.refuse(h, host, now)
	plain := h == nil || !h.open && h.pause == nil
	s.mu.RUnlock()
	if down != nil || plain {
		return nil, down
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if h = s.hosts[key]; h == nil {
		return nil, nil
	}
	if down := b.refuse(h, host, now); down != nil {
		return nil, down
	}
	defer b.changed(s, h, now)
	if !h.open { // a pause is over
		h.pause = nil
		return nil, nil
	}
	h.endProbe(errNoVerdict) // one that has expired
	done, err := b.countOf(h).Allow()
	if err != nil { // the clock has not ticked since the state was put back, and the cool-down was over before
		done = func(error) {}
	}
	h.probe = &permit{host: h, done: done, since: now}
	return h.probe, nil
}

// refuses returns the error for requests that were let through and still wait
// for a host, once it is down or paused.
func (b *breaker) refuses(host string, now time.Time) *hostwise.HostDownError {
	if b.opt.Disable {
		return nil
	}
	key, s := b.of(host)
	_, down := b.look(key, s, host, now)
	return down
}

// look is refuses for a host of which of says key and s; and if it is not
// refused, the number of its failures in a row.
func (b *breaker) look(key string, s *breakerShard, host string, now time.Time) (failures int, down *hostwise.HostDownError) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.hosts[key]
	if down := b.refuse(h, host, now); down != nil || h == nil {
		return 0, down
	}
	return h.failures, nil
}

// failures is the number of a host's failures in a row; key and s are what of
// says of it.
func (b *breaker) failures(key string, s *breakerShard) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.hosts[key]; h != nil {
		return h.failures
	}
	return 0
}

// refuse returns the error of a request that is refused, and counts it; nil
// if it is not. A lock of the shard's is held.
func (b *breaker) refuse(h *hostBreaker, host string, now time.Time) *hostwise.HostDownError {
	if h == nil {
		return nil
	}
	down := h.refusal(host, now)
	if down != nil {
		b.refused.Add(1)
		if down.Kind == hostwise.HostDown {
			b.saved.Add(int64(h.took))
		}
	}
	return down
}

// failure charges the host, for which a request waited that long. It reports
// whether that tripped the breaker, or kept it open. run is the number of the
// run of failures that this one is part of, for undo; 0: of none.
func (b *breaker) failure(host string, now time.Time, err error, took time.Duration, answered bool, p *permit, run uint64) (tripped bool) {
	key, s := b.of(host)
	return b.charge(key, s, now, err, took, answered, p, run)
}

// charge is failure for a host of which of says key and s: it calls no function
// of the user's.
func (b *breaker) charge(key string, s *breakerShard, now time.Time, err error, took time.Duration, answered bool, p *permit, run uint64) (tripped bool) {
	if b.opt.Disable {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := b.entry(s, key, answered, now)
	defer b.changed(s, h, now)
	h.remember(run)
	switch {
	case h.open && (p == nil || h.probe != p): // begun before it tripped, or a probe that took too long
		h.failures++
		return false
	case h.open:
		h.failures++
		h.endProbe(err)
		b.trip(h, now, min(2*h.cooldown, b.opt.MaxCooldown))
	case !b.count(h, err):
		return false
	default:
		h.open, h.since = true, now
		b.trip(h, now, b.opt.Cooldown)
	}
	b.tripped.Add(1)
	h.last, h.took = kept(err), took
	return true
}

// trip begins a cool-down, up to a tenth longer or shorter than said, so that
// hosts that went down together are not probed together. Until the probe it
// takes no gobreaker.
func (b *breaker) trip(h *hostBreaker, now time.Time, cooldown time.Duration) {
	h.counter, h.cooldown = nil, cooldown
	jitter := time.Duration((rand.Float64() - 0.5) * 0.2 * float64(cooldown))
	h.retryAt = now.Add(min(cooldown+jitter, b.opt.MaxCooldown))
}

// success forgets a host's failures: it has answered.
func (b *breaker) success(host string, p *permit) {
	if b.opt.Disable {
		return
	}
	key, s := b.of(host)
	s.mu.RLock()
	h := s.hosts[key]
	s.mu.RUnlock()
	if h == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h = s.hosts[key]; h == nil {
		return
	}
	h.answer(p, hostState{answered: true, pause: h.pause})
	b.changed(s, h, time.Now())
}

// release gives back the permit of a request that has found out nothing. A
// nil permit needs no release.
func (b *breaker) release(p *permit) {
	if p == nil {
		return
	}
	s := b.shard(p.host.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.host.probe == p {
		p.host.endProbe(errNoVerdict)
		b.changed(s, p.host, time.Now())
	}
}

// undo puts the hosts that the run of failures has charged back to what they
// were before it. It returns their number. The hook is told later, by the next
// request.
func (b *breaker) undo(run uint64) (hosts int) {
	now := time.Now()
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for _, h := range s.hosts {
			if run == 0 || h.run != run {
				continue
			}
			before := hostState{answered: h.answered}
			if h.before != nil {
				before = *h.before
			}
			before.pause = h.pause // what the host itself has asked for
			h.endProbe(errNoVerdict)
			h.put(before)
			b.changed(s, h, now)
			hosts++
		}
		s.mu.Unlock()
	}
	return hosts
}

// entry returns the host's entry, making it if need be. The shard's lock is
// held, as for all that follows.
func (b *breaker) entry(s *breakerShard, key string, answered bool, now time.Time) *hostBreaker {
	if h := s.hosts[key]; h != nil {
		return h
	}
	if len(s.hosts) >= maxBreakers/breakerShards {
		b.evict(s, now)
	}
	h := &hostBreaker{key: key, hostState: hostState{answered: answered}, told: StateUp}
	h.place = s.order[0].PushBack(h)
	s.hosts[key] = h
	return h
}

// evict makes room for another host.
func (b *breaker) evict(s *breakerShard, now time.Time) {
	first := s.order[0].Front()
	if first == nil {
		first = s.order[1].Front()
	}
	h := first.Value.(*hostBreaker)
	h.endProbe(errNoVerdict)
	h.put(hostState{})
	b.changed(s, h, now)
}

// changed follows up on a change of h: its place in the shard, and the user's
// hook.
func (b *breaker) changed(s *breakerShard, h *hostBreaker, now time.Time) {
	if s.hosts[h.key] != h {
		return // a permit has outlived it
	}
	to := h.state(now)
	was, is := &s.order[h.told.worth()], &s.order[to.worth()]
	switch {
	case to == StateUp && h.failures == 0:
		was.Remove(h.place)
		delete(s.hosts, h.key)
	case was == is:
		is.MoveToBack(h.place)
	default:
		was.Remove(h.place)
		h.place = is.PushBack(h)
	}
	if to != h.told {
		b.changes.add(HostChange{Host: h.key, From: h.told, To: to, At: now, RetryAt: h.opens(now), Failures: h.failures, Last: h.last})
		h.told = to
	}
}
