package transport

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// errStalled is the cause of a request context that the journey's patience
// ended.
var errStalled = fmt.Errorf("no progress within ResponseHeaderTimeout: %w", os.ErrDeadlineExceeded)

// A patience bounds how long a server may leave a request where it is. From
// the request written on, net/http's ResponseHeaderTimeout does. But a server
// that takes no body, or opens no HTTP/2 window for it, keeps a request from
// being written, and one that refuses each HTTP/2 stream has it written again
// and again. journey.mu protects it.
type patience struct {
	most    time.Duration           // without progress; 0: no bound
	cancel  context.CancelCauseFunc // nil: for want of a body nothing waits but net/http's own retries
	timer   *time.Timer
	until   time.Time // the end of it; zero: it is not the server's turn
	acked   uint64    // of the connection's bytes, when this was last looked at
	refused bool      // a connection was obtained twice: an HTTP/2 stream refused
	stalled bool      // the time was up
}

// awaitServer begins the server's time anew. j.mu is held.
func (j *journey) awaitServer() {
	p := &j.patience
	if p.most == 0 || j.over || j.gaveUp {
		return
	}
	p.until = time.Now().Add(p.most)
	switch {
	case p.cancel == nil:
	case p.timer == nil:
		p.timer = time.AfterFunc(p.most, j.stall)
	default:
		p.timer.Reset(p.most)
	}
}

// awaitOthers ends the server's time. j.mu is held.
func (j *journey) awaitOthers() {
	p := &j.patience
	p.until = time.Time{}
	if p.timer != nil {
		p.timer.Stop()
	}
}

// isRefused notes that net/http sends the request once more over a connection
// that had it. It reports whether the server's time for that is up. j.mu is held.
func (j *journey) isRefused() bool {
	p := &j.patience
	p.refused = true
	if p.until.IsZero() || time.Now().Before(p.until) {
		return false
	}
	p.stalled = true
	return true
}

// stall ends the request when the server's time is up.
func (j *journey) stall() {
	j.mu.Lock()
	p := &j.patience
	if j.over || p.until.IsZero() || time.Now().Before(p.until) { // stopped or begun anew meanwhile
		j.mu.Unlock()
		return
	}
	if j.used != nil && j.wroteAt.IsZero() && !p.refused {
		// The system hands a large buffer on in large pieces: what the server
		// has taken meanwhile is progress, too.
		if acked := acknowledged(j.used); acked > p.acked {
			p.acked = acked
			j.awaitServer()
			j.mu.Unlock()
			return
		}
	}
	p.stalled = true
	j.mu.Unlock()
	p.cancel(errStalled)
}

// hasStalled ends the patience, and reports whether it was used up.
func (j *journey) hasStalled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.awaitOthers()
	return j.patience.stalled
}

// requestBody is a request's body that remembers how reading it failed: such
// a failure is the caller's, and no host is to blame for it. Nor is it for the
// time that reading takes. net/http reads and closes it on goroutines of its
// own, where a panic is an error of reading it.
type requestBody struct {
	io.ReadCloser
	j       *journey
	guarded bool // it may panic: it is the caller's own
	err     atomic.Pointer[error]
}

// sendUnit is how much of a body a server must take for its time to begin
// anew: the size of an HTTP/2 frame (RFC 9113, section 4.2).
const sendUnit = 16 << 10

func (b *requestBody) Read(p []byte) (int, error) {
	b.turn(b.j.awaitOthers)
	n, err := b.read(p[:min(len(p), sendUnit)])
	if err != nil && err != io.EOF {
		b.failed(err)
		return n, err
	}
	b.turn(b.j.awaitServer)
	return n, err
}

func (b *requestBody) failed(err error) { b.err.Store(&err) }

func (b *requestBody) read(p []byte) (int, error) {
	if !b.guarded {
		return b.ReadCloser.Read(p)
	}
	return b.guardedRead(p)
}

func (b *requestBody) guardedRead(p []byte) (n int, err error) {
	if fault := b.j.calls.Call(func() { n, err = b.ReadCloser.Read(p) }); fault != nil {
		return 0, fault
	}
	return n, err
}

func (b *requestBody) Close() (err error) {
	if fault := b.j.calls.Call(func() { err = b.ReadCloser.Close() }); fault != nil {
		return fault
	}
	return err
}

// turn says whose turn it is now, unless the body is read for a stream that
// takes the place of one refused: that is no progress.
func (b *requestBody) turn(f func()) {
	b.j.mu.Lock()
	defer b.j.mu.Unlock()
	if p := &b.j.patience; !p.until.IsZero() && p.refused {
		return
	}
	f()
}

func (b *requestBody) failure() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}
