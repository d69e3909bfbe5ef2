package transport

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// A DialReport says what one dial did: RFC 8305, step by step.
type DialReport struct {
	Host        string // host:port of the request
	Proxy       string // host:port of the proxy dialled, or ""
	Start       time.Time
	Elapsed     time.Duration
	Prefer      string // the family preferred, "ip6" or "ip4"
	Canary      bool   // tried first a family that is down
	Resolutions []Resolution
	Attempts    []DialAttempt
	Winner      int   // index in Attempts; -1 without one
	Err         error // why there is none
}

// A Resolution is the answer for one family.
type Resolution struct {
	Network string        // "ip6" or "ip4"
	At      time.Duration // since Start
	Addrs   []netip.Addr
	Err     error
}

// A DialAttempt is one address tried, and the time the next one was to wait
// for it.
type DialAttempt struct {
	hostwise.Attempt
	Delay     time.Duration // the connection attempt delay behind it, which grows from the third on: RFC 8305, section 5
	DelayFrom string        // "default", "prefix", "recent", "option" or "budget"
	Hedge     bool          // begun while others might still succeed
}

// report tells the user's hook what the dial did.
func (d *dial) report(err error) {
	if d.t.opt.DialDone == nil {
		return
	}
	now := time.Now()
	r := DialReport{
		Host: d.state.host, Proxy: d.state.proxy, Start: d.start, Elapsed: now.Sub(d.start),
		Prefer: networks[d.plan.Prefer], Canary: d.plan.Canary != [2]bool{}, Resolutions: d.resolutions, Winner: d.winner, Err: err,
	}
	giveUp := error(errTimeout{}) // of attempts that were running, as in the error
	switch {
	case d.winner >= 0:
		giveUp = errCalledOff
	case errors.Is(err, context.Canceled):
		giveUp = context.Canceled
	}
	d.state.mu.Lock()
	for i, a := range d.state.soFar(giveUp) {
		s := d.state.attempts[i]
		if i == d.winner {
			a.Err = nil
		}
		r.Attempts = append(r.Attempts, DialAttempt{Attempt: a, Delay: s.delay, DelayFrom: string(s.from), Hedge: s.hedge})
	}
	d.state.mu.Unlock()
	_ = d.t.calls.Call(func() { d.t.opt.DialDone(r) }) // which has counted a panic
}

// note keeps an answer for the report.
func (d *dial) note(f happyeyeballs.Family, ev *event, now time.Time) {
	if d.t.opt.DialDone != nil {
		d.resolutions = append(d.resolutions, Resolution{Network: networks[f], At: now.Sub(d.start), Addrs: slices.Clone(ev.addrs), Err: ev.err})
	}
}
