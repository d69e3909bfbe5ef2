package dnscache

import (
	"context"
	"encoding/binary"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	minSockets     = 4                      // of one server, before one is shared
	maxSockets     = 16                     // of one server
	maxInFlight    = 256                    // queries on one socket
	socketQueries  = 4096                   // then it takes no more
	socketLifetime = 10 * time.Second       // then it takes no more
	maxForged      = 10                     // replies without a query on a socket: the query moves to TCP
	mostForged     = 1000                   // then the socket takes no more queries, and is closed once those on it are answered, or lost
	lostCheck      = 100 * time.Millisecond // between two looks for lost queries on a socket that takes no more
	receiveBuffer  = 1 << 20                // bytes: a burst of answers must not be lost
)

// A query is one message sent, or being sent, to one server for a flight.
type query struct {
	flight  *flight
	server  *server
	message []byte   // with an id, once it is on a connection
	room    [80]byte // of message, if it fits
	tcp     bool     // although the server speaks UDP
	plain   bool     // without EDNS, since it was answered FORMERR with
	sent    time.Time
	queued  atomic.Bool // waits for room: sent is still to be set
	recent  bool        // counts in socketPool.recent; server.mu protects it
	on      *inFlight   // the connection; nil over HTTPS
	id      uint16
	again   bool          // after BADCOOKIE
	doubted bool          // asked over TCP as well; server.mu protects it
	forged  uint64        // udpSocket.forged at the time of sending
	age     time.Duration // an HTTP cache has kept the reply for
	cancel  func()        // nil, or ends the exchange
	over    atomic.Bool   // answered, or nobody waits for its reply any more; set under server.mu
	done    atomic.Bool   // Hooks.QueryDone was called
}

// socketPool holds the UDP sockets of a server that take queries; server.mu
// protects it.
type socketPool struct {
	open    []*udpSocket
	opening bool        // one more
	recent  int         // queries sent of late, over UDP, without a reply
	grown   int         // by how much the window has, in 1/windowStep of a query
	waiting []*query    // all sockets are full, or the window is
	queued  atomic.Bool // some wait; set under server.mu
	idle    int         // of these, those that nobody waits for any more
}

// A udpSocket is a connected socket on a random port that serves many
// queries at a time. One goroutine reads it.
type udpSocket struct {
	inFlight // server.mu protects it
	conn     net.Conn
	expiry   time.Time
	forged   atomic.Uint64 // packets that answered no query
	lookAt   time.Time     // when retired: for queries that are lost; server.mu protects it
	doubtAt  uint64        // before forged is that, no query has seen enough of them; server.mu protects it
}

// sendUDP sends q over one of the server's sockets, or queues it until there
// is room: behind those that wait, unless it has waited itself.
func (r *Resolver) sendUDP(q *query, now time.Time, waited bool) error {
	s := q.server
	s.mu.Lock()
	if q.over.Load() {
		s.mu.Unlock()
		return nil
	}
	sock := s.pool.pick(now)
	opens := s.pool.takeOpening(sock)
	room := sock != nil && s.pool.recent < s.window()
	if !room || !waited && len(s.pool.waiting) > 0 {
		q.queued.Store(true)
		s.pool.waiting = append(s.pool.waiting, q)
		s.pool.queued.Store(true)
		s.mu.Unlock()
		r.addSocket(s, opens)
		if room {
			r.sendWaiting(s)
		}
		return nil
	}
	sock.register(q)
	q.forged = sock.forged.Load()
	q.recent = true
	s.pool.recent++
	s.mu.Unlock()
	_, err := sock.conn.Write(q.message)
	r.addSocket(s, opens)
	if err != nil {
		sock.remove(q)
	}
	return err
}

// takeOpening reports whether the caller is to have a socket opened, after
// the choice of one by pick. server.mu is held.
func (p *socketPool) takeOpening(picked *udpSocket) bool {
	n := len(p.open)
	if p.opening || n >= maxSockets || picked != nil && (n >= minSockets || picked.served == 0) {
		return false
	}
	p.opening = true
	return true
}

// addSocket has one more socket opened, if it is to be, and those that wait
// sent over it. If it cannot be had, and there is no other, they have failed.
func (r *Resolver) addSocket(s *server, opens bool) {
	if opens && !r.own(func() { r.opened(s, r.openSocket) }, nil) {
		r.opened(s, func(*server) (*udpSocket, error) { return nil, net.ErrClosed })
	}
}

func (r *Resolver) opened(s *server, open func(*server) (*udpSocket, error)) {
	fresh, err := open(s)
	now := time.Now()
	var failed []*query
	s.mu.Lock()
	s.pool.opening = false
	if err == nil {
		s.pool.open = append(s.pool.open, fresh)
	} else if s.pool.pick(now); len(s.pool.open) == 0 {
		failed = s.pool.takeWaiting(now)
	}
	s.mu.Unlock()
	for _, q := range failed {
		r.sendFailed(q, err)
	}
	r.sendWaiting(s)
}

