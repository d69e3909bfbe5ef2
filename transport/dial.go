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
	"github.com/hostwise-go/hostwise/internal/hook"
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
	if denied := t.guard.deniesPort(key); denied != nil {
		return nil, denied
	}
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
	defer t.breaker.changes.tell()
	conn, err := d.run(ctx)
	if err == nil {
		done := false
		defer func() { t.closeUnless(done, conn, permit) }()
		t.breaker.success(key, permit)
		done = true
	}
	return conn, err
}

// closeUnless gives a connection back when BreakerOptions.Key, asked once more,
// has not returned.
func (t *Transport) closeUnless(done bool, conn net.Conn, p *permit) {
	if !done {
		conn.Close()
		t.breaker.release(p)
	}
}

// dialForRequest is the inner transport's DialContext.
func (t *Transport) dialForRequest(ctx context.Context, network, address string) (net.Conn, error) {
	return t.dialJourney(ctx, network, address, nil)
}

// dialTLSForRequest is the inner transport's DialTLSContext: the handshake is
// part of the race.
func (t *Transport) dialTLSForRequest(ctx context.Context, network, address string) (net.Conn, error) {
	config := &tls.Config{}
	if j := journeyOf(ctx); j != nil && j.pool.TLSClientConfig != nil {
		config = j.pool.TLSClientConfig.Clone()
	}
	return t.dialJourney(ctx, network, address, config)
}

// dialJourney dials for a request, to its host or to its proxy. It is on a
// goroutine of net/http's, which a function of the caller's must not end.
func (t *Transport) dialJourney(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	growStack()
	j := journeyOf(ctx)
	if j == nil {
		return nil, errors.New("transport: dial outside of a request")
	}
	if t.opt.Breaker.Key == nil && t.opt.Guard.Check == nil && j.user() == nil {
		return t.dialUnguarded(ctx, j, network, address, config)
	}
	return t.dialGuarded(ctx, j, network, address, config)
}

func (t *Transport) dialGuarded(ctx context.Context, j *journey, network, address string, config *tls.Config) (conn net.Conn, err error) {
	fault := t.calls.Call(func() { conn, err = t.dialUnguarded(ctx, j, network, address, config) })
	if fault == nil {
		return conn, err
	}
	e := &hostwise.ConnectError{Host: j.key, Kind: hostwise.Other, Err: fault}
	if j.proxy != nil {
		e.Proxy = address
	}
	return nil, e
}

func (t *Transport) dialUnguarded(ctx context.Context, j *journey, network, address string, config *tls.Config) (net.Conn, error) {
	j.pool.enter(j.host)
	kept := false
	defer func() {
		if !kept {
			j.pool.leave(j.host)
		}
	}()
	key, permit := j.key, j.permit
	var down *hostwise.HostDownError
	switch {
	case j.proxy != nil:
		permit, down = t.breaker.allow(address, time.Now())
		key = address
	case permit == nil: // it may have waited for its turn in net/http: MaxConnsPerHost
		down = t.breaker.refuses(key, time.Now())
	}
	if down != nil {
		return nil, down
	}
	d, err := t.newDial(network, address, key, permit)
	if err != nil { // the port: net/url takes any number
		err = &hostwise.RequestError{Host: j.key, Kind: hostwise.BadURL, Err: err}
	} else {
		d.state.host, d.state.waited = j.key, d.start.Sub(j.start)
		if j.proxy != nil {
			d.state.proxy = address
		}
		err = j.begin(&d.state) // from here on the request may look at the state
	}
	if err != nil {
		t.breaker.release(permit)
		return nil, err
	}
	d.user, d.journey = j.user(), j
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
	if err != nil {
		t.breaker.changes.tell()
		return nil, err
	}
	done := false
	defer func() { t.closeUnless(done, conn, permit) }()
	c := connOf(conn)
	c.pool, c.host, kept = j.pool, j.host, true
	wanted := j.made(c)
	switch {
	case j.proxy != nil:
		t.breaker.success(key, permit)
		conn.SetDeadline(d.negotiated())
	case !wanted: // a connection in time for nobody says nothing of answers
		t.breaker.release(permit)
	}
	done = true
	return conn, nil
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
	began       time.Time // the latest try
	canary      canary
	plan        happyeyeballs.Plan
	race        happyeyeballs.Race
	hedging     bool // this dial's hedge is the host's
	waiting     bool // for another dial's hedge
	released    bool // another dial's hedge has won
	winner      int  // the attempt that has won; -1 without one
	delayFrom   happyeyeballs.Source
	resolutions []Resolution
	events      *mailbox
	mailbox     mailbox // most often that of events
	event       event   // that the race takes in
	untraced    withoutTrace
	timer       *time.Timer        // nil as long as there is no need for one
	unsubscribe func()             // from the resolver
	ctx         context.Context    // of the attempts
	cancel      context.CancelFunc // of ctx
	connects    until              // ctx with the connect's deadline
	running     int                // attempts
	here        bool               // the last attempt is started, and still to be made on this goroutine
	answers     [2][]netip.Addr
	room        [4]netip.Addr // for those of most dials
	errs        [2]*hostwise.DNSError
	turn        bool      // it is this dial's turn to connect, and there is room for the connection
	contact     *contact  // set while the dial is one of its
	contacted   time.Time // since then
	connecting  time.Time // of the first attempt: the connect's clock starts
	announced   bool      // DNSDone
	denied      *hostwise.DeniedError
	without     [2]bool                           // families left out
	unrouted    bool                              // one of them for want of a route
	probes      []*addressProbe                   // of silent addresses; nil for most
	answersAt   [happyeyeballs.MaxAttempts]uint32 // of the address, when an attempt began
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
	if host == "" { // this machine, as with a net.Dialer
		host = "localhost"
	}
	var literal netip.Addr
	if last := host[len(host)-1]; '0' <= last && last <= '9' || strings.Contains(host, ":") { // else the error would cost
		literal, _ = netip.ParseAddr(host)
	}
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
	var won *conn
	var err error
	ended := false
	defer func() {
		if !ended { // a hook of the user's has panicked, or ended the goroutine
			d.abandon(won)
		}
	}()
	won, err = d.try(ctx)
	for err != nil {
		if err != errHeld {
			elapsed, _ := d.state.elapsed()
			err = withElapsed(err, elapsed)
			d.settle(err)
		}
		if !d.again(ctx, err) {
			err = d.asOutage(ctx, err)
			break
		}
		d = d.anew()
		won, err = d.try(ctx)
	}
	if err == nil {
		d.endSpares()
		d.t.counters.won(d.winner, happyeyeballs.Of(won.addr.Addr()))
		if !d.t.isLocal(won.addr.Addr()) {
			d.t.success(d.connecting)
		}
	}
	d.settleAddresses(time.Now())
	d.t.contacts.leave(d) // after the charge, so that those who wait see it
	d.state.finish(err)
	ended = true
	if err != nil { // before the report, which may take long
		d.endTurn()
	}
	d.report(err)
	switch {
	case err != nil:
		return nil, err
	case won.tls != nil:
		return won.tls, nil
	}
	return won, nil
}

