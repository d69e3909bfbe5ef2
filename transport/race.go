package transport

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// raceAddresses resolves and connects.
func (d *dial) raceAddresses(ctx context.Context, r *routes) (*conn, error) {
	if d.untraced.Context == nil { // else it is the second race's, and what the first has left may be looking
		d.untraced.Context = ctx
	}
	d.ctx, d.cancel = context.WithCancel(&d.untraced)
	d.t.raceBegins(d)
	if d.events = &d.mailbox; d.mailbox.ready != nil { // the second race's, which gets no answer to the first
		d.events = new(mailbox)
	}
	d.events.open()
	defer d.endRace()
	d.running = 0
	d.begin(r)
	d.unsubscribe = d.resolve(d.without)
	return d.loop(ctx)
}

// endRace gives back what the race has, but for the winner's connection.
func (d *dial) endRace() {
	d.t.raceEnds(d)
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.unsubscribe != nil {
		d.unsubscribe()
		d.unsubscribe = nil
	}
	winner, hedge := d.state.attempt(d.winner)
	d.t.history.Ended(d.key, d.plan, d.race.Outcome(winner), time.Now())
	if d.hedging {
		if !hedge {
			winner = netip.Addr{}
		}
		d.t.hedges.end(d.key, winner)
	}
	d.cancel()
	var late *atomic.Uint64
	if d.winner >= 0 {
		late = &d.t.counters.lost
	}
	d.t.conns.forget(d.events)
	for range d.events.close(late) {
		d.socketClosed()
	}
	if d.event.conn != nil && d.winner < 0 { // it came too late, or a hook of the user's has not returned
		d.socketClosed()
		d.event.conn.Conn.Close()
	}
}

// loop acts as the happyeyeballs.Race decides.
func (d *dial) loop(ctx context.Context) (*conn, error) {
	for {
		now := time.Now()
		held := false // for an answer with an address that is not silent
		if d.connecting.IsZero() && d.race.Ready(now) {
			down := d.screen(now)
			switch {
			case down != nil && d.race.Answered():
				d.announce()
				return nil, down
			case down != nil:
				held = true
			case !d.turn:
				if err := d.takeTurn(ctx); err != nil {
					return nil, err
				}
				continue
			}
		}
		var wake time.Time
		if !held {
			wake = d.startAttempts(now)
		}
		if d.lost(now) {
			return nil, d.failed()
		}
		if d.here {
			d.here = false
			d.attemptHere() // which leaves an event, so that what follows need not wait
		}
		var due <-chan time.Time
		if !wake.IsZero() {
			if d.timer == nil {
				d.timer = time.NewTimer(wake.Sub(now))
			} else {
				d.timer.Reset(wake.Sub(now))
			}
			due = d.timer.C
		}
		select {
		case <-d.events.ready:
		case <-due:
		case <-ctx.Done():
		case <-d.t.closing:
		}
		for {
			more := d.events.next(&d.event)
			if err := cmp.Or(failure.Context(ctx), d.t.closed()); err != nil { // only now: the event may come of it
				return nil, d.state.interrupted(err)
			}
			if !more {
				break
			}
			conn, err := d.handle(&d.event)
			if conn != nil {
				d.winner = d.event.attempt
			}
			if conn != nil || err != nil {
				return conn, err
			}
		}
	}
}

// begin makes the dial's race by what is known of the host and of the routes.
func (d *dial) begin(r *routes) {
	if d.literal.IsValid() {
		r = nil // it is this family or none
	}
	without := d.t.without(d.network)
	routed := r.without(without, d.start)
	d.unrouted = routed != without
	if r.hasChanged() {
		d.t.history.Flush()
		d.t.addresses.forgetSince(time.Time{})
	}
	d.plan = happyeyeballs.Plan{Prefer: d.t.prefer(r)}
	if !d.t.opt.DisableMemory {
		d.plan = d.t.history.Plan(d.key, d.plan.Prefer, d.start)
	}
	d.race.Reset(happyeyeballs.Config{
		Prefer: d.plan.Prefer, Last: d.plan.Last, First: d.plan.First, Without: routed, ResolutionDelay: d.t.opt.ResolutionDelay,
		Delay: func(a netip.Addr) time.Duration {
			var delay time.Duration
			delay, d.delayFrom = d.t.attemptDelay(a, time.Now())
			return delay
		},
	})
	d.answers, d.errs, d.denied = [2][]netip.Addr{}, [2]*hostwise.DNSError{}, nil
	d.without = routed
	d.trace(func(u *httptrace.ClientTrace) {
		if u.DNSStart != nil {
			u.DNSStart(httptrace.DNSStartInfo{Host: d.host})
		}
	})
}

