package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// DialContext connects to address, a host:port, like (*net.Dialer).DialContext:
// resolved, raced, guarded and charged as the Transport's own dials are.
// network is "tcp", "tcp4" or "tcp6". The breaker counts a connection made
// as a success.
func (t *Transport) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	if err := failure.Context(ctx); err != nil {
		return nil, &hostwise.ConnectError{Host: address, Kind: contextKind(err, hostwise.Deadline), Err: err}
	}
	key := strings.ToLower(address)
	permit, down := t.breaker.allow(key, time.Now())
	if down != nil {
		return nil, down
	}
	d, err := t.newDial(network, address, key, permit)
	if err != nil {
		t.breaker.release(permit)
		return nil, err
	}
	d.deadline, _ = ctx.Deadline()
	d.user = httptrace.ContextClientTrace(ctx)
	conn, err := d.run(ctx)
	if err == nil {
		t.breaker.success(key, permit)
	}
	return conn, err
}

// dialForRequest is the inner transport's DialContext.
func (t *Transport) dialForRequest(ctx context.Context, network, address string) (net.Conn, error) {
	return t.dialJourney(ctx, network, address, nil)
}

// dialTLSForRequest is the inner transport's DialTLSContext: the handshake is
// part of the race.
func (t *Transport) dialTLSForRequest(ctx context.Context, network, address string) (net.Conn, error) {
	config := &tls.Config{}
	if c := t.inner.TLSClientConfig; c != nil {
		config = c.Clone()
	}
	return t.dialJourney(ctx, network, address, config)
}

// dialJourney dials for a request, to its host or to its proxy.
func (t *Transport) dialJourney(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	j := journeyOf(ctx)
	if j == nil {
		return nil, errors.New("transport: dial outside of a request")
	}
	key, permit := j.key, j.permit
	if j.proxy != nil {
		var down *hostwise.HostDownError
		if permit, down = t.breaker.allow(address, time.Now()); down != nil {
			return nil, down
		}
		key = address
	}
	d, err := t.newDial(network, address, key, permit)
	if err == nil {
		d.state.host = j.key
		if j.proxy != nil {
			d.state.proxy = address
		}
		err = j.begin(&d.state) // from here on the request may look at the state
	}
	if err != nil {
		t.breaker.release(permit)
		return nil, err
	}
	d.user, d.journey = httptrace.ContextClientTrace(j.Context), j
	d.deadline, _ = j.Deadline()
	if config != nil {
		if config.ServerName == "" {
			config.ServerName = d.host
		}
		if j.onlyHTTP1 || j.proxy != nil {
			config.NextProtos = nil
		}
		d.tls = config
	}
	conn, err := d.run(ctx)
	switch {
	case err != nil:
	case j.proxy != nil:
		t.breaker.success(key, permit)
		conn.SetDeadline(d.negotiated())
	case j.isOver(): // a connection in time for nobody says nothing of answers
		t.breaker.release(permit)
		if c := connOf(conn); c != nil {
			t.conns.use(c) // or it would never count as idle
			t.conns.leave(c)
		}
	}
	return conn, err
}

// longestRTT is the time in which a connection stands unless its SYN had to be
// repeated: RFC 6298, section 2.1.
const longestRTT = time.Second

// A dial is one race to one host:port.
type dial struct {
	t        *Transport
	network  string
	host     string
	literal  netip.Addr // that host is, if it is one
	port     uint16
	key      string  // the breaker's, the memory's
	permit   *permit // the breaker's
	deadline time.Time
	tls      *tls.Config            // nil: no handshake
	user     *httptrace.ClientTrace // may be nil
	journey  *journey               // of the request; nil: it was the user who called DialContext
	state    dialState

	start       time.Time
	plan        happyeyeballs.Plan
	race        *happyeyeballs.Race
	hedging     bool // this dial's hedge is the host's
	waiting     bool // for another dial's hedge
	released    bool // another dial's hedge has won
	winner      int  // the attempt that has won; -1 without one
	delayFrom   happyeyeballs.Source
	resolutions []Resolution
	events      *mailbox
	ctx         context.Context // of the attempts
	running     int             // of these
	answers     [2][]netip.Addr
	errs        [2]*hostwise.DNSError
	leave       func()    // set once it is this dial's turn to connect
	connecting  time.Time // of the first attempt: the connect's clock starts
	announced   bool      // DNSDone
	denied      *hostwise.DeniedError
	unrouted    bool // a family was left out for want of a route
}