// takeWaiting takes the queries that wait out of the queue. server.mu is
// held.
func (p *socketPool) takeWaiting(now time.Time) (all []*query) {
	all, p.waiting, p.idle = p.waiting, nil, 0
	p.queued.Store(false)
	for _, q := range all {
		q.leaveQueue(now)
	}
	return all
}

// leaveQueue notes that q is sent now, if anybody still waits for it.
func (q *query) leaveQueue(now time.Time) {
	if !q.over.Load() {
		q.sent = now
		q.queued.Store(false)
	}
}

// pick returns the socket with the most room, if any has room, and retires
// those that have served their time.
func (p *socketPool) pick(now time.Time) (best *udpSocket) {
	p.open = slices.DeleteFunc(p.open, func(u *udpSocket) bool {
		if !u.retired && (u.served >= socketQueries || now.After(u.expiry)) {
			u.retire()
		}
		return u.retired
	})
	for _, u := range p.open {
		if u.live < maxInFlight && (best == nil || u.live < best.live) {
			best = u
		}
	}
	return best
}

// retire takes the socket out of use. If it has nothing left to wait for, its
// reader is to close it at once. server.mu is held.
func (u *udpSocket) retire() {
	u.retired = true
	if len(u.pending) == 0 {
		_ = u.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// openSocket connects a new socket and starts its reader.
func (r *Resolver) openSocket(s *server) (*udpSocket, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout())
	defer cancel()
	conn, err := r.dial(ctx, "udp", s.addr)
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = c.SetReadBuffer(receiveBuffer) // the system's limit may be lower: then that
	}
	s.mu.Lock()
	s.cookies.moved(conn.LocalAddr())
	s.mu.Unlock()
	u := &udpSocket{inFlight: newInFlight(s), conn: conn, expiry: time.Now().Add(socketLifetime)}
	if !r.own(func() { r.readSocket(u) }, conn) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return u, nil
}

// readSocket delivers the socket's replies until it is retired and has
// nothing left to wait for.
func (r *Resolver) readSocket(u *udpSocket) {
	defer r.closeSocket(u)
	buf := make([]byte, 65535)
	_ = u.conn.SetReadDeadline(u.expiry)
	for {
		n, err := u.conn.Read(buf)
		now := time.Now()
		switch {
		case err == nil:
			r.received(u, buf[:n], now)
		case r.ctx.Err() != nil:
			return
		case isTimeout(err):
			_ = u.conn.SetReadDeadline(now.Add(r.timeout()))
		default: // an ICMP error: nobody listens there
			for _, q := range u.takeAll() {
				r.sendFailed(q, err)
			}
			r.sendWaiting(u.server)
			return
		}
		done, lost := u.finished(now, now.Add(-r.lookupTime()))
		for _, q := range lost {
			r.queryDone(q, 0, ErrNoReply)
		}
		if done {
			return
		}
	}
}

// finished reports whether the socket is retired and every query on it is
// answered, or lost: sent before old. It retires a socket of age.
func (u *udpSocket) finished(now, old time.Time) (done bool, lost []*query) {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	if !u.retired && now.Before(u.expiry) {
		return false, nil
	}
	u.retired = true
	if now.Before(u.lookAt) { // a flood goes on, perhaps
		return len(u.pending) == 0, nil
	}
	u.lookAt = now.Add(lostCheck)
	maps.DeleteFunc(u.pending, func(_ uint16, q *query) bool {
		late := q.sent.Before(old)
		if late {
			u.server.settled(q)
			lost = append(lost, q)
		}
		return late
	})
	return len(u.pending) == 0, lost
}

// received takes in a packet. One that cannot be the answer to a query is
// dropped, and waiting goes on.
func (r *Resolver) received(u *udpSocket, packet []byte, now time.Time) {
	q := u.find(packet)
	verdict := cookieGood
	if q != nil && r.opt.Cookies {
		verdict = q.server.checkCookie(q, packet)
	}
	switch {
	case q == nil:
		r.forged(u)
		return
	case verdict == cookieStale && !q.again:
		q.answered(now)
		r.queryDone(q, dns.RcodeBadCookie, nil)
		if again := r.replace(q); again != nil {
			again.again = true
			r.send(again)
		}
	case verdict != cookieGood, r.opt.RandomizeCase && !sameCase(q.message, packet): // TCP needs neither
		u.remove(q)
		r.queryDone(q, 0, errForged)
		r.viaTCP(q)
	case isTruncated(packet):
		q.answered(now)
		r.queryDone(q, 0, errTruncated)
		r.viaTCP(q)
	default:
		if res, ok := r.accept(q, packet, now); !ok {
			r.note(q, res)
			r.forged(u)
			return
		}
	}
	r.sendWaiting(u.server)
}

