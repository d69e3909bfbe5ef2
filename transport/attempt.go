package transport

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// attempt connects to one address and, for https, shakes hands.
func (d *dial) attempt(i int, a netip.AddrPort) {
	growStack()
	if c := d.reach(i, a); c != nil {
		d.shake(i, c)
	}
}

// reach connects. For https it returns the connection, and the handshake is to
// follow; else that was the attempt.
func (d *dial) reach(i int, a netip.AddrPort) (shaking *conn) {
	ev := event{attempt: i, addr: a}
	var raw net.Conn
	var err error
	returned := false
	defer func() {
		if !returned { // DialContext, or a method of its connection or error
			ev.err = d.t.calls.Recovered(recover())
			if raw != nil {
				raw.Close()
			}
		}
		if shaking == nil {
			d.attempted(&ev)
		}
	}()
	start := time.Now()
	d.state.runs(i, start)
	raw, err = d.connect(a)
	took := time.Since(start)
	if err == nil && raw == nil {
		err = errors.New("the base transport's DialContext returned neither a connection nor an error")
	}
	if err == nil || isAnswer(err) { // also when nobody waits for it any more
		d.t.addresses.answered(a)
	}
	if err != nil {
		ev.err = failure.Route(err, a.String(), d.t.system)
		returned = true
		return nil
	}
	c := &conn{Conn: raw, addr: a}
	ev.repeated = took >= soonestRepetition && retransmitted(raw)
	ev.connected, returned = true, true
	if d.tls != nil {
		d.events.post(&ev)
		return c
	}
	ev.conn, ev.established = c, true
	return nil
}

// shake does the TLS handshake.
func (d *dial) shake(i int, c *conn) {
	ev := event{attempt: i, addr: c.addr, established: true}
	returned := false
	defer func() {
		if !returned { // a function of the TLSClientConfig
			ev.err = d.t.calls.Recovered(recover())
		}
		if ev.err != nil {
			c.Conn.Close()
		} else {
			ev.conn = c
		}
		d.attempted(&ev)
	}()
	c.tls = tls.Client(c, d.tls)
	ctx, cancel := context.WithTimeout(d.ctx, d.t.opt.TLSHandshakeTimeout)
	defer cancel()
	if err := c.tls.HandshakeContext(ctx); err != nil {
		ev.err = plainHTTP(err)
	}
	returned = true
}

// attempted posts the end of an attempt.
func (d *dial) attempted(ev *event) {
	defer d.t.wg.Done()
	if taken := d.events.post(ev); !taken || ev.conn == nil {
		d.socketClosed()
	}
}

// growStack gives a goroutine at once the stack that a dial needs: to grow in
// the midst of it takes as long as a third of this package's own work.
//
//go:noinline
func growStack() {
	var frame [4 << 10]byte
	runtime.KeepAlive(&frame)
}

// connect connects to one address, until the dial's end at most.
func (d *dial) connect(a netip.AddrPort) (net.Conn, error) {
	network := tcp(a.Addr())
	if d.t.keepsDeadline() {
		return d.t.dial(&d.connects, network, a.String())
	}
	ctx, cancel := context.WithDeadline(d.ctx, d.connects.deadline)
	defer cancel()
	return d.t.dial(ctx, network, a.String())
}

// tcp is the network to dial an address of.
func tcp(a netip.Addr) string {
	if happyeyeballs.Of(a) == happyeyeballs.IPv4 {
		return "tcp4"
	}
	return "tcp6"
}

// keepsDeadline reports whether dial ends at its context's Deadline by
// itself, as package net's does, without a timer that cancels the context.
func (t *Transport) keepsDeadline() bool { return t.routes != nil }

// until is a context with a deadline for those who look at it, and with the
// host for the guard of the socket.
type until struct {
	context.Context
	deadline time.Time
	dial     *dial
}

func (c *until) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *until) Value(key any) any {
	if key == (guardedKey{}) {
		return c.dial.guarded()
	}
	return c.Context.Value(key)
}

// soonestRepetition is the time before which no SYN is sent again, however
// the system is tuned: Linux's minimum for data.
const soonestRepetition = 200 * time.Millisecond

