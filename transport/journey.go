package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// A journey is what is known of one request on its way. It travels in the
// request's context, since net/http dials on a context that has the
// request's values but neither its deadline nor its cancellation.
type journey struct {
	context.Context // the request's own
	key             string
	start           time.Time
	proxy           *url.URL // set before the inner round trip, nil: direct
	permit          *permit  // of the breaker; nil for a healthy host
	pool            *pool    // set before the inner round trip
	host            string   // in it: its poolKey
	onlyHTTP1       bool
	conns           *connLimit
	maxDials        int         // 0: no bound
	calls           *hook.Group // of the caller's functions
	trace           httptrace.ClientTrace

	hooks chan struct{}   // serialises the user's trace hooks with each other and with end: full while one runs; nil without any
	inner context.Context // of the inner round trip

	getConn func(hostPort string) // the user's hook; may be nil

	cancelable bool // inner can be ended before the request's own context

	mu      sync.Mutex    // protects what follows
	body    *requestBody  // nil: none, or one that cannot fail
	over    bool          // RoundTrip is about to return: no hook after this
	ending  chan struct{} // closed then; nil while nobody has asked for it
	dials   int
	dial    *dialState // the latest
	tunnel  time.Time  // when the proxy has said yes to CONNECT; zero: not yet
	dialled []*conn    // connections made for the request, which net/http may give to another
	room    [1]*conn   // for those of most requests
	gotAt   time.Time  // when the connection was obtained
	wroteAt time.Time  // when the request was written to it; zero: not yet
	conn    net.Conn
	used    *conn // the same, until the request is done with it
	free    int   // dials that do not count, one for each such connection
	evicted bool  // the same was closed, to make room, before the request could use it
	reused  bool
	gaveUp  bool // giveUpTimer has ended the request
	tooMany bool // dials

	patience patience
}

type journeyKey struct{}

// Value makes the journey its own context value.
func (j *journey) Value(key any) any {
	if key == (journeyKey{}) {
		return j
	}
	return j.Context.Value(key)
}

func journeyOf(ctx context.Context) *journey {
	j, _ := ctx.Value(journeyKey{}).(*journey)
	return j
}

// traced returns the journey as a context that tells when net/http has a
// connection for the request.
func (j *journey) traced() context.Context {
	if user := j.user(); user != nil {
		return j.withTrace(user)
	}
	j.trace.GotConn, j.trace.WroteRequest = j.gotConn, j.wroteRequest
	return httptrace.WithClientTrace(j, &j.trace)
}

func (j *journey) gotConn(i httptrace.GotConnInfo) {
	defer j.enterHooks()() // the user's GotConn comes next, and no hook of a dial after that
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leave()
	c := connOf(i.Conn)
	switch {
	case i.Reused && (i.Conn == j.conn || j.patience.stalled) && j.isRefused() && c != nil:
		j.conns.mute(c)
	case !i.Reused || j.patience.until.IsZero():
		j.patience.acked = 0
		j.awaitServer()
	}
	j.gotAt, j.wroteAt, j.conn, j.reused = time.Now(), time.Time{}, i.Conn, i.Reused
	if c != nil && j.proxy != nil {
		c.SetDeadline(time.Time{}) // the proxy has done its part
	}
	j.evicted = c != nil && !j.conns.use(c)
	switch {
	case j.evicted:
		j.free++
	case c != nil:
		j.used = c
	}
}

// roundTrip is one try at the request.
func (j *journey) roundTrip(r *http.Request) (*http.Response, error) {
	if j.getConn != nil {
		hostPort := j.key
		if j.proxy != nil {
			hostPort = failure.HostPort(j.proxy)
		}
		j.getConn(hostPort)
	}
	return j.pool.RoundTrip(r)
}

// wroteRequest starts the host's time for an answer: until then the caller's
// body was under way.
func (j *journey) wroteRequest(i httptrace.WroteRequestInfo) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i.Err == nil {
		j.wroteAt = time.Now()
		if j.body != nil && j.body.failure() == nil && !j.patience.refused {
			j.awaitServer()
		}
	}
}

// mayRepeat reports whether an attempt at the request failed before anything was
// sent, only because its connection had been closed to make room for others:
// net/http takes care of that for HTTP/1 alone. Or it failed with err because
// the connection was still being taken from a request that has ended, and may be
// sent twice.
func (j *journey) mayRepeat(method string, err error) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	evicted := j.evicted
	j.evicted = false // once for each
	foreign := isForeign(err, j.reused) && (method == "" || method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions)
	return (evicted || foreign) && j.Err() == nil && !j.gaveUp && !j.patience.stalled
}

// isForeign reports whether a request that goes on has failed because another
// one, which had the connection before, has closed it at its own end.
func isForeign(err error, reused bool) bool {
	return errors.Is(err, errGaveUp) || errors.Is(err, errStalled) || reused && (err == context.Canceled || errors.Is(err, net.ErrClosed))
}

// errForeign is the cause of such a failure.
var errForeign = fmt.Errorf("another request has closed the connection at its end: %w", net.ErrClosed)

// rewind gives r its body from the beginning, if that is possible.
func (j *journey) rewind(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if r.GetBody == nil {
		return false
	}
	b, err := r.GetBody()
	if err != nil {
		return false
	}
	r.Body = b
	return true
}