// answered records that q has a reply: it makes room for others, and its
// server is well.
func (q *query) answered(now time.Time) {
	s := q.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard(now, now.Sub(q.sent))
	s.widen(q)
	s.settled(q)
	if q.on != nil {
		q.on.forget(q)
	}
	q.over.Store(true)
}

// forged counts a packet that answers no query of the socket. Queries that
// have seen ten of them are asked again over TCP, where nobody can guess.
func (r *Resolver) forged(u *udpSocket) {
	r.counters.dropped.Add(1)
	n := u.forged.Add(1)
	var move []*query
	u.server.mu.Lock()
	if n >= mostForged && !u.retired {
		u.retire()
	}
	if n >= u.doubtAt { // else a flood would have every packet looked up in all of them
		u.doubtAt = n + maxForged // of those sent from now on
		for _, q := range u.pending {
			switch {
			case q.doubted:
			case n-q.forged >= maxForged:
				q.doubted = true
				move = append(move, q)
			default:
				u.doubtAt = min(u.doubtAt, q.forged+maxForged)
			}
		}
	}
	u.server.mu.Unlock()
	for _, q := range move {
		r.alsoTCP(q)
	}
}

// alsoTCP asks q's question over TCP beside q: whichever is answered first
// counts.
func (r *Resolver) alsoTCP(q *query) {
	r.mu.Lock()
	f := q.flight
	if f.over {
		r.mu.Unlock()
		return
	}
	f.tcp = true
	t := &query{flight: f, server: q.server, tcp: true, sent: time.Now()}
	f.queries = append(f.queries, t)
	r.mu.Unlock()
	r.send(t)
}

// isTruncated reports the TC bit: RFC 1035, section 4.1.1. Whatever else the
// reply holds is not used (RFC 2181, section 9).
func isTruncated(reply []byte) bool {
	return binary.BigEndian.Uint16(reply[2:])&flagTC != 0
}

// viaTCP asks q's question over TCP, in the place of q. The flight uses TCP
// from then on.
func (r *Resolver) viaTCP(q *query) {
	r.mu.Lock()
	q.flight.tcp = true
	r.mu.Unlock()
	if again := r.replace(q); again != nil {
		r.send(again)
	}
}

// abandon makes room for others: nobody waits for q's reply any more. A late
// one is still known for what it is.
func (q *query) abandon() {
	if q.over.Load() {
		return
	}
	s := q.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.over.Swap(true) {
		return
	}
	s.settled(q)
	switch c := q.on; {
	case c != nil && c.pending[q.id] == q:
		c.live--
	case q.cancel != nil:
		q.cancel()
	case c == nil && len(s.pool.waiting) > 0:
		s.pool.abandoned()
	}
}

// abandoned counts a query, most likely in the queue, that nobody waits for.
// When they are half of the queue they are thrown away.
func (p *socketPool) abandoned() {
	if p.idle++; 2*p.idle > len(p.waiting) {
		p.waiting = slices.DeleteFunc(p.waiting, func(q *query) bool { return q.over.Load() })
		p.idle = 0
	}
}

// closeSocket takes the socket out of the pool, as pick sees that it is
// retired.
func (r *Resolver) closeSocket(u *udpSocket) {
	for _, q := range u.takeAll() { // the Resolver is closed
		r.queryDone(q, 0, ErrNoReply)
	}
	r.disown(u.conn)
	u.conn.Close()
}

// sendWaiting sends the queries that found all sockets full, as far as there
// is room now.
func (r *Resolver) sendWaiting(s *server) {
	for s.pool.queued.Load() {
		now := time.Now()
		s.mu.Lock()
		var q *query
		opens := false
		if len(s.pool.waiting) > 0 && s.pool.recent < s.window() {
			if sock := s.pool.pick(now); sock != nil {
				q, s.pool.waiting = s.pool.waiting[0], s.pool.waiting[1:]
				q.leaveQueue(now)
			} else {
				opens = s.pool.takeOpening(nil)
			}
		}
		s.pool.queued.Store(len(s.pool.waiting) > 0)
		s.mu.Unlock()
		if q == nil {
			r.addSocket(s, opens)
			return
		}
		if err := r.sendUDP(q, now, true); err != nil {
			r.sendFailed(q, err)
		}
	}
}

// sendAllWaiting is sendWaiting for every server: flights have ended without
// an answer, which makes room.
func (r *Resolver) sendAllWaiting() {
	for _, s := range r.conf.Load().servers {
		r.sendWaiting(s)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