func (t *Transport) newDial(network, address, key string, p *permit) (*dial, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("transport: dial %q: %w", address, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("transport: dial %q: the port is not a number", address)
	}
	now := time.Now()
	literal, _ := netip.ParseAddr(host)
	d := &dial{
		t: t, network: network, host: host, literal: literal, port: uint16(port), key: key, permit: p, start: now, winner: -1,
		state: dialState{host: key, name: host, start: now},
	}
	d.state.attempts = d.state.room[:0]
	return d, nil
}

// run dials and settles the account.
func (d *dial) run(ctx context.Context) (net.Conn, error) {
	if !d.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.deadline)
		defer cancel()
	}
	d.t.counters.dials.Add(1)
	d.t.budget.dials.Add(1)
	won, err := d.raceAddresses(ctx, d.t.routes)
	if k := hostwise.KindOf(err); d.unrouted && (k == hostwise.DNSNoData || k == hostwise.DNSNXDomain && !d.t.knowsNoData()) {
		// Perhaps the family without a default route has a way to just
		// this host: a private network, a loopback address.
		won, err = d.raceAddresses(ctx, nil)
	}
	if err != nil {
		d.settle(err)
	} else {
		d.t.counters.won(d.winner, happyeyeballs.Of(won.addr.Addr()))
	}
	if d.leave != nil { // after the charge, so that those who wait see it
		d.leave()
	}
	d.state.finish(err)
	d.report(err)
	switch {
	case err != nil:
		if d.leave != nil {
			d.t.conns.giveBack()
		}
		return nil, err
	case won.tls != nil:
		return won.tls, nil
	}
	return won, nil
}

// negotiated is when a new connection to a proxy must have become one to the
// host: CONNECT has only a long time-out in net/http, and SOCKS has none.
func (d *dial) negotiated() time.Time {
	end := time.Now().Add(d.t.opt.DialTimeout + d.t.opt.TLSHandshakeTimeout)
	if !d.deadline.IsZero() && d.deadline.Before(end) {
		return d.deadline
	}
	return end
}

// takeTurn waits for what bounds the connections, between resolving and
// connecting. It fails if nobody waits for the dial any more: net/http does
// not tell it, and so would have it wait and connect.
func (d *dial) takeTurn(ctx context.Context) error {
	d.state.wait()
	if d.journey != nil && d.journey.isOver() {
		return d.state.interrupted(context.Canceled)
	}
	leave, err := d.t.contacts.enter(ctx, d)
	if err != nil {
		return err
	}
	d.state.queue()
	if !d.t.conns.tryAcquire() {
		if err := d.t.conns.acquire(ctx, d.unwanted(), d.t.closing); err != nil {
			leave()
			return d.state.interrupted(err)
		}
	}
	d.leave = leave
	return nil
}

// unwanted is closed when the request is over; nil if there is none.
func (d *dial) unwanted() <-chan struct{} {
	if d.journey == nil {
		return nil
	}
	return d.journey.ended()
}

// settle charges a failed dial, or gives back its permit.
func (d *dial) settle(err error) {
	charge := chargesHost(err)
	if d.state.proxy != "" {
		charge = chargesProxy(err)
	}
	if charge && d.fairShare(err) {
		d.t.charge(d.key, err, d.permit)
	} else {
		d.t.breaker.release(d.permit)
	}
}

// chargesProxy is chargesHost for a dial to a proxy, on the proxy's own
// account.
func chargesProxy(err error) bool {
	k := hostwise.KindOf(err)
	return k == hostwise.ProxyConnect || k == hostwise.ProxyTimeout
}

// fairShare reports whether a host that was waited for had its time, or
// failed by itself.
func (d *dial) fairShare(err error) bool {
	if d.connecting.IsZero() {
		return false
	}
	if d.deadline.IsZero() || time.Now().Before(d.deadline) {
		return true
	}
	switch hostwise.PhaseOf(err) {
	case hostwise.PhaseConnect:
		return d.deadline.Sub(d.connecting) >= fairConnect
	case hostwise.PhaseTLS:
		return d.deadline.Sub(d.connecting) >= fairConnect+fairTLS
	}
	return true
}

