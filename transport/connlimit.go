package transport

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hostwise-go/hostwise/internal/failure"
)

// connLimit bounds the connections of a Transport. It knows which of them no
// request uses: when somebody waits for room, the one that was not used for
// the longest time is closed. net/http's own bound on idle connections does
// not count those of HTTP/2.
type connLimit struct {
	slots chan struct{} // nil: no bound
	open  atomic.Int64

	mu      sync.Mutex            // protects what follows, and the conns' users, place, evicted and gone
	waiting int                   // dials in acquire
	idle    list.List             // of *conn that have been idle, the last to become so at the back; some are in use again
	closed  bool                  // no connection is kept any longer
	spares  int                   // further attempts that may begin
	wanting map[*mailbox]struct{} // of the dials to be told when one may
}

// newConnLimit returns a bound of n connections, 0 for none, and of so many
// attempts to connect beside the first one of each dial.
func newConnLimit(n, spares int) *connLimit {
	l := &connLimit{spares: spares, wanting: map[*mailbox]struct{}{}}
	if n > 0 {
		l.slots = make(chan struct{}, n)
	}
	return l
}

// acquire waits for room for one more connection, as long as it is wanted,
// and until there is news of its host.
func (l *connLimit) acquire(ctx context.Context, unwanted, closing, news <-chan struct{}) error {
	if l.tryAcquire() {
		return nil
	}
	l.wait(+1)
	defer l.wait(-1)
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return failure.Context(ctx)
	case <-unwanted:
		return context.Canceled
	case <-closing:
		return errClosed
	case <-news:
		return errNews
	}
	l.open.Add(1)
	return nil
}

// tryAcquire takes room for one more connection, if there is some.
func (l *connLimit) tryAcquire() bool {
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
		default:
			return false
		}
	}
	l.open.Add(1)
	return true
}

// wait counts those who wait, and makes room for one more.
func (l *connLimit) wait(n int) {
	l.mu.Lock()
	l.waiting += n
	var victim *conn
	for e := l.idle.Front(); n > 0 && victim == nil && e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.users == 0 && !c.evicted {
			victim, c.evicted = c, true
		}
	}
	l.mu.Unlock()
	if victim != nil {
		victim.Close()
	}
}

// release gives back the room of a connection that was closed.
func (l *connLimit) release(c *conn) {
	l.mu.Lock()
	c.gone = true
	if c.place != nil {
		l.idle.Remove(c.place)
		c.place = nil
	}
	l.mu.Unlock()
	l.giveBack()
}

// giveBack gives back room that became no connection.
func (l *connLimit) giveBack() {
	l.open.Add(-1)
	if l.slots != nil {
		<-l.slots
	}
}

// takeSpare takes room for an attempt to connect beside another. If there is
// none, it has m get an event as soon as there may be.
func (l *connLimit) takeSpare(m *mailbox) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spares == 0 {
		l.wanting[m] = struct{}{}
		return false
	}
	l.spares--
	return true
}

// forget is for a dial that is over.
func (l *connLimit) forget(m *mailbox) {
	l.mu.Lock()
	delete(l.wanting, m)
	l.mu.Unlock()
}

// giveSpare gives it back.
func (l *connLimit) giveSpare() {
	l.mu.Lock()
	l.spares++
	var wanting map[*mailbox]struct{}
	if len(l.wanting) > 0 {
		wanting, l.wanting = l.wanting, map[*mailbox]struct{}{}
	}
	l.mu.Unlock()
	for m := range wanting { // all: a dial may be over, or need it no more
		m.post(&event{room: true})
	}
}

// use notes that a request uses c, which net/http has given it. It reports
// false if c was chosen to make room meanwhile: nothing can be sent over it.
func (l *connLimit) use(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.evicted {
		return false
	}
	c.users++
	c.claimed = true
	return true
}

// abandon notes that the request a connection was made for needs it no more.
// If it is no other's, it is idle: net/http keeps it for the next.
func (l *connLimit) abandon(c *conn) {
	l.mu.Lock()
	if c.claimed {
		l.mu.Unlock()
		return
	}
	c.claimed = true
	c.users++
	l.mu.Unlock()
	l.leave(c)
}

// discard closes c, unless a request uses it.
func (l *connLimit) discard(c *conn) {
	l.mu.Lock()
	unused := c.users == 0 && !c.evicted
	if unused {
		c.claimed, c.evicted = true, true
	}
	l.mu.Unlock()
	if unused {
		c.Close()
	}
}

// mute has the next request on c fail, unless others use it. net/http closes it
// then. Closed here, it would have net/http try again with another, after a
// pause.
func (l *connLimit) mute(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.users == 0 && !c.evicted {
		c.claimed, c.evicted = true, true
		c.muted.Store(true)
	}
}

// isGone reports whether c is closed.
func (l *connLimit) isGone(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.gone
}

// spoil has c closed when its request leaves it, unless it is others', too:
// net/http has given it away, and will not take it back.
func (l *connLimit) spoil(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.users == 1 {
		c.evicted = true
	}
}

// leave notes that a request is done with c.
func (l *connLimit) leave(c *conn) {
	l.mu.Lock()
	c.users--
	switch {
	case c.users > 0, c.gone:
	case l.waiting > 0 || l.closed:
		c.evicted = true
	case c.place == nil:
		c.place = l.idle.PushBack(c)
	default:
		l.idle.MoveToBack(c.place)
	}
	evicted := c.evicted
	l.mu.Unlock()
	if evicted {
		c.Close()
	}
}

// close closes the connections that are not used, now and from now on. Some
// of them net/http knows no more, though it has them open: those of HTTP/2
// servers that have sent GOAWAY.
func (l *connLimit) close() {
	l.mu.Lock()
	l.closed = true
	var unused []*conn
	for e := l.idle.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.users == 0 {
			c.evicted = true
			unused = append(unused, c)
		}
	}
	l.mu.Unlock()
	for _, c := range unused {
		c.Close()
	}
}

// connOf is the connection of a Transport that net/http speaks of; nil if it
// is none of them.
func connOf(nc net.Conn) *conn {
	for { // TLS to an HTTPS host through an HTTPS proxy is TLS twice
		t, ok := nc.(*tls.Conn)
		if !ok {
			c, _ := nc.(*conn)
			return c
		}
		nc = t.NetConn()
	}
}