// startAttempts starts the attempts that are due and returns when to look
// again.
func (d *dial) startAttempts(now time.Time) (wake time.Time) {
	for !d.overtime(now) {
		if d.running > 0 && d.race.Ready(now) {
			d.race.Began(cmp.Or(d.state.lastRan(), now))
		}
		if d.race.Ready(now) && (d.race.Hedge() && !d.mayHedge() || !d.hasRoom()) {
			break // an event will tell
		}
		hedge := d.race.Hedge()
		addr, next := d.race.Next(now)
		if !addr.IsValid() {
			wake = next
			break
		}
		d.startAttempt(addr, hedge, now)
	}
	if d.connecting.IsZero() || d.running > 0 && d.t.keepsDeadline() { // then the attempts themselves tell
		return wake
	}
	if end := d.end(); now.Before(end) && (wake.IsZero() || end.Before(wake)) {
		wake = end
	}
	return wake
}

// end is when connecting must be done with, once it has begun.
func (d *dial) end() time.Time {
	timeout := d.t.opt.DialTimeout
	if d.canary != noCanary {
		timeout = min(timeout, canaryTimeout)
	}
	return d.connecting.Add(timeout)
}

// overtime reports whether no attempt may start any more.
func (d *dial) overtime(now time.Time) bool {
	return !d.connecting.IsZero() && !now.Before(d.end())
}

// lost reports whether the race can no longer be won.
func (d *dial) lost(now time.Time) bool {
	return d.race.Lost() || d.overtime(now) && !d.state.shaking()
}

// mayHedge reports whether another attempt may begin beside those under way.
func (d *dial) mayHedge() bool {
	switch {
	case d.hedging, d.released:
		return true
	case d.waiting:
		return false
	}
	d.hedging = d.t.hedges.begin(d.key, d.events)
	d.waiting = !d.hedging
	return d.hedging
}

// hasRoom reports whether another attempt may begin, and takes room for it:
// the first one under way has that of the dial's connection, the others take
// spare ones.
func (d *dial) hasRoom() bool {
	if d.running == 0 {
		return true
	}
	if !d.t.conns.takeSpare(d.events) {
		return false
	}
	d.state.spared()
	return true
}

// socketClosed notes that an attempt has ended without becoming the dial's
// connection.
func (d *dial) socketClosed() {
	spare, room := d.state.closes()
	if spare {
		d.t.conns.giveSpare()
	}
	if room {
		d.t.conns.giveBack()
	}
}

func (d *dial) startAttempt(addr netip.Addr, hedge bool, now time.Time) {
	if d.connecting.IsZero() {
		d.connecting = now
		d.connects = until{d.ctx, d.end(), d}
		if !d.deadline.IsZero() && d.deadline.Before(d.connects.deadline) {
			d.connects.deadline = d.deadline
		}
		d.announce()
	}
	a := netip.AddrPortFrom(addr, d.port)
	state := attemptState{Attempt: hostwise.Attempt{Addr: a}, delay: d.race.Delay(), from: d.delayFrom, hedge: hedge}
	i := d.state.started(state, now)
	d.answersAt[i] = d.t.addresses.answers(a)
	d.running++
	d.t.counters.attempts.Add(1)
	if hedge {
		d.t.budget.hedges.Add(1)
	}
	d.trace(func(u *httptrace.ClientTrace) {
		if u.ConnectStart != nil {
			u.ConnectStart("tcp", a.String())
		}
	})
	if !d.t.begin() {
		return
	}
	d.state.opens()
	if d.t.plain && d.race.Final() {
		d.here = true
		return
	}
	go d.attempt(i, a)
}

