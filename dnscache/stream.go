package dnscache

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

const (
	maxStreams    = 4                // connections to one server: RFC 7766, section 6.2.2, asks for few
	fullStream    = 256              // queries on one, before another is opened
	mostOnStream  = 1 << 14          // queries on one at most
	streamQueries = 1 << 15          // then it takes no more
	streamIdle    = 10 * time.Second // unused, it is closed: RFC 7766, section 6.2.3
)

// A stream is a connection over TCP or TLS that carries many queries at a
// time, whose replies come in any order: RFC 7766, sections 6.2.1 and 7. One
// goroutine connects and writes, another reads.
type stream struct {
	inFlight               // server.mu protects it, and what follows
	out      []byte        // queries not yet written, each behind its length
	wake     chan struct{} // to the writer: there is something in out
	heard    bool          // it has brought a reply
	quiet    time.Time     // of the last reply, or of the first query that waits for one
	gone     chan struct{} // closed with the connection
}

var (
	errStreamsFull = errors.New("too many queries wait for this server")
	errTruncated   = errors.New("the reply is truncated")
	errForged      = errors.New("too many replies to other questions")
	errNotNeeded   = errors.New("closed for want of use")
	errNoConn      = errors.New("Options.Dial returned neither a connection nor an error")
	errForeign     = errors.New("replies to questions that were not asked")
)

// sendStream sends q over one of the server's connections.
func (r *Resolver) sendStream(q *query) {
	s := q.server
	r.counters.tcp.Add(1)
	s.mu.Lock()
	if q.over.Load() {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	st := s.pickStream(now, r.timeout())
	fresh := st == nil || st.live >= fullStream && len(s.streams) < maxStreams
	if fresh {
		st = &stream{inFlight: newInFlight(s), wake: make(chan struct{}, 1), gone: make(chan struct{})}
		s.streams = append(s.streams, st)
	}
	if len(st.pending) >= mostOnStream {
		s.mu.Unlock()
		r.sendFailed(q, errStreamsFull)
		return
	}
	if len(st.pending) == 0 {
		st.quiet = now
	}
	st.register(q)
	st.out = append(binary.BigEndian.AppendUint16(st.out, uint16(len(q.message))), q.message...)
	s.mu.Unlock()
	if fresh && !r.own(func() { r.runStream(st) }, nil) {
		r.breakStream(st, net.ErrClosed)
		return
	}
	select {
	case st.wake <- struct{}{}:
	default: // it is awake already
	}
}

// pickStream returns the connection with the fewest queries, and retires
// those that have served their time or have gone silent. s.mu is held.
func (s *server) pickStream(now time.Time, timeout time.Duration) (best *stream) {
	s.streams = slices.DeleteFunc(s.streams, func(st *stream) bool {
		st.retired = st.retired || st.served >= streamQueries || st.isStuck(now, timeout)
		return st.retired
	})
	for _, st := range s.streams {
		if best == nil || st.live < best.live {
			best = st
		}
	}
	return best
}

// isStuck reports whether queries have waited for a whole try, be it that
// their callers have left, and nothing has come meanwhile. server.mu is held.
func (st *stream) isStuck(now time.Time, timeout time.Duration) bool {
	return len(st.pending) > 0 && now.Sub(st.quiet) >= timeout
}

// runStream connects and then writes what there is to write.
func (r *Resolver) runStream(st *stream) {
	conn, err := r.dialStream(st.server)
	if err != nil {
		r.breakStream(st, err)
		return
	}
	defer conn.Close()
	if !r.own(func() { r.readStream(st, conn) }, conn) {
		r.breakStream(st, net.ErrClosed)
		return
	}
	for {
		st.server.mu.Lock()
		out := st.out
		st.out = nil
		st.server.mu.Unlock()
		if len(out) > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(r.timeout()))
			if _, err := conn.Write(out); err != nil {
				return // so the reader ends, too, and reports
			}
			continue
		}
		select {
		case <-st.wake:
		case <-st.gone:
			return
		}
	}
}

// dialStream connects to a server over TCP and, where it is to be, TLS: RFC
// 7858, section 3.2.
func (r *Resolver) dialStream(s *server) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout())
	defer cancel()
	conn, err := r.dial(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	conn = ackAtOnce(conn)
	if s.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, s.tls)
	if err := r.handshake(ctx, secure); err != nil {
		return nil, err
	}
	return secure, nil
}

// dialGrace is how long a Dial of the caller's may go on beyond its context.
const dialGrace = 100 * time.Millisecond

// dial connects to a nameserver. What the caller's function does to the
// goroutine it runs on is an error of the attempt, and one that does not end
// with its context is not waited for.
func (r *Resolver) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if r.ownDial {
		return r.opt.Dial(ctx, network, address)
	}
	var made net.Conn
	var failed error
	done := r.calls.Go(func() { made, failed = r.opt.Dial(ctx, network, address) })
	var fault error
	select {
	case fault = <-done:
	case <-ctx.Done():
		t := time.NewTimer(dialGrace)
		defer t.Stop()
		select {
		case fault = <-done:
		case <-t.C:
			go func() {
				if <-done == nil && made != nil {
					made.Close()
				}
			}()
			return nil, ctx.Err()
		}
	}
	if fault != nil {
		return nil, fault
	}
	if made == nil && failed == nil {
		return nil, errNoConn
	}
	return made, failed
}