// watch has the journey know how reading r's body fails, if it can, and that of
// each copy which is sent in its place.
func (j *journey) watch(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	inMemory := isInMemory(r.Body)
	if inMemory && r.ContentLength <= smallBody {
		return
	}
	watched := func(b io.ReadCloser) io.ReadCloser {
		w := &requestBody{ReadCloser: b, j: j, guarded: !inMemory}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.body = w
		return w
	}
	r.Body = watched(r.Body)
	if another := r.GetBody; another != nil {
		r.GetBody = func() (io.ReadCloser, error) {
			b, err := another()
			if err != nil {
				return nil, err
			}
			return watched(b), nil
		}
	}
}

// leave ends the use of a connection. j.mu is held.
func (j *journey) leave() {
	if j.used != nil {
		j.conns.leave(j.used)
		j.used = nil
	}
}

// cut closes the connection, whoever else uses it.
func (j *journey) cut() {
	j.mu.Lock()
	c := j.used
	j.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// done says that the request needs its connection no more.
func (j *journey) done() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leave()
}

// abandon ends a request that returns neither a response nor an error.
func (j *journey) abandon() {
	j.end()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.used != nil {
		j.conns.spoil(j.used)
	}
	j.leave()
}

// addr is the server's address, as far as it is known. j.mu is held.
func (j *journey) addr() (a netip.AddrPort) {
	if j.conn != nil && j.proxy == nil {
		if remote := j.conn.RemoteAddr(); remote != nil {
			a, _ = netip.ParseAddrPort(remote.String())
		}
	}
	return a
}

const (
	leastLead = 10 * time.Millisecond
	leadShare = 100 // of the time there was
)

// errGaveUp is the cause of a request context that giveUpTimer ended.
var errGaveUp = errors.New("gave up shortly before the deadline")

// begun returns the context of the inner round trip. If there is a deadline,
// giveUp ends it shortly before, when no headers have come by then; else
// giveUp is nil. If there is a body, stall may end it, too. Else the request's
// own context is all that does.
func (j *journey) begun(body bool) (_ context.Context, _ context.CancelCauseFunc, giveUp *time.Timer) {
	deadline, ok := j.Deadline()
	body = body && j.patience.most > 0
	if !ok && !body {
		j.inner = j.traced()
		return j.inner, func(error) {}, nil
	}
	ctx, cancel := context.WithCancelCause(j.traced())
	j.inner, j.cancelable = ctx, true
	if body {
		j.patience.cancel = cancel
	}
	if !ok {
		return ctx, cancel, nil
	}
	left := time.Until(deadline)
	lead := min(max(leastLead, left/leadShare), left/2)
	return ctx, cancel, time.AfterFunc(left-lead, func() {
		j.giveUp()
		cancel(errGaveUp)
	})
}

// giveUp notes that the time is up.
func (j *journey) giveUp() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gaveUp = true
}

// begin counts a dial. It refuses one too many: an HTTP/2 server that sends
// GOAWAY on every connection would otherwise have net/http dial for ever.
func (j *journey) begin(d *dialState) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.patience.stalled {
		return &hostwise.RequestError{Host: j.key, Kind: hostwise.H2RefusedStream, Phase: hostwise.PhaseRequest, Err: errStalled}
	}
	if j.free > 0 { // in place of a connection that was good
		j.free--
	} else {
		j.dials++
	}
	if j.maxDials > 0 && j.dials > j.maxDials {
		j.tooMany = true
		return &hostwise.RequestError{Host: j.key, Kind: hostwise.TooManyDials, Phase: hostwise.PhaseRequest}
	}
	if j.used == nil || j.conns.isGone(j.used) { // else net/http has found another's connection meanwhile
		j.dial, j.tunnel = d, time.Time{}
		j.gotAt = time.Time{}
		j.awaitOthers()
	}
	return nil
}

// goesOn notes that another dial has taken the place of one.
func (j *journey) goesOn(before, after *dialState) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dial == before {
		j.dial = after
	}
}

// tunnelled notes that the proxy has said yes to CONNECT.
func (j *journey) tunnelled() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tunnel = time.Now()
}

// isOver reports whether RoundTrip no longer waits.
func (j *journey) isOver() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.over
}

// enterHooks waits until none of the user's hooks of a dial runs, and returns
// what lets the next one run. One that does not return holds the request up as
// long as its context lives.
func (j *journey) enterHooks() (leave func()) {
	if j.hooks == nil {
		return noop
	}
	select {
	case j.hooks <- struct{}{}:
		return func() { <-j.hooks }
	case <-j.inner.Done():
		return noop
	}
}

func noop() {}

// hook runs one of the user's trace hooks, if the request still waits for a
// connection.
func (j *journey) hook(user *httptrace.ClientTrace, run func(*httptrace.ClientTrace)) {
	j.hooks <- struct{}{}
	defer func() { <-j.hooks }()
	j.mu.Lock()
	waits := !j.over && j.gotAt.IsZero()
	j.mu.Unlock()
	if waits {
		run(user)
	}
}

// chosenProxy is the inner transport's Proxy: the choice has been made.
func chosenProxy(r *http.Request) (*url.URL, error) {
	if j := journeyOf(r.Context()); j != nil {
		return j.proxy, nil
	}
	return nil, nil
}
