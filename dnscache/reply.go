package dnscache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/miekg/dns"
)

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
	if q.plain && (res.rcode == dns.RcodeSuccess || res.rcode == dns.RcodeNameError) { // EDNS was the trouble
		q.server.noEDNS.Store(r.clock.of(now.Add(withoutEDNS)))
	}
	switch {
	case res.kind == "", res.ttl > 0, res.kind == hostwise.DNSCNAMELoop: // the server's word on the name
		r.finish(f, r.outcome(q, res, now))
	case res.kind == hostwise.DNSFormErr && hasOPT(q.message): // RFC 6891, section 7
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
// reached. A context that ended was our own, and none of the caller's concern.
func (r *Resolver) sendFailed(q *query, err error) {
	err = r.routed(err, q.server)
	cause := err
	kind, local := failure.Local(err)
	if !local {
		kind = hostwise.DNSServerUnreachable
		if isTimeout(err) {
			kind = hostwise.DNSTimeout
		}
		if errors.Is(err, context.DeadlineExceeded) {
			cause = nil
		}
		if len(q.flight.servers) > 1 {
			q.server.silent(time.Now(), q.sent)
		}
	}
	r.queryDone(q, 0, err)
	r.replyFailed(q, result{kind: kind, cause: cause}, false)
}

// routed is err, the failure to reach s, marked as this machine's own if it has
// no way there.
func (r *Resolver) routed(err error, s *server) error { return failure.Route(err, s.addr, r.ownDial) }

// replyFailed records that q's server failed the question, and asks the next
// one at once (or the same one without EDNS, if plain is set). When all have
// failed, the flight has.
func (r *Resolver) replyFailed(q *query, res result, plain bool) {
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
	case plain:
		again = &query{flight: f, server: q.server, tcp: q.tcp || f.tcp, plain: true, sent: now}
		f.queries = append(f.queries, again)
	case r.mayAskAgain(f):
		again = r.plan(f, now)
		again.plain = q.plain && again.server == q.server
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
	if f.failed != nil && f.failed.kind != hostwise.DNSTimeout { // somebody said something
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
	case res.kind == hostwise.DNSServerUnreachable, res.kind == hostwise.DNSTimeout:
		r.mu.Lock()
		e.Server, e.Asked = "", r.askedServers(f)
		r.mu.Unlock()
	}
	return &record{state: failed, err: e}
}