// raceAddresses resolves and connects: the happyeyeballs.Race decides, this
// loop acts.
func (d *dial) raceAddresses(ctx context.Context, r *routes) (*conn, error) {
	attempts, cancel := context.WithCancel(detached{ctx})
	d.events = newMailbox()
	defer func() {
		if d.winner >= 0 {
			d.events.close(&d.t.counters.lost)
		} else {
			d.events.close(nil)
		}
	}()
	defer cancel()
	d.ctx, d.running = attempts, 0
	if d.literal.IsValid() {
		r = nil // it is this family or none
	}
	without := d.t.without(d.network)
	routed := r.without(without, d.start)
	d.unrouted = routed != without
	if r.hasChanged() {
		d.t.history.Flush()
	}
	d.plan = happyeyeballs.Plan{Prefer: d.t.prefer(r)}
	if !d.t.opt.DisableMemory {
		d.plan = d.t.history.Plan(d.key, d.plan.Prefer, d.start)
	}
	config := happyeyeballs.Config{
		Prefer: d.plan.Prefer, Last: d.plan.Last, First: d.plan.First, Without: routed, ResolutionDelay: d.t.opt.ResolutionDelay,
		Delay: func(a netip.Addr) time.Duration {
			var delay time.Duration
			delay, d.delayFrom = d.t.attemptDelay(a, time.Now())
			return delay
		},
	}
	winner := netip.Addr{}
	defer func() {
		d.t.history.Ended(d.key, d.plan, d.race.Outcome(winner), time.Now())
		if d.hedging {
			d.t.hedges.end(d.key, d.hedgeWinner(winner))
		}
	}()
	d.answers, d.errs, d.denied = [2][]netip.Addr{}, [2]*hostwise.DNSError{}, nil
	d.race = happyeyeballs.New(config)
	d.trace(func(u *httptrace.ClientTrace) {
		if u.DNSStart != nil {
			u.DNSStart(httptrace.DNSStartInfo{Host: d.host})
		}
	})
	defer d.resolve(ctx, config.Without)()

	var timer *time.Timer // nil as long as there is no need for one
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	for {
		now := time.Now()
		if d.leave == nil && d.race.Ready(now) {
			if err := d.takeTurn(ctx); err != nil {
				return nil, err
			}
			continue
		}
		wake := d.startAttempts(now)
		if d.lost(now) {
			return nil, d.failed()
		}
		var due <-chan time.Time
		if !wake.IsZero() {
			if timer == nil {
				timer = time.NewTimer(wake.Sub(now))
			} else {
				timer.Reset(wake.Sub(now))
			}
			due = timer.C
		}
		select {
		case <-d.events.ready:
			for ev, ok := d.events.next(); ok; ev, ok = d.events.next() {
				conn, err := d.handle(ev)
				if conn != nil {
					winner, d.winner = ev.addr.Addr(), ev.attempt
				}
				if conn != nil || err != nil {
					return conn, err
				}
			}
		case <-due:
		case <-ctx.Done():
			return nil, d.state.interrupted(failure.Context(ctx))
		case <-d.t.closing:
			return nil, d.state.interrupted(errClosed)
		}
	}
}