// attemptHere makes the last attempt, beside which there is nothing to do, on
// the dial's own goroutine. It ends when the race is to end.
func (d *dial) attemptHere() {
	i := len(d.state.attempts) - 1
	if c := d.reach(i, d.state.attempts[i].Addr); c != nil {
		go d.shake(i, c)
	}
}

// handle takes in one event. It returns the winner's connection, or an error
// that ends the race.
func (d *dial) handle(ev *event) (*conn, error) {
	now := time.Now()
	switch {
	case ev.answer:
		d.answered(ev, now)
		return nil, nil
	case ev.room:
		return nil, nil
	case ev.hedge:
		d.waiting, d.released = false, ev.addr.IsValid()
		if d.released {
			d.race.Promote(ev.addr.Addr())
		} else {
			d.race.Reconsider()
		}
		return nil, nil
	case ev.connected:
		if took := d.state.connected(ev.attempt, ev.conn == nil, now); !ev.repeated && took < longestRTT {
			d.t.history.Measured(ev.addr.Addr(), took, now)
		}
		d.connectDone(ev.addr, nil)
		if ev.conn == nil { // a handshake follows
			return nil, nil
		}
	}
	if ev.conn != nil {
		ev.conn.limit = d.t.conns
		return ev.conn, nil
	}
	d.running--
	errors.As(ev.err, &d.denied) // by the guard of the socket
	if phase := d.state.failed(ev.attempt, ev.err, now); phase == hostwise.PhaseConnect {
		d.connectDone(ev.addr, ev.err)
	}
	d.race.Began(d.state.lastRan())
	d.race.Failed(now)
	if isCertificate(ev.err) { // the other addresses have the same
		return nil, d.failed()
	}
	return nil, nil
}

// answered takes in one family's addresses, those that may be dialled.
func (d *dial) answered(ev *event, now time.Time) {
	f := ev.family
	d.note(f, ev, now)
	d.errs[f] = asDNSError(d.host, ev.err)
	d.answers[f] = happyeyeballs.Sort(d.allowed(ev.addrs), d.t.routes.source)
	d.race.Answer(now, f, d.answers[f])
	if !d.connecting.IsZero() { // else once an address is about to be tried
		d.screen(now)
	}
}

// allowed returns those of addrs that may be dialled.
func (d *dial) allowed(addrs []netip.Addr) []netip.Addr {
	if !d.t.guard.decides() {
		return addrs
	}
	var list []netip.Addr
	for _, a := range addrs {
		if denied := d.t.guard.denies(d.guarded(), netip.AddrPortFrom(a, d.port)); denied != nil {
			d.denied = denied
			continue
		}
		list = append(list, a)
	}
	return list
}

// guarded is the host as the guard is asked about it.
func (d *dial) guarded() guardedHost {
	return guardedHost{d.state.host, net.JoinHostPort(strings.ToLower(strings.TrimSuffix(d.host, ".")), strconv.Itoa(int(d.port)))}
}

// failed is the error of a race without a winner.
func (d *dial) failed() error {
	d.announce()
	if err := d.state.failure(); err != nil && hostwise.KindOf(err) != hostwise.PolicyDenied {
		return err
	}
	e := failure.Resolve(d.errs[0], d.errs[1])
	switch {
	case d.denied != nil && (e == nil || !e.Kind.Retryable()): // else the other family may have an address that is not
		return d.denied
	case e == nil:
		return &hostwise.ConnectError{Host: d.state.host, Proxy: d.state.proxy, Kind: hostwise.LocalOutage, Err: errors.New("no route to any address family")}
	case d.state.proxy != "":
		return &hostwise.ConnectError{Host: d.state.host, Proxy: d.state.proxy, Kind: hostwise.ProxyDNS, Err: e}
	}
	return e
}
