package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// A Transport is an http.RoundTripper. It is safe for concurrent use, and
// meant to be shared: what it learns about names and hosts serves all.
type Transport struct {
	opt       Options
	guard     guard
	original  http.RoundTripper // for schemes other than http and https
	pools     *pools            // keep and use the connections
	proxy     func(*http.Request) (*url.URL, error)
	resolver  Resolver
	ownsRes   *dnscache.Resolver // to be closed with the Transport; may be nil
	dial      dialFunc           // connects to an ip:port
	system    bool               // dial is this system's own
	plain     bool               // and calls no function of the caller's
	routes    *routes            // nil when dial does not go by them
	breaker   *breaker
	contacts  contacts
	addresses *addresses
	history   *happyeyeballs.History
	hedges    hedges
	budget    hedgeBudget
	outage    *outage
	conns     *connLimit
	timers    readTimers
	counters  counters
	calls     hook.Group // of the caller's functions

	mu      sync.Mutex         // orders what begins and Close; protects races
	closing chan struct{}      // closed by Close
	wg      sync.WaitGroup     // what has begun: see begin
	races   map[*dial]struct{} // under way
}

// New returns a Transport that keeps its connections in a clone of base; a
// nil base means a clone of http.DefaultTransport with shorter time-outs.
// base is not changed. Its DialContext remains the way to connect to the
// addresses that the Transport chooses. What base leaves open is bounded: see
// the package's section on bounds.
// Requests for schemes other than http and https go to base itself (or to
// http.DefaultTransport). New fails if base has a DialTLSContext, if an option
// is out of range, or if Resolver is nil and the system's nameservers cannot
// be read.
func New(base *http.Transport, o *Options) (*Transport, error) {
	original := http.RoundTripper(base)
	if base == nil {
		base, original = crawlerBase(), http.DefaultTransport
	}
	opt, err := o.withDefaults(base)
	if err != nil {
		return nil, err
	}
	inner, err := innerTransport(base, &opt)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		opt: opt, original: original, proxy: inner.Proxy, resolver: opt.Resolver, dial: baseDial(base),
		addresses: newAddresses(), history: happyeyeballs.NewHistory(), closing: make(chan struct{}), races: map[*dial]struct{}{},
		contacts: contacts{hosts: map[string]*contact{}}, hedges: hedges{hosts: map[string][]*mailbox{}}, conns: newConnLimit(opt.MaxConns, opt.spares()),
	}
	if t.guard, err = newGuard(opt.PublicOnly, opt.Guard, &t.calls); err != nil {
		return nil, err
	}
	t.breaker, t.outage = newBreaker(opt.Breaker, &t.calls), newOutage(opt.OnOutage, opt.DisableOutageDetection, &t.calls)
	t.contacts.breaker = t.breaker
	if t.dial == nil || isStandard(t.dial) {
		t.dial, t.plain = t.guard.newDialer().DialContext, opt.Guard.Check == nil
	}
	if t.system = usesRoutes(t.dial); t.system {
		t.routes = &routes{}
	}
	if t.resolver == nil {
		if t.ownsRes, err = dnscache.New(nil); err != nil {
			return nil, err
		}
		t.resolver = t.ownsRes
	}
	t.counters.failures = map[hostwise.Kind]uint64{}
	guardTLS(&t.calls, inner.TLSClientConfig)
	inner.Proxy = chosenProxy
	inner.DialContext = t.dialForRequest
	inner.DialTLSContext = t.dialTLSForRequest
	inner.OnProxyConnectResponse = t.proxyAnswer(inner.OnProxyConnectResponse)
	inner.GetProxyConnectHeader = t.proxyHeader(inner.GetProxyConnectHeader)
	t.pools = newPools(inner, opt.MaxConns)
	return t, nil
}

