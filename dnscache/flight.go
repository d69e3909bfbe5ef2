package dnscache

import (
	"container/heap"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

const (
	retransmitAfter = 400 * time.Millisecond // a lost packet costs this
	retransmitBurst = 20                     // retransmissions free of
	retransmitShare = 10                     // the budget: one in ten queries
	maxUDPSends     = 3                      // of a question to one server, then it is asked over TCP: RFC 9520, section 3.1
	lateAnswersFor  = time.Second            // a flight nobody waits for any more may still fill the cache
	firstFailureTTL = time.Second            // RFC 9520, section 3.2
	lastFailureTTL  = 5 * time.Minute
	patience        = 1800 * time.Millisecond // then a stale answer will do: RFC 8767, section 5
	staleFor        = 30 * time.Second        // a stale answer is used without asking again: RFC 8767, section 5
)

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
		f.deadline = f.start.Add(f.lookupTime())
		if f.ahead && f.stale == nil { // the answer has run out since the refresh began
			if f.stale = r.staleAnswer(k, r.cache.record(k.name, k.family), r.clock.of(now)); f.stale != nil {
				r.reschedule(f, minTime(f.next, f.start.Add(patience)))
			}
		}
		r.counters.coalesced.Add(1)
		return nil, nil
	}
	old := r.cache.record(k.name, k.family)
	if old.valid(r.clock.of(now)) {
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

// remember puts an outcome into the cache and returns what callers get. A
// failure does not replace an answer: one that holds is left alone, and one
// that does not hold any longer is used again for a while. A failure is
// remembered for a second, and twice as long each time it happens again
// (RFC 9520, section 3.2), unless the fault is our own.
func (r *Resolver) remember(k flightKey, rec *record) *record {
	if rec.state != failed {
		r.cache.put(k.name, k.family, rec)
		return rec
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
	if old != nil && old.state == failed {
		rec.ttl = min(2*old.ttl, lastFailureTTL)
	}
	rec.expires = now + int64(rec.ttl)
	r.cache.put(k.name, k.family, rec)
	return rec
}

// useStale puts an answer that is out of date back into the cache for a
// while, which ends when it is too old.
func (r *Resolver) useStale(k flightKey, old *record, now int64) *record {
	age := old.staleAge(now)
	again := &record{state: stale, addrs: old.addrs, err: old.err, ttl: age, expires: now + int64(min(staleFor, r.opt.MaxStale-age+1))}
	if old.err != nil {
		again.state = staleNegative
	}
	r.cache.put(k.name, k.family, again)
	return again
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

// plan chooses the next server for f, writes the query down and schedules
// what happens if there is no answer. r.mu is held.
func (r *Resolver) plan(f *flight, now time.Time) *query {
	i := f.nextServer()
	q := &f.room.query
	if f.sends > 0 {
		q = &query{}
	}
	f.sends++
	f.asked[i]++
	q.flight, q.server, q.tcp, q.sent = f, f.servers[i], f.tcp || f.asked[i] > maxUDPSends, now
	f.queries = append(f.queries, q)
	// Each server is asked once at the first pace; then the pace doubles.
	gap := f.pace() << (f.sends / max(len(f.servers), 2))
	if f.sends >= f.maxSends() {
		gap = f.lookupTime()
	}
	r.waitFor(f, now.Add(gap))
	return q
}

// pace is the time before the first repetition.
func (f *flight) pace() time.Duration { return min(retransmitAfter, f.timeout/5) }

// waitFor sets when f's question is sent again; a tick comes earlier if a
// caller's patience or the whole lookup ends earlier. r.mu is held.
func (r *Resolver) waitFor(f *flight, sendAt time.Time) {
	f.sendAt = sendAt
	next := minTime(sendAt, f.deadline)
	if f.stale != nil {
		next = minTime(next, f.start.Add(patience))
	}
	r.reschedule(f, next)
}

// nextServer prefers the server that was asked least, one that is down
// being asked after the others' first repetition.
func (f *flight) nextServer() (best int) {
	least := int(^uint(0) >> 1)
	for i := range f.servers {
		i = (f.first + i) % len(f.servers)
		score := 2 * int(f.asked[i])
		if len(f.servers) > 1 && f.servers[i].isDown() {
			score += 3
		}
		if score < least {
			best, least = i, score
		}
	}
	return best
}

// onItsWay is until when it is pointless to ask the next server: it has the
// question already, over a connection that loses nothing.
func (f *flight) onItsWay() (until time.Time) {
	s := f.servers[f.nextServer()]
	for _, q := range f.queries {
		if q.server == s && (q.tcp || s.protocol != overUDP) {
			until = q.sent.Add(f.timeout)
		}
	}
	return until
}

// probe sends a copy of q to every server that is down and due for another
// chance. Nobody waits for its answer.
func (r *Resolver) probe(q *query) {
	for _, s := range q.flight.servers {
		if now := q.flight.start; s != q.server && s.takeProbe(now) {
			r.send(&query{flight: q.flight, server: s, sent: now})
		}
	}
}

// send puts q on its way.
func (r *Resolver) send(q *query) {
	r.counters.queries.Add(1)
	q.message = appendQuery(q.room[:0], q.flight.name, q.flight.family, r.form(q))
	switch {
	case q.server.protocol == overHTTPS:
		r.sendHTTPS(q)
	case q.server.protocol != overUDP || q.tcp:
		r.sendStream(q)
	default:
		if err := r.sendUDP(q, q.sent); err != nil {
			r.sendFailed(q, err)
		}
	}
}

// form is what the message of q is to be like.
func (r *Resolver) form(q *query) queryForm {
	s := q.server
	form := queryForm{edns: !s.noEDNS.Load(), padded: s.protocol >= overTLS}
	if s.protocol != overUDP || q.tcp {
		return form
	}
	form.mixedCase = r.opt.RandomizeCase
	if r.opt.Cookies {
		s.mu.Lock()
		form.cookie = s.cookies.cookie()
		s.mu.Unlock()
	}
	return form
}

// replace puts a copy of q in its place, to be sent; nil if the flight is
// over.
func (r *Resolver) replace(q *query) *query {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := q.flight
	if f.over {
		return nil
	}
	again := &query{flight: f, server: q.server, tcp: q.tcp || f.tcp, sent: time.Now()}
	if i := slices.Index(f.queries, q); i >= 0 {
		f.queries[i] = again
	}
	return again
}

// tick is called when a flight's time has come: callers get a stale answer,
// or the question is sent again, or given up.
func (r *Resolver) tick(f *flight, now time.Time) {
	r.mu.Lock()
	if f.over {
		r.mu.Unlock()
		return
	}
	if f.stale != nil && !now.Before(f.start.Add(patience)) {
		r.losePatience(f)
	}
	failover, queued := false, false
	var last time.Time // that a query was sent
	for _, q := range f.queries {
		failover = failover || q.server.isDown()
		if q.queued.Load() {
			queued = true
			continue
		}
		if q.sent.After(last) {
			last = q.sent
		}
		if !now.Before(q.sent.Add(f.pace())) {
			q.server.unanswered(q, now, len(f.servers) > 1)
		}
		failover = failover || q.server.isDown()
	}
	switch {
	case !now.Before(f.deadline):
		r.mu.Unlock()
		r.finish(f, r.timedOut(f))
		return
	case now.Before(f.sendAt):
		r.waitFor(f, f.sendAt)
	case f.sends >= f.maxSends():
		r.waitFor(f, f.deadline)
	case now.Before(f.onItsWay()):
		r.waitFor(f, f.onItsWay())
	case queued && !failover: // to ask again makes no room
		r.waitFor(f, now.Add(f.pace()))
	case now.Before(last.Add(f.pace())): // it had to wait
		r.waitFor(f, last.Add(f.pace()))
	case !failover && now.Before(f.start.Add(f.timeout)) && !r.mayRetransmit():
		r.waitFor(f, f.start.Add(f.timeout))
	default:
		q := r.plan(f, now)
		r.mu.Unlock()
		r.counters.retransmits.Add(1)
		r.send(q)
		return
	}
	r.mu.Unlock()
}

// losePatience gives f's callers the stale answer; the flight goes on without
// them. r.mu is held, and released meanwhile.
func (r *Resolver) losePatience(f *flight) {
	waiters, rec := f.waiters, r.useStale(f.flightKey, f.stale, r.clock.exact())
	f.waiters, f.stale, f.ahead = nil, nil, true
	r.mu.Unlock()
	for _, w := range waiters {
		w.answered(f.family, rec)
	}
	r.mu.Lock()
}

// mayRetransmit keeps early retransmissions to a share of the queries, so
// that a slow or overloaded server is not asked more because it is slow.
func (r *Resolver) mayRetransmit() bool {
	return r.counters.retransmits.Load() < retransmitBurst+r.counters.queries.Load()/retransmitShare
}

// accept interprets a reply that matches q. It returns false when the reply
// is none.
func (r *Resolver) accept(q *query, reply []byte, now time.Time) (result, bool) {
	f := q.flight
	res, ok := parseReply(reply, f.name, f.family)
	if !ok {
		return res, false
	}
	q.answered(now)
	r.queryDone(q, res.rcode, nil)
	switch {
	case res.kind == "", res.ttl > 0, res.kind == hostwise.DNSCNAMELoop: // the server's word on the name
		r.finish(f, r.outcome(q, res, now))
	case res.kind == hostwise.DNSFormErr && hasOPT(q.message): // RFC 6891, section 7
		q.server.noEDNS.Store(true)
		r.replyFailed(q, res, true)
	default:
		r.replyFailed(q, res, false)
	}
	return res, true
}

// note remembers what went wrong with q, to be reported if nothing better
// comes.
func (r *Resolver) note(q *query, res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q.flight.failed, q.flight.from = &res, q.server.name
}

// sendFailed records that q could not be sent, or that its server cannot be
// reached.
func (r *Resolver) sendFailed(q *query, err error) {
	kind, local := failure.Local(err)
	if !local {
		kind = hostwise.DNSServerUnreachable
		if len(q.flight.servers) > 1 {
			q.server.silent(time.Now(), q.sent)
		}
	}
	r.queryDone(q, 0, err)
	r.replyFailed(q, result{kind: kind, cause: err}, false)
}

// replyFailed records that q's server failed the question, and asks the next
// one at once (or the same one, if retry is set). When all have failed, the
// flight has.
func (r *Resolver) replyFailed(q *query, res result, retry bool) {
	now := time.Now()
	f := q.flight
	r.mu.Lock()
	if f.over {
		r.mu.Unlock()
		return
	}
	f.queries = slices.DeleteFunc(f.queries, func(x *query) bool { return x == q })
	f.failed, f.from = &res, q.server.name
	var again *query
	switch {
	case retry:
		again = &query{flight: f, server: q.server, tcp: q.tcp || f.tcp, sent: now}
		f.queries = append(f.queries, again)
	case r.mayAskAgain(f):
		again = r.plan(f, now)
	}
	waiting := len(f.queries) > 0
	r.mu.Unlock()
	switch {
	case again != nil:
		r.send(again)
	case !waiting:
		r.finish(f, r.outcome(q, res, now))
	}
}

// mayAskAgain reports whether a failure leads to another question at once:
// after SERVFAIL and the like each server is asked once, and a lone one
// twice.
func (r *Resolver) mayAskAgain(f *flight) bool {
	return f.sends < max(len(f.servers), 2) && len(f.queries) == 0
}

// timedOut is the outcome of a flight without an answer.
func (r *Resolver) timedOut(f *flight) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &hostwise.DNSError{Host: f.name, Kind: hostwise.DNSTimeout, Asked: r.askedServers(f)}
	if f.failed != nil { // somebody said something
		e.Kind, e.Server, e.Rcode, e.EDE, e.Err = f.failed.kind, f.from, f.failed.rcode, f.failed.ede, f.failed.cause
	}
	return &record{state: failed, err: e}
}

// askedServers names the servers that f's question was sent to. r.mu is
// held.
func (r *Resolver) askedServers(f *flight) (names []string) {
	for i, s := range f.servers {
		if f.asked[i] > 0 {
			names = append(names, s.name)
		}
	}
	return names
}

// outcome turns a reply to q into a record.
func (r *Resolver) outcome(q *query, res result, at time.Time) *record {
	f, now := q.flight, r.clock.of(at)
	if res.kind == "" {
		ttl := min(max(res.ttl-q.age, r.opt.MinTTL), r.opt.MaxTTL)
		return &record{state: positive, addrs: res.addrs, ttl: ttl, expires: now + int64(ttl)}
	}
	e := &hostwise.DNSError{Host: f.name, Kind: res.kind, Server: q.server.name, Rcode: res.rcode, EDE: res.ede, Err: res.cause}
	switch {
	case res.ttl > 0: // the server says for how long
		ttl := min(max(res.ttl-q.age, minNegative), r.opt.MaxTTL)
		return &record{state: negative, err: e, aliased: res.aliased, ttl: ttl, expires: now + int64(ttl)}
	case res.kind == hostwise.DNSServerUnreachable:
		r.mu.Lock()
		e.Server, e.Asked = "", r.askedServers(f)
		r.mu.Unlock()
	}
	return &record{state: failed, err: e}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
