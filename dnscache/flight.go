package dnscache

import (
	"container/heap"
	"net"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
)

// lateAnswersFor is how long a flight that nobody waits for any more may still
// fill the cache.
const lateAnswersFor = time.Second

// flightKey says what a flight asks for.
type flightKey struct {
	name   string
	family family
}

// A waiter is told a flight's outcome, once, from any goroutine. It must
// not block.
type waiter interface {
	answered(f family, rec *record)
}

// A flight is one question on its way: one name, one family, however many
// callers. Resolver.mu protects it.
type flight struct {
	flightKey
	*config
	waiters  []waiter
	over     bool
	ahead    bool // a refresh ahead of the expiry: needs no waiter
	start    time.Time
	deadline time.Time

	first   int       // the server to begin with
	sends   int       // messages sent
	asked   []uint8   // of these, by server
	queries []*query  // of these, those without a reply
	tcp     bool      // ask over TCP from now on
	failed  *result   // the last reply that was no answer to the question, if any
	from    string    // and who gave it
	sendAt  time.Time // of the next repetition
	stale   *record   // what will do when the callers' patience is over
	next    time.Time // of tick
	index   int       // in Resolver.schedule

	room struct { // for what most flights need, in one block of memory
		query   query
		queries [1]*query
		waiters [1]waiter
		asked   [4]uint8
	}
}

// join adds w to the flight for k. Without one it starts it, and the caller
// is to launch the query it returns; or, when the answer has arrived in the
// cache meanwhile, it returns that. r.mu is held.
func (r *Resolver) join(k flightKey, w waiter, now time.Time) (rec *record, first *query) {
	if r.closed {
		return closedRecord(k.name), nil
	}
	if f := r.flights[k]; f != nil {
		f.waiters = append(f.waiters, w)
		if full := f.start.Add(f.lookupTime()); full.After(f.deadline) { // it was about to end for want of callers
			f.deadline = full
		}
		if f.ahead && f.stale == nil { // the answer has run out since the refresh began
			if f.stale = r.staleAnswer(k, r.cache.record(k.name, k.family), r.clock.of(now)); f.stale != nil {
				r.reschedule(f, minTime(f.next, f.start.Add(patience)))
			}
		}
		r.counters.coalesced.Add(1)
		return nil, nil
	}
	old := r.cache.record(k.name, k.family)
	if old.valid(r.clock.of(now)) && !r.outlived(old) {
		return old, nil
	}
	return nil, r.takeOff(k, w, r.staleAnswer(k, old, r.clock.of(now)), now)
}

// refresh asks for k again although it is in the cache.
func (r *Resolver) refresh(k flightKey) {
	r.mu.Lock()
	if r.closed || r.flights[k] != nil {
		r.mu.Unlock()
		return
	}
	first := r.takeOff(k, nil, nil, time.Now())
	r.mu.Unlock()
	r.counters.refreshes.Add(1)
	r.launch(first)
}

// takeOff starts a flight; without a waiter, one that needs none. r.mu is
// held, and the caller is to launch the query.
func (r *Resolver) takeOff(k flightKey, w waiter, stale *record, now time.Time) *query {
	c := r.conf.Load()
	f := &flight{flightKey: k, config: c, ahead: w == nil, start: now, deadline: now.Add(c.lookupTime()), first: c.firstServer(), stale: stale, index: -1}
	f.queries, f.waiters = f.room.queries[:0], f.room.waiters[:0]
	f.asked = append(f.room.asked[:0], make([]uint8, len(c.servers))...)
	if w != nil {
		f.waiters = append(f.waiters, w)
	}
	r.flights[k] = f
	return r.plan(f, now)
}

// launch sends the first query of a flight.
func (r *Resolver) launch(q *query) {
	r.counters.misses.Add(1)
	r.send(q)
	r.probe(q)
}

func closedRecord(name string) *record {
	return &record{state: failed, err: &hostwise.DNSError{Host: name, Kind: hostwise.Canceled, Err: net.ErrClosed}}
}

// leave takes w off the flight for k. A flight without waiters goes on for
// linger, then it ends.
func (r *Resolver) leave(k flightKey, w waiter, linger time.Duration) {
	r.mu.Lock()
	f := r.flights[k]
	if f == nil {
		r.mu.Unlock()
		return
	}
	f.waiters = slices.DeleteFunc(f.waiters, func(x waiter) bool { return x == w })
	if len(f.waiters) > 0 || f.ahead {
		r.mu.Unlock()
		return
	}
	if linger > 0 {
		f.deadline = minTime(f.deadline, time.Now().Add(linger))
		r.reschedule(f, minTime(f.next, f.deadline))
		r.mu.Unlock()
		return
	}
	r.end(f)
	r.mu.Unlock()
	r.flightDone(f, 0, nil)
	r.sendAllWaiting()
}

// isCutShort reports whether a flight that ends now does so for want of
// callers: it has not had the time to fail.
func (f *flight) isCutShort(now time.Time) bool {
	return len(f.waiters) == 0 && !f.ahead && now.Before(f.start.Add(f.lookupTime()))
}

// end takes the flight off the books. r.mu is held.
func (r *Resolver) end(f *flight) {
	f.over = true
	for _, q := range f.queries {
		q.abandon()
	}
	delete(r.flights, f.flightKey)
	if f.index >= 0 {
		heap.Remove(&r.schedule, f.index)
	}
}

// finish ends the flight with an outcome: it is cached, then told to all.
func (r *Resolver) finish(f *flight, rec *record) {
	r.mu.Lock()
	if f.over {
		r.mu.Unlock()
		return
	}
	if rec.isOfThePath() {
		f.silence()
	}
	rec = r.remember(f.flightKey, rec)
	r.end(f)
	waiters := f.waiters
	f.waiters = nil
	r.mu.Unlock()
	for _, w := range waiters {
		w.answered(f.family, rec)
	}
	r.flightDone(f, len(waiters), rec)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
