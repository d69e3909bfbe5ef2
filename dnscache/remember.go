package dnscache

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

const (
	firstFailureTTL = time.Second // RFC 9520, section 3.2
	lastFailureTTL  = 5 * time.Minute
	failureEchoes   = 30 * time.Second // after its end, for which the next failure counts as the same one
	staleFor        = 30 * time.Second // a stale answer is used without asking again: RFC 8767, section 5
)

// remember puts an outcome into the cache and returns what callers get. A
// failure does not replace an answer: one that holds is left alone, and one
// that does not hold any longer is used again for a while. A failure is
// remembered for a second, and twice as long each time it happens again soon
// (RFC 9520, section 3.2), unless the fault is our own.
func (r *Resolver) remember(k flightKey, rec *record) *record {
	if rec.state != failed {
		return r.store(k, rec)
	}
	now := r.clock.exact()
	old := r.cache.record(k.name, k.family)
	_, ours := failure.Local(rec.err.Err)
	ours = ours || errors.Is(rec.err.Err, net.ErrClosed)
	switch {
	case old.valid(now) && old.state != failed:
		return old
	case r.staleAnswer(k, old, now) != nil:
		return r.useStale(k, old, now)
	case ours:
		return rec
	}
	rec.ttl = firstFailureTTL
	if old != nil && old.state == failed && now < old.expires+int64(failureEchoes) && !r.outlived(old) {
		rec.ttl = min(2*old.ttl, lastFailureTTL)
	}
	rec.expires = now + int64(rec.ttl)
	return r.store(k, rec)
}

// isOfThePath reports whether rec says only that no nameserver was heard.
func (r *record) isOfThePath() bool {
	return r != nil && r.state == failed && (r.err.Kind == hostwise.DNSTimeout || r.err.Kind == hostwise.DNSServerUnreachable)
}

// outlived reports whether a nameserver that was silent to everybody has been
// heard again since rec, the failure of a name for want of a reply, was made:
// then the fault was the path's, and over.
func (r *Resolver) outlived(rec *record) bool {
	return rec.isOfThePath() && slices.ContainsFunc(r.conf.Load().servers, func(s *server) bool {
		return r.clock.of(s.cameBack()) > rec.expires-int64(rec.ttl)
	})
}

// silence records that nobody has answered f's question.
func (f *flight) silence() {
	for i, s := range f.servers {
		if f.asked[i] > 0 {
			s.muteSince(f.start)
		}
	}
}

// store puts rec into the cache and returns it. A name that the hosts file has
// got since it was asked for is not kept: its static record is what counts.
// A file that is read at this moment sees to it itself, as it forgets its
// names after they are there.
func (r *Resolver) store(k flightKey, rec *record) *record {
	r.cache.put(k.name, k.family, rec)
	static, ok := r.hosts.lookup(k.name)
	if !ok {
		return rec
	}
	r.cache.forget(k.name)
	return staticRecords(k.name, static)[k.family]
}

// useStale puts an answer that is out of date back into the cache for a
// while, which ends when it is too old.
func (r *Resolver) useStale(k flightKey, old *record, now int64) *record {
	age := old.staleAge(now)
	again := &record{state: stale, addrs: old.addrs, err: old.err, ttl: age, expires: now + int64(min(staleFor, r.opt.MaxStale-age+1))}
	if old.err != nil {
		again.state = staleNegative
	}
	return r.store(k, again)
}

// staleAge is for how long an answer has been out of date.
func (r *record) staleAge(now int64) time.Duration {
	age := time.Duration(now - r.expires)
	if r.state.isStale() {
		age += r.ttl + staleFor
	}
	return age
}

// usableStale reports whether rec is not too old to be used again.
func (r *Resolver) usableStale(rec *record, now int64) bool {
	return rec != nil && r.opt.MaxStale > 0 && rec.staleAge(now) <= r.opt.MaxStale
}

// staleAnswer returns old, what the cache has for k, if it will do although it
// is out of date: addresses or, of a name that has them in the other family,
// that there are none. If not, it returns nil.
func (r *Resolver) staleAnswer(k flightKey, old *record, now int64) *record {
	switch {
	case !r.usableStale(old, now):
	case old.state.hasAddrs():
		return old
	case old.state != failed && old.err.Kind == hostwise.DNSNoData:
		if other := r.cache.record(k.name, 1-k.family); r.usableStale(other, now) && other.state.hasAddrs() {
			return old
		}
	}
	return nil
}