// handshake is that of a new connection, which it closes if it fails.
// TLSConfig has functions of the caller's, too.
func (r *Resolver) handshake(ctx context.Context, conn *tls.Conn) (err error) {
	if r.opt.TLSConfig == nil {
		err = conn.HandshakeContext(ctx)
	} else if fault := r.calls.Call(func() { err = conn.HandshakeContext(ctx) }); fault != nil {
		err = fault
	}
	if err != nil {
		conn.NetConn().Close()
	}
	return err
}

// readStream hands the replies on until the connection ends, or is no longer
// needed.
func (r *Resolver) readStream(st *stream, conn net.Conn) {
	err := r.readReplies(st, conn)
	r.disown(conn)
	conn.Close()
	r.breakStream(st, err)
}

func (r *Resolver) readReplies(st *stream, conn net.Conn) error {
	buf := bufio.NewReader(conn)
	var reply []byte
	for foreign := 0; foreign < maxForged; {
		if err := r.awaitReply(st, conn, buf); err != nil {
			return err
		}
		var err error
		if reply, err = readMessage(buf, reply); err != nil {
			return err
		}
		q := st.find(reply)
		if q == nil {
			r.counters.dropped.Add(1)
			foreign++
			continue
		}
		now := time.Now()
		st.hear(now)
		r.acceptStream(q, reply, now)
		st.remove(q)
	}
	return errForeign
}

// awaitReply waits for the first byte of a reply, and gives up when none is
// needed any more.
func (r *Resolver) awaitReply(st *stream, conn net.Conn, buf *bufio.Reader) error {
	for {
		_ = conn.SetReadDeadline(st.nextLook(r.timeout()))
		_, err := buf.Peek(1)
		switch {
		case err == nil: // the rest must follow soon
			return conn.SetReadDeadline(time.Now().Add(r.timeout()))
		case !isTimeout(err):
			return err
		case st.isDone(time.Now(), r.timeout()):
			return errNotNeeded
		}
	}
}

// readMessage reads a message behind its length into buf, or a larger one.
func readMessage(r io.Reader, buf []byte) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	buf = slices.Grow(buf[:0], n)[:n]
	_, err := io.ReadFull(r, buf)
	return buf, err
}

// hear records that a reply has come.
func (st *stream) hear(now time.Time) {
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	st.heard, st.quiet = true, now
}

// nextLook is when the reader looks at isDone, if nothing has come until
// then.
func (st *stream) nextLook(timeout time.Duration) time.Time {
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	if st.live > 0 || st.retired {
		return time.Now().Add(timeout)
	}
	return st.quiet.Add(streamIdle)
}

// isDone reports whether nobody waits for a reply, on a connection that takes
// no more queries or has been idle for long enough.
func (st *stream) isDone(now time.Time, timeout time.Duration) bool {
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	st.retired = st.retired || st.isStuck(now, timeout) || st.live == 0 && now.Sub(st.quiet) >= streamIdle
	return st.retired && st.live == 0
}

// breakStream ends a connection. Its queries go over another one if it has
// brought replies: the server has closed it in good order (RFC 7766, section
// 6.2.4). If not, the server has failed them.
func (r *Resolver) breakStream(st *stream, err error) {
	queries := st.takeAll()
	close(st.gone)
	for _, q := range queries {
		if st.heard {
			r.queryDone(q, 0, err)
			if again := r.replace(q); again != nil {
				r.send(again)
			}
		} else {
			r.streamFailed(q, err)
		}
	}
}

// acceptStream takes in a reply to q. Nobody else can have sent it, so there
// is no better one to wait for.
func (r *Resolver) acceptStream(q *query, reply []byte, now time.Time) {
	if isTruncated(reply) {
		r.queryDone(q, 0, errTruncated)
		r.replyFailed(q, result{kind: hostwise.DNSTruncated, cause: errTruncated}, false)
	} else if res, ok := r.accept(q, reply, now); !ok {
		r.queryDone(q, res.rcode, res.cause)
		r.replyFailed(q, res, false)
	}
}

// streamFailed ends q, whose connection failed. Where TCP is the second
// choice, that is to say that a truncated answer stays truncated, unless the
// fault is our own; or nothing, while the answer over UDP is awaited.
func (r *Resolver) streamFailed(q *query, err error) {
	r.queryDone(q, 0, err)
	err = r.routed(err, q.server)
	_, local := failure.Local(err)
	switch {
	case q.server.protocol != overUDP || local:
		r.sendFailed(q, err)
	case r.needsTCP(q.flight):
		r.replyFailed(q, result{kind: hostwise.DNSTruncated, cause: err}, false)
	}
}

// needsTCP reports whether f has had a truncated answer, or forged ones.
func (r *Resolver) needsTCP(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.tcp
}
