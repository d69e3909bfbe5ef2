package dnscache

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Hooks are functions that a Resolver calls as it works; nil ones are not
// called. They are called from the goroutines that do the work, several at a
// time, with no lock held, and must not block, nor call Close.
type Hooks struct {
	// QueryDone is called once for each message to a nameserver, when its
	// reply has come, or it has failed, or nobody waits for it any more. One
	// that probes a silent server may be given up some time after its lookup.
	QueryDone func(QueryDone)

	// LookupDone is called once for each name and family that nameservers
	// were asked for, when the outcome is there, or the last caller has left.
	LookupDone func(LookupDone)
}

// QueryDone says what became of a message to a nameserver.
type QueryDone struct {
	Host    string
	Network string // "ip6" or "ip4"
	Server  string // as in ServerStats
	Elapsed time.Duration
	Rcode   int   // of the reply
	Err     error // why there is no reply that counts; ErrNoReply if none came
}

// LookupDone says what became of a question.
type LookupDone struct {
	Host    string
	Network string // "ip6" or "ip4"
	Elapsed time.Duration
	Queries int           // messages sent
	Callers int           // that waited for it at the end
	Refresh bool          // asked ahead of the expiry, or while a stale answer was used
	Stale   bool          // the addresses are out of date
	Addrs   []netip.Addr  // found
	TTL     time.Duration // for which the outcome is kept
	Err     error         // a *hostwise.DNSError, or ErrNoCaller
}

// Errors of hooks.
var (
	ErrNoReply  = errors.New("no reply")
	ErrNoCaller = errors.New("the last caller has left")
)

// queryDone calls the hook for q, the first time.
func (r *Resolver) queryDone(q *query, rcode int, err error) {
	h := r.opt.Hooks.QueryDone
	if h == nil || q.done.Swap(true) {
		return
	}
	h(QueryDone{Host: q.flight.name, Network: q.flight.family.network(), Server: q.server.name, Elapsed: time.Since(q.sent), Rcode: rcode, Err: err})
}

// flightDone calls the hooks for a flight that is over, and for the queries
// that were still on their way; rec is nil if nobody waited for the outcome.
func (r *Resolver) flightDone(f *flight, callers int, rec *record) {
	if r.opt.Hooks.QueryDone != nil {
		for _, q := range f.queries { // which nobody changes any more
			r.queryDone(q, 0, ErrNoReply)
		}
	}
	h := r.opt.Hooks.LookupDone
	if h == nil {
		return
	}
	done := LookupDone{Host: f.name, Network: f.family.network(), Elapsed: time.Since(f.start), Queries: f.sends, Callers: callers, Refresh: f.ahead, Err: ErrNoCaller}
	if rec != nil {
		done.Stale, done.Addrs, done.TTL, done.Err = rec.state == stale, slices.Clone(rec.addrs), rec.ttl, nil
		if rec.err != nil {
			done.Err = r.callerError(rec, true)
		}
		if done.Stale {
			done.TTL = staleFor
		}
	}
	h(done)
}
