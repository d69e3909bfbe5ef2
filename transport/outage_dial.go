package transport

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// isHeld reports whether the dial is not to go on, since the network is
// suspected.
func (d *dial) isHeld() bool {
	return d.t.outage.down.Load() && d.canary == noCanary && !d.isLocal()
}

// isLocal reports whether the dial is to this machine itself, which takes no
// network.
func (d *dial) isLocal() bool {
	return d.t.isLocal(d.literal) || d.t.system && d.host == "localhost" || d.state.all(d.t.isLocal)
}

// isLocal reports whether a is of this machine. Where a dial function of the
// user's leads to, nobody knows.
func (t *Transport) isLocal(a netip.Addr) bool { return t.system && a.IsLoopback() }

// pass lets the dial go on unless the network is suspected: then it is a
// canary, or waits, or fails.
func (d *dial) pass(ctx context.Context) (err error) {
	o := d.t.outage
	d.canary = noCanary
	var since time.Time
	var over <-chan struct{}
	if d.isHeld() {
		since, over = o.suspicion()
	}
	if over == nil {
		if !d.state.outage.IsZero() { // which nobody else sets
			d.state.hold(time.Time{})
		}
		return nil
	}
	d.state.hold(since) // also as a canary: one that fails says no more
	kind := o.kind(d.key, d.permit == nil && d.t.history.Reached(d.key))
	wait, lapsed := time.Duration(0), false
	if d.t.opt.WaitOnOutage {
		if lapsed, err = d.await(ctx, kind, over); err != nil {
			return err
		}
	} else if wait, lapsed = o.take(kind, d.key); wait > 0 {
		o.refused.Add(1)
		return &hostwise.ConnectError{Host: d.state.host, Proxy: d.state.proxy, Kind: hostwise.LocalOutage, Since: since, RetryAt: outageRetry(since)}
	}
	if lapsed {
		d.t.endOutage()
	}
	if !o.down.Load() {
		d.state.hold(time.Time{})
		return nil
	}
	d.canary = kind
	o.canaries.Add(1)
	return nil
}

// outageRetry is when to try again what was refused because of an outage.
func outageRetry(since time.Time) time.Time {
	now := time.Now()
	return now.Add(min(max(now.Sub(since)/retryShare, firstRetry), lastRetry))
}

// asOutage makes the error of a canary that had no time for more what it is.
func (d *dial) asOutage(ctx context.Context, err error) error {
	c, ok := err.(*hostwise.ConnectError)
	since, over := d.t.outage.suspicion()
	if !ok || d.canary == noCanary || over == nil || !c.Kind.Timeout() || isRefusal(err) {
		return err
	}
	if ctxErr := failure.Context(ctx); errors.Is(ctxErr, context.Canceled) { // at the same moment
		c.Kind, c.Err = hostwise.Canceled, ctxErr
		return c
	}
	c.Kind, c.Since, c.RetryAt = hostwise.LocalOutage, since, outageRetry(since)
	if c.Err == nil && !d.deadline.IsZero() && !time.Now().Before(d.deadline) { // the attempt has seen it first
		c.Err = context.DeadlineExceeded
	}
	return c
}

// await waits for the outage to end, or for the turn to be a canary.
func (d *dial) await(ctx context.Context, kind canary, over <-chan struct{}) (lapsed bool, err error) {
	o, turn := d.t.outage, d.t.outage.turn[kind]
	var due <-chan time.Time
	for {
		select {
		case <-over:
		case token := <-turn:
			defer func() { o.turn[kind] <- token }()
			turn, due = nil, time.After(0)
			continue
		case <-due:
			var wait time.Duration
			if wait, lapsed = o.take(kind, d.key); wait > 0 {
				due = time.After(wait)
				continue
			}
		case <-ctx.Done():
			err = d.state.interrupted(failure.Context(ctx))
		case <-d.unwanted():
			err = d.state.interrupted(context.Canceled)
		case <-d.t.closing:
			err = d.state.interrupted(errClosed)
		}
		return lapsed, err
	}
}

// errHeld ends a race when the network has come under suspicion meanwhile.
var errHeld = errors.New("the local network is suspected to be down")

// again reports whether a dial that has failed, and was settled, is to be tried
// once more, from the beginning: it was held, or its time was cut short, or it
// is to wait.
func (d *dial) again(ctx context.Context, err error) bool {
	o := d.t.outage
	down, silent := o.down.Load(), isSilence(err)
	canary := d.canary != noCanary && d.t.history.Reached(d.key)
	if down && silent && !isRefusal(err) && (canary || hostwise.KindOf(err) == hostwise.LocalOutage) {
		o.confirm()
	}
	switch {
	case err == errHeld:
	case isRefusal(err), ctx.Err() != nil, !silent, !down && d.canary == noCanary, down && !d.t.opt.WaitOnOutage:
		return false
	default:
		d.permit = nil // it was given back
	}
	return true
}

// anew ends a failed dial and returns another one in its place.
func (d *dial) anew() *dial {
	d.settleAddresses(time.Now())
	d.t.contacts.leave(d)
	d.endTurn()
	s := &d.state
	n := &dial{
		t: d.t, network: d.network, host: d.host, literal: d.literal, port: d.port, key: d.key, permit: d.permit, start: d.start, winner: -1,
		deadline: d.deadline, tls: d.tls, user: d.user, journey: d.journey, resolutions: d.resolutions, announced: d.announced,
		state: dialState{host: s.host, proxy: s.proxy, name: s.name, start: s.start, waited: s.waited},
	}
	n.state.attempts = n.state.room[:0]
	if n.journey != nil {
		n.journey.goesOn(s, &n.state)
	}
	return n
}