// Wrap makes a Transport of c's transport, which must be nil or an
// *http.Transport, and installs it in c.
func Wrap(c *http.Client, o *Options) (*Transport, error) {
	base, ok := c.Transport.(*http.Transport)
	if c.Transport != nil && !ok {
		return nil, fmt.Errorf("transport: cannot wrap a client whose Transport is a %T; make one with New and put it below yours", c.Transport)
	}
	t, err := New(base, o)
	if err != nil {
		return nil, err
	}
	c.Transport = t
	return t, nil
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL != nil && req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		if t.guard.decides() {
			closeBody(req)
			return nil, &hostwise.DeniedError{Host: req.URL.Host, Rule: "scheme " + strconv.Quote(req.URL.Scheme) + ": the guard knows http and https only"}
		}
		return t.original.RoundTrip(req)
	}
	if req.URL == nil || req.URL.Host == "" || req.Header == nil {
		resp, err := t.pools.base.RoundTrip(req) // net/http has the words
		if err != nil && req.URL != nil && req.URL.Host == "" {
			err = &hostwise.RequestError{Kind: hostwise.BadURL, Err: err}
		}
		return resp, err
	}
	t.counters.requests.Add(1)
	resp, err := t.roundTrip(req)
	if err != nil {
		t.breaker.changes.tell()
		t.counters.failed(hostwise.KindOf(err))
		return nil, err
	}
	t.counters.responses.Add(1)
	return resp, nil
}

func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	key := failure.HostPort(req.URL)
	ctx := req.Context()
	err := failure.Context(ctx)
	if err == nil {
		err = t.closed()
	}
	if err != nil {
		closeBody(req)
		return nil, &hostwise.RequestError{Host: key, Kind: contextKind(err, hostwise.Deadline), Err: err}
	}
	if denied := t.guard.deniesPort(key); denied != nil {
		closeBody(req)
		return nil, denied
	}
	permit, down := t.breaker.allow(key, time.Now())
	if down != nil {
		closeBody(req)
		return nil, down
	}
	j := &journey{Context: ctx, key: key, start: time.Now(), permit: permit, onlyHTTP1: requiresHTTP1(req), conns: t.conns, maxDials: t.opt.MaxDialsPerRequest, calls: &t.calls}
	j.patience.most = t.opt.ResponseHeaderTimeout
	own, cancel, giveUp := j.begun(req.Body != nil && req.Body != http.NoBody)
	var resp *http.Response
	ended := false
	defer func() {
		if !ended { // a function of the caller's has panicked, or ended the goroutine
			if resp != nil {
				resp.Body.Close()
			}
			t.breaker.release(permit)
			j.abandon()
			if giveUp != nil {
				giveUp.Stop()
			}
			cancel(errAbandoned)
		}
	}()
	r := req.WithContext(own)
	j.watch(r)
	if err := t.chooseProxy(j, r); err != nil {
		closeBody(req)
		t.breaker.release(permit)
		if giveUp != nil {
			giveUp.Stop()
		}
		cancel(err)
		ended = true
		return nil, err
	}
	j.host = j.poolKey(req.URL.Scheme)
	j.pool = t.pools.enter(j.host)
	defer j.pool.leave(j.host)
	resp, err = j.roundTrip(r)
	for err != nil && j.mayRepeat(req.Method, err) {
		r = r.WithContext(own) // a copy: net/http may not be done with the other
		if !j.rewind(r) {
			break
		}
		resp, err = j.roundTrip(r)
	}
	if giveUp != nil && !giveUp.Stop() && err == nil {
		// The time was up just when the headers came, and the body is
		// cut off, or about to be.
		resp.Body.Close()
		j.giveUp()
		err = errGaveUp
	}
	if err == nil && j.hasStalled() { // just when the headers came
		resp.Body.Close()
		err = errStalled
	}
	if err != nil {
		cancel(err)
		err = t.failed(j, err)
		j.done()
		ended = true
		return nil, err
	}
	t.answered(j, resp)
	t.breaker.changes.tell()
	resp.Request = req
	if c, since := j.arrived(); c != nil && !t.isLocal(c.addr.Addr()) {
		t.success(since)
	}
	resp.Body = t.newBody(resp, j, cancel)
	ended = true
	return resp, nil
}