// abandon gives back what the dial has.
func (d *dial) abandon(won *conn) {
	d.t.breaker.release(d.permit)
	for _, p := range d.probes {
		d.t.addresses.release(p)
	}
	d.t.contacts.leave(d)
	d.state.finish(errAbandoned)
	if won != nil {
		won.Close()
	} else {
		d.endTurn()
	}
}

var errAbandoned = hook.ErrGoexit

// try resolves and races, unless the local network is suspected to be down.
func (d *dial) try(ctx context.Context) (*conn, error) {
	if err := d.pass(ctx); err != nil {
		return nil, err
	}
	d.began = time.Now()
	d.t.counters.dials.Add(1)
	d.t.budget.dial()
	won, err := d.raceAddresses(ctx, d.t.routes)
	if k := hostwise.KindOf(err); d.unrouted && (k == hostwise.DNSNoData || k == hostwise.DNSNXDomain && !d.t.knowsNoData()) {
		// Perhaps the family without a default route has a way to just
		// this host: a private network, a loopback address.
		won, err = d.raceAddresses(ctx, nil)
	}
	return won, err
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
	if err := d.t.contacts.enter(ctx, d); err != nil {
		return err
	}
	d.state.queue()
	for !d.t.conns.tryAcquire() {
		contact, news := d.t.contacts.watch(d.key)
		err := d.t.conns.acquire(ctx, d.unwanted(), d.t.closing, news)
		d.t.contacts.unwatch(d.key, contact)
		if err == nil {
			break
		}
		if err != errNews {
			return d.state.interrupted(err)
		}
		if down := d.t.breaker.refuses(d.key, time.Now()); down != nil && d.permit == nil {
			return down
		}
	}
	if d.isHeld() {
		d.t.conns.giveBack()
		d.t.contacts.leave(d)
		return errHeld
	}
	d.turn = true
	return nil
}

// endTurn gives back the room of a dial without a connection: while an attempt
// still has its socket, that is for later.
func (d *dial) endTurn() {
	if !d.turn {
		return
	}
	spares, room := d.state.end()
	for range spares {
		d.t.conns.giveSpare()
	}
	if room {
		d.t.conns.giveBack()
	}
}

// endSpares gives back the spares of a dial with a connection that no attempt
// will: one was refused just as the next, which took a spare, began.
func (d *dial) endSpares() {
	for range d.state.surplus() {
		d.t.conns.giveSpare()
	}
}

// errNews is returned to a dial that waits when something has happened to its
// host.
var errNews = errors.New("news of the host")

// unwanted is closed when the request is over; nil if there is none.
func (d *dial) unwanted() <-chan struct{} {
	if d.journey == nil {
		return nil
	}
	return d.journey.ended()
}

// settle charges a failed dial, or gives back its permit.
func (d *dial) settle(err error) {
	began := d.began
	if !d.connecting.IsZero() {
		began = d.connecting
	}
	if d.isLocal() || !d.deadline.IsZero() && hostwise.PhaseOf(err) == hostwise.PhaseResolve && !time.Now().Before(d.deadline) {
		began = time.Time{}
	}
	d.t.failure(d.key, err, d.permit, began, time.Since(d.connecting), ledgerOf(err).hasBreaker() && d.fairShare(err))
}