// conn is a connection that tells when it is closed.
type conn struct {
	net.Conn
	addr   netip.AddrPort
	tls    *tls.Conn  // over this connection, if any
	limit  *connLimit // set when the connection is handed out, nil before
	pool   *pool      // that it is in; nil: a user's own
	host   string     // in it
	closed sync.Once  // Conn
	told   sync.Once  // limit and pool, after that
	muted  atomic.Bool

	// connLimit.mu protects what follows.
	claimed bool          // a request has had it, or will have none of it
	users   int           // requests on it
	place   *list.Element // in connLimit.idle, once it has been idle
	evicted bool          // closed by connLimit, or about to be
	gone    bool          // closed, and its room given back
}

func (c *conn) Write(b []byte) (int, error) {
	if c.muted.Load() {
		return 0, errStalled
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	err := net.ErrClosed
	c.closed.Do(func() { err = c.Conn.Close() })
	if c.limit != nil {
		c.told.Do(func() {
			c.limit.release(c)
			if c.pool != nil {
				c.pool.leave(c.host)
			}
		})
	}
	return err
}

// CloseWrite ends the sending side, as that of a *net.TCPConn.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn implements syscall.Conn, for socket options.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// plainHTTP says of a server that answers a TLS handshake in plain HTTP what
// http.Client would have said, had it seen the error first.
func plainHTTP(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" {
		return &schemeMismatch{record}
	}
	return err
}

type schemeMismatch struct{ record tls.RecordHeaderError }

func (e *schemeMismatch) Error() string   { return http.ErrSchemeMismatch.Error() }
func (e *schemeMismatch) Unwrap() []error { return []error{http.ErrSchemeMismatch, e.record} }

// isCertificate reports whether a handshake failed over the certificate.
func isCertificate(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &hostname)
}

// An event is an answer of the resolver, news of an attempt, or of another
// dial's hedge.
type event struct {
	// An answer: one family's addresses, or its error.
	answer bool
	family happyeyeballs.Family
	// There may be room for another attempt.
	room bool
	// The hedge that was waited for has ended; addr is that of its winner,
	// or zero.
	hedge bool
	// News: connected (a handshake follows), failed, or done; without a
	// handshake, connected and done.
	connected   bool
	repeated    bool // connected, but not at the first SYN
	established bool // failed or done: it had connected

	addrs   []netip.Addr
	attempt int
	addr    netip.AddrPort
	conn    *conn
	err     error // of an answer, or of news
}

// A mailbox carries events to the loop of a dial. Posting never blocks, and
// what comes after the loop has ended is thrown away.
type mailbox struct {
	ready chan struct{} // holds a token while there are events

	mu     sync.Mutex // protects what follows
	events []event
	closed bool
	late   *atomic.Uint64
	room   [2]event // for the events of most dials
}

// open readies a zero mailbox.
func (m *mailbox) open() {
	m.ready = make(chan struct{}, 1)
	m.events = m.room[:0]
}

// post reports whether the loop will see ev.
func (m *mailbox) post(ev *event) bool {
	m.mu.Lock()
	closed, late := m.closed, m.late
	if !closed {
		m.events = append(m.events, *ev)
	}
	m.mu.Unlock()
	if closed {
		ev.discard(late)
		return false
	}
	select {
	case m.ready <- struct{}{}:
	default:
	}
	return true
}

// next sets ev to the oldest event, if there is one.
func (m *mailbox) next(ev *event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) == 0 {
		m.events = m.room[:0]
		return false
	}
	*ev, m.events = m.events[0], m.events[1:]
	return true
}

// close closes the connections that came too late, and those still to come.
// late counts them, unless it is nil. It returns how many there were.
func (m *mailbox) close(late *atomic.Uint64) (closed int) {
	m.mu.Lock()
	m.closed, m.late = true, late
	left := m.events
	m.events = nil
	m.mu.Unlock()
	for i := range left {
		left[i].discard(late)
		if left[i].conn != nil {
			closed++
		}
	}
	return closed
}

func (ev *event) discard(late *atomic.Uint64) {
	if ev.established && late != nil {
		late.Add(1)
	}
	if ev.conn != nil {
		ev.conn.Conn.Close()
	}
}