// failed makes the error of a request, and charges the host for it unless
// the dial has done so, or will.
func (t *Transport) failed(j *journey, err error) error {
	s := j.end()
	err, cut := j.explain(err, s)
	if s.stalled && s.used != nil { // HTTP/2 would keep it for the next
		t.conns.spoil(s.used)
	}
	switch {
	case j.proxy != nil: // whose account the dial settles; the host's failures cannot be told from the proxy's
		t.breaker.release(j.permit)
	case s.dialing || s.dialErr != nil: // the dial does it
	case s.connected && ledgerOf(err) == ledgerHost && !(s.reused && isStale(err)) && !(cut && s.waited < fairHeaders):
		if s.used != nil && t.isLocal(s.used.addr.Addr()) {
			s.began = time.Time{}
		}
		t.failure(j.key, err, j.permit, s.began, s.waited, true)
	default:
		t.breaker.release(j.permit)
	}
	if hostwise.ElapsedOf(err) == (hostwise.Elapsed{}) { // else the dial has said it
		err = withElapsed(err, s.elapsed)
	}
	return err
}

// answered settles the host's account when response headers have come.
func (t *Transport) answered(j *journey, resp *http.Response) {
	o := &t.opt.Breaker
	host := j.proxy == nil || resp.Request.URL.Scheme == "https" // else it may be the proxy that answers
	if host && o.HonorRetryAfter {
		if now := time.Now(); t.breaker.pause(j.key, now, retryAfter(resp, now), j.permit) {
			t.contacts.changed(j.key)
			return
		}
	}
	if host && slices.Contains(o.TripOn, resp.StatusCode) {
		j.mu.Lock()
		e := &hostwise.RequestError{Host: j.key, Addr: j.addr(), Kind: hostwise.HTTPStatus, Phase: hostwise.PhaseRequest, Err: errors.New(resp.Status)}
		var took time.Duration
		if !j.wroteAt.IsZero() {
			took = time.Since(j.wroteAt)
		}
		j.mu.Unlock()
		t.charge(j.key, e, took, j.permit)
		return
	}
	t.breaker.success(j.key, j.permit)
}

// charge puts a failure, after which a request had waited so long, on a
// host's account.
func (t *Transport) charge(key string, err error, took time.Duration, p *permit) {
	if t.breaker.failure(key, time.Now(), err, took, t.history.Reached(key), p, 0) {
		t.contacts.changed(key)
	}
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.pools.closeIdle() }

// Close ends the dials in progress and closes idle connections, and the
// resolver if New made it. Requests being answered go on; later ones fail.
// It waits for the base's DialContext, for a Resolver of the caller's, for
// Guard.Check and for handshakes, whose contexts it ends: they, and the functions
// of the TLSClientConfig, must not call it. Hooks may. It returns nil.
func (t *Transport) Close() error {
	var cancels []context.CancelFunc
	t.mu.Lock()
	if t.closed() == nil {
		close(t.closing)
		for d := range t.races {
			cancels = append(cancels, d.cancel)
		}
	}
	t.mu.Unlock()
	for _, cancel := range cancels { // not under mu, as with what follows: methods of the caller's contexts and connections
		cancel()
	}
	t.conns.close()
	t.pools.closeIdle()
	t.wg.Wait()
	if t.ownsRes != nil {
		return t.ownsRes.Close()
	}
	return nil
}

// start runs f on a goroutine that Close waits for; after Close, not at all.
func (t *Transport) start(f func()) {
	if t.begin() {
		go func() {
			defer t.wg.Done()
			f()
		}()
	}
}

// begin reports whether a goroutine, or an attempt on one, may begin. It ends
// with t.wg.Done.
func (t *Transport) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed() != nil {
		return false
	}
	t.wg.Add(1)
	return true
}

// raceBegins has Close end d's attempts, until raceEnds.
func (t *Transport) raceBegins(d *dial) {
	t.mu.Lock()
	closed := t.closed() != nil
	if !closed {
		t.races[d] = struct{}{}
	}
	t.mu.Unlock()
	if closed {
		d.cancel()
	}
}

func (t *Transport) raceEnds(d *dial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.races, d)
}

// closed returns an error once Close was called.
func (t *Transport) closed() error {
	select {
	case <-t.closing:
		return errClosed
	default:
		return nil
	}
}

var errClosed = fmt.Errorf("the transport is closed: %w", net.ErrClosed)

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// requiresHTTP1 reports whether req asks for a WebSocket, which only
// HTTP/1.1 can upgrade to; net/http decides in the same way.
func requiresHTTP1(req *http.Request) bool {
	return len(req.Header["Upgrade"]) > 0 && strings.EqualFold(req.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(req.Header.Get("Connection")), "upgrade")
}
