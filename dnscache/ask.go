package dnscache

import (
	"slices"
	"time"
)

const (
	retransmitAfter = 400 * time.Millisecond  // a lost packet costs this
	retransmitBurst = 20                      // retransmissions to begin with
	retransmitShare = 10                      // then one in ten queries
	retransmitMost  = 1000                    // saved up
	maxUDPSends     = 3                       // of a question to one server, then it is asked over TCP: RFC 9520, section 3.1
	patience        = 1800 * time.Millisecond // then a stale answer will do: RFC 8767, section 5
)

// plan chooses the next server for f, writes the query down and schedules
// what happens if there is no answer. r.mu is held.
func (r *Resolver) plan(f *flight, now time.Time) *query {
	i := f.nextServer()
	q := &f.room.query
	if f.sends > 0 {
		q = &query{}
	}
	r.account(f.sends > 0)
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
		if err := r.sendUDP(q, q.sent, false); err != nil {
			r.sendFailed(q, err)
		}
	}
}

// form is what the message of q is to be like.
func (r *Resolver) form(q *query) queryForm {
	s := q.server
	form := queryForm{edns: !q.plain && r.clock.of(q.sent) >= s.noEDNS.Load(), padded: s.protocol >= overTLS}
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
	again := &query{flight: f, server: q.server, tcp: q.tcp || f.tcp, plain: q.plain, sent: time.Now()}
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
		if f.over {
			r.mu.Unlock()
			return
		}
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
	if queued && last.IsZero() { // a lookup's time begins when its question is sent
		f.deadline = now.Add(f.lookupTime())
	}
	secondTry := f.deadline.Add(f.timeout - f.lookupTime())
	switch {
	case !now.Before(f.deadline) && f.isCutShort(now):
		r.end(f)
		r.mu.Unlock()
		r.flightDone(f, 0, nil)
		r.sendAllWaiting()
		return
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
	case !failover && now.Before(secondTry) && !r.mayRetransmit():
		r.waitFor(f, secondTry)
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
// that a slow or overloaded server is not asked more because it is slow. r.mu
// is held.
func (r *Resolver) mayRetransmit() bool { return r.allowance >= retransmitShare }

// account pays for a message out of the allowance of retransmissions, to
// which each message adds its share. r.mu is held.
func (r *Resolver) account(repeated bool) {
	if repeated {
		r.allowance -= retransmitShare
	}
	r.allowance = min(max(r.allowance, -retransmitShare)+1, retransmitMost*retransmitShare)
}
