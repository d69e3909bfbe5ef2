package dnscache

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Hooks are functions that a Resolver calls as it works; nil ones are not
// called. They are called one after the other, in the order of what they tell,
// on a goroutine of their own: one that takes long delays the others only, and
// when 4,096 calls wait, further ones are dropped (Stats.HooksDropped). They
// may call any method; see the package's section on functions of the caller's.
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

// hooksWaiting is the number of calls of hooks that wait for their turn; each
// takes about 200 bytes.
const hooksWaiting = 4096

// hooksAtClose is how long Close waits for the functions of the caller's that
// are only told things. It may be one of them that calls Close.
const hooksAtClose = time.Second

// queryDone calls the hook for q, the first time.
func (r *Resolver) queryDone(q *query, rcode int, err error) {
	h := r.opt.Hooks.QueryDone
	if h == nil || q.done.Swap(true) {
		return
	}
	done := QueryDone{Host: q.flight.name, Network: q.flight.family.network(), Server: q.server.name, Elapsed: time.Since(q.sent), Rcode: rcode, Err: err}
	r.hooks.Add(func() { h(done) })
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
	r.hooks.Add(func() { h(done) })
}