// startAttempts starts the attempts that are due and returns when to look
// again.
func (d *dial) startAttempts(now time.Time) (wake time.Time) {
	for !d.overtime(now) {
		if d.race.Ready(now) && d.race.Hedge() && !d.mayHedge() {
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
func (d *dial) end() time.Time { return d.connecting.Add(d.t.opt.DialTimeout) }

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

// hedgeWinner is the winner if it was begun beside others, and else the zero
// Addr.
func (d *dial) hedgeWinner(winner netip.Addr) netip.Addr {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if d.winner < 0 || !d.state.attempts[d.winner].hedge {
		return netip.Addr{}
	}
	return winner
}

func (d *dial) startAttempt(addr netip.Addr, hedge bool, now time.Time) {
	if d.connecting.IsZero() {
		d.connecting = now
		d.announce()
	}
	a := netip.AddrPortFrom(addr, d.port)
	state := attemptState{Attempt: hostwise.Attempt{Addr: a}, delay: d.race.Delay(), from: d.delayFrom, hedge: hedge}
	i := d.state.started(state, now)
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
	if d.t.begin() {
		go d.attempt(i, a)
	}
}

// trace calls one of the user's hooks, if there are any.
func (d *dial) trace(run func(*httptrace.ClientTrace)) {
	switch {
	case d.user == nil:
	case d.journey != nil:
		d.journey.hook(d.user, run)
	default:
		run(d.user)
	}
}

// announce tells the user's trace what was resolved, once.
func (d *dial) announce() {
	if d.announced {
		return
	}
	d.announced = true
	d.trace(func(u *httptrace.ClientTrace) {
		if u.DNSDone == nil {
			return
		}
		var info httptrace.DNSDoneInfo
		for _, addrs := range d.answers {
			for _, a := range addrs {
				info.Addrs = append(info.Addrs, net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()})
			}
		}
		if e := failure.Resolve(d.errs[0], d.errs[1]); len(info.Addrs) == 0 && e != nil {
			info.Err = e
		}
		u.DNSDone(info)
	})
}

// handle takes in one event. It returns the winner's connection, or an error
// that ends the race.
func (d *dial) handle(ev event) (*conn, error) {
	now := time.Now()
	switch {
	case ev.answer:
		d.answered(ev, now)
		return nil, nil
	case ev.hedge:
		d.waiting, d.released = false, ev.winner.IsValid()
		if d.released {
			d.race.Promote(ev.winner)
		} else {
			d.race.Reconsider()
		}
		return nil, nil
	case ev.connected:
		if took := d.state.connected(ev.attempt, now); !ev.repeated && took < longestRTT {
			d.t.history.Measured(ev.addr.Addr(), took, now)
		}
		d.connectDone(ev.addr, nil)
		return nil, nil
	case ev.err == nil:
		ev.conn.limit = d.t.conns
		return ev.conn, nil
	}
	d.running--
	if phase := d.state.failed(ev.attempt, ev.err, now); phase == hostwise.PhaseConnect {
		d.connectDone(ev.addr, ev.err)
	}
	d.race.Failed(now)
	if isCertificate(ev.err) { // the other addresses have the same
		return nil, d.failed()
	}
	return nil, nil
}

func (d *dial) connectDone(a netip.AddrPort, err error) {
	d.trace(func(u *httptrace.ClientTrace) {
		if u.ConnectDone != nil {
			u.ConnectDone("tcp", a.String(), err)
		}
	})
}

// answered takes in one family's addresses, those that may be dialled.
func (d *dial) answered(ev event, now time.Time) {
	f := ev.family
	d.note(f, ev, now)
	d.errs[f] = asDNSError(d.host, ev.err)
	d.answers[f] = happyeyeballs.Sort(d.allowed(ev.addrs), d.t.routes.source)
	d.race.Answer(now, f, d.answers[f])
}

// allowed returns those of addrs that may be dialled.
func (d *dial) allowed(addrs []netip.Addr) []netip.Addr {
	if !d.t.opt.PublicOnly {
		return addrs
	}
	var list []netip.Addr
	for _, a := range addrs {
		if rule := d.t.denies(a); rule != "" {
			d.denied = &hostwise.DeniedError{Host: d.state.host, Addr: a, Rule: rule}
			continue
		}
		list = append(list, a)
	}
	return list
}

// failed is the error of a race without a winner.
func (d *dial) failed() error {
	d.announce()
	if err := d.state.failure(); err != nil {
		return err
	}
	e := failure.Resolve(d.errs[0], d.errs[1])
	switch {
	case d.denied != nil:
		return d.denied
	case e == nil:
		return &hostwise.ConnectError{Host: d.state.host, Proxy: d.state.proxy, Kind: hostwise.LocalOutage, Err: errors.New("no route to any address family")}
	case d.state.proxy != "":
		return &hostwise.ConnectError{Host: d.state.host, Proxy: d.state.proxy, Kind: hostwise.ProxyDNS, Err: e}
	}
	return e
}
