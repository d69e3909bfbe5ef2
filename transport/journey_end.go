package transport

import (
	"net/netip"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A snapshot is how far a journey had come when it ended.
type snapshot struct {
	connected bool // a connection was there
	reused    bool // and was not a new one
	addr      netip.AddrPort
	wrote     bool          // the whole request was sent
	waited    time.Duration // for headers, since then
	began     time.Time     // the use of the connection
	used      *conn         // which may be nil all the same
	dial      *dialState    // nil: no dial was begun
	dialing   bool          // and it goes on
	tunnel    bool          // it was to a proxy, which has said yes to CONNECT
	elapsed   hostwise.Elapsed
	dialErr   error // or it failed with this
	gaveUp    bool  // the deadline was near
	sending   error // the request's own body failed with this
	stalled   bool  // the server's time was up
	refused   bool  // which it has spent refusing HTTP/2 streams
	awaited   bool  // it was the server's turn: to take the request, or to answer
}

// arrived stops the user's hooks. It returns the connection that the response
// has come over, if it is one of ours, and when it was obtained.
func (j *journey) arrived() (c *conn, since time.Time) {
	defer j.enterHooks()()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.finish()
	return j.used, j.gotAt
}

// finish tells those who ask that the request is over. j.mu is held.
func (j *journey) finish() {
	if !j.over && j.ending != nil {
		close(j.ending)
	}
	j.awaitOthers()
	j.over = true
	if j.tooMany {
		j.leave()
	}
	for _, c := range j.dialled {
		j.letGo(c)
	}
	j.dialled = nil
}

// letGo leaves a connection made for the request to others. j.mu is held.
func (j *journey) letGo(c *conn) {
	if j.tooMany { // its like have served nobody
		j.conns.discard(c)
	} else {
		j.conns.abandon(c)
	}
}

// made notes a connection made for the request. It reports whether the
// request still waits.
func (j *journey) made(c *conn) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case c == nil:
	case j.over:
		j.letGo(c)
	default:
		if j.dialled == nil {
			j.dialled = j.room[:0]
		}
		j.dialled = append(j.dialled, c)
	}
	return !j.over
}

// ended returns a channel that is closed when the request is over.
func (j *journey) ended() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ending == nil {
		j.ending = make(chan struct{})
		if j.over {
			close(j.ending)
		}
	}
	return j.ending
}

// end stops the user's hooks and says how far the journey has come.
func (j *journey) end() snapshot {
	defer j.enterHooks()()
	j.mu.Lock()
	defer j.mu.Unlock()
	s := snapshot{connected: !j.gotAt.IsZero(), reused: j.reused, addr: j.addr(), dial: j.dial, tunnel: !j.tunnel.IsZero(), gaveUp: j.gaveUp}
	s.stalled, s.refused, s.awaited = j.patience.stalled, j.patience.refused, !j.patience.until.IsZero()
	s.elapsed = j.elapsed(time.Now())
	if j.body != nil {
		s.sending = j.body.failure()
	}
	if s.connected {
		s.began, s.used = j.gotAt, j.used
		if s.wrote = !j.wroteAt.IsZero() && s.sending == nil; s.wrote {
			s.waited, s.began = time.Since(j.wroteAt), j.wroteAt
		}
	} else if j.dial != nil {
		s.dialing, s.dialErr = j.dial.status()
	}
	j.finish() // only now, since it ends the dial
	return s
}

// elapsed is how long each phase has taken until now, but for the body. j.mu
// is held.
func (j *journey) elapsed(now time.Time) (e hostwise.Elapsed) {
	connected := now // or until it failed to be
	if !j.gotAt.IsZero() {
		connected = j.gotAt
		e.Request = now.Sub(connected)
	}
	if j.dial == nil || j.reused && !j.gotAt.IsZero() {
		e.Wait = connected.Sub(j.start)
		return e
	}
	d, end := j.dial.elapsed()
	d.Request = e.Request
	switch rest := connected.Sub(end); { // net/http's own part
	case rest <= 0 || j.proxy == nil:
	case j.tunnel.IsZero():
		d.Connect += rest
	default:
		d.Connect += j.tunnel.Sub(end)
		d.TLS += connected.Sub(j.tunnel)
	}
	return d
}
