package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// body is a response body that types its errors, is bounded in time and size,
// and lets go of the request's context when it ends.
type body struct {
	io.ReadCloser
	j      *journey
	cancel context.CancelCauseFunc
	forget func() bool // that the end of the request's context ends the use of the connection; may be nil
	once   sync.Once
	since  time.Time

	// The reader's.
	pace   pace
	timers *readTimers
	timer  *readTimer // until done; nil: none
	most   int64      // bytes; 0: no bound
	zipped bool       // net/http unzips it
	read   int64      // so far or, when they are known to be too many, by the response headers

	until   atomic.Int64 // how long the Read may wait, since since; 0: there is none
	stalled atomic.Bool  // a timer has ended the Read
}

// newBody wraps the body of r, keeping the Writer of a 101 response. What is no
// body, but a connection that was upgraded or a tunnel, has no bounds.
func (t *Transport) newBody(r *http.Response, j *journey, cancel context.CancelCauseFunc) io.ReadCloser {
	b := r.Body
	if hasNoBody(r) {
		cancel(errBodyDone)
		j.done()
		return b
	}
	w := &body{ReadCloser: b, j: j, cancel: cancel, since: time.Now()}
	if r.ProtoMajor == 2 && j.Done() != nil {
		// A body that nobody closes: net/http resets the stream, and the
		// connection remains. That of HTTP/1 it closes.
		w.forget = context.AfterFunc(j.Context, j.done)
	}
	if _, upgraded := b.(io.Writer); !upgraded && r.Request.Method != http.MethodConnect {
		w.pace, w.timers, w.most, w.zipped = t.opt.pace(), &t.timers, t.opt.MaxBodyBytes, r.Uncompressed
		if w.pace.patience() > 0 {
			w.timer = t.timers.start(w)
		}
		if r.ContentLength > w.most {
			w.read = r.ContentLength
		}
	}
	type closeWriter interface{ CloseWrite() error }
	switch rw := b.(type) {
	case interface {
		io.Writer
		closeWriter
	}:
		return struct {
			*body
			io.Writer
			closeWriter
		}{w, rw, rw}
	case io.Writer:
		return struct {
			*body
			io.Writer
		}{w, rw}
	}
	return w
}

// hasNoBody reports whether there is nothing to read: net/http's HTTP/2 has a
// value of its own for that.
func hasNoBody(r *http.Response) bool {
	return r.Body == http.NoBody || r.ProtoMajor == 2 && reflect.TypeOf(r.Body).String() == "http.http2noBodyReader"
}

// smallBody is what has room in net/http's usual write buffer.
const smallBody = 4 << 10

// isInMemory reports whether b is what http.NewRequest makes of a reader of
// memory. If it is small, net/http sends it in one packet with the headers, as
// long as it can see the type.
func isInMemory(b io.Reader) bool {
	switch reflect.TypeOf(b) {
	case nopCloser, nopCloserWriterTo:
		switch reflect.ValueOf(b).Field(0).Interface().(type) {
		case *bytes.Reader, *bytes.Buffer, *strings.Reader:
			return true
		}
	}
	return false
}

var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser((*bytes.Reader)(nil)))
)

var errBodyDone = errors.New("the body is done with")

func (b *body) Read(p []byte) (int, error) {
	n, err := b.readBounded(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF && !errors.Is(err, errBodyDone) {
		err = b.explain(err)
	}
	b.done()
	return n, err
}

// readBounded reads no more than there may be.
func (b *body) readBounded(p []byte) (int, error) {
	if b.most == 0 {
		return b.readInTime(p)
	}
	if b.read > b.most {
		return 0, b.tooLarge()
	}
	if room := b.most - b.read; int64(len(p)) > room {
		p = p[:room+1] // one more tells
	}
	n, err := b.readInTime(p)
	if b.read += int64(n); b.read > b.most {
		b.ReadCloser.Close()
		return n - 1, b.tooLarge()
	}
	return n, err
}

// readInTime ends a read that waits too long.
func (b *body) readInTime(p []byte) (int, error) {
	patience := b.pace.patience()
	if patience == 0 {
		return b.ReadCloser.Read(p)
	}
	start := time.Since(b.since)
	b.until.Store(max(1, int64(start+patience)))
	b.timer.arm(patience)
	n, err := b.ReadCloser.Read(p)
	b.until.Store(0)
	if b.stalled.Load() && err != nil { // io.EOF, too: the server may have ended the body because we hang up
		return n, b.pace.tooSlow(patience)
	}
	b.pace.came(n, time.Since(b.since)-start)
	return n, err
}

// stall ends the read that waits. net/http allows a body to be closed then, but
// has the Close of one that it unzips wait for the gzip header. So the request
// is canceled or, where nothing can be, its connection is closed.
func (b *body) stall() {
	b.stalled.Store(true)
	b.cancel(errStalled)
	if b.zipped && !b.j.cancelable {
		b.j.cut()
	}
	b.ReadCloser.Close()
}

// errBodyTooLarge is wrapped by the error of a body above Options.MaxBodyBytes.
var errBodyTooLarge = errors.New("more than MaxBodyBytes")

func (b *body) tooLarge() error { return fmt.Errorf("%w: %d", errBodyTooLarge, b.most) }

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}

func (b *body) done() {
	b.once.Do(func() {
		b.cancel(errBodyDone)
		if t := b.timer; t != nil {
			b.timers.stop(t)
		}
		if b.forget != nil {
			b.forget()
		}
		b.j.done()
	})
}

// explain makes a typed error of one in the middle of the body. It charges
// nobody: the host has answered.
func (b *body) explain(err error) error {
	b.j.mu.Lock()
	if b.stalled.Load() && b.j.used != nil { // HTTP/2 would keep it for the next
		b.j.conns.spoil(b.j.used)
	}
	e := &hostwise.RequestError{Host: b.j.key, Addr: b.j.addr(), Phase: hostwise.PhaseBody, Kind: requestKind(err), Err: err, Elapsed: b.j.elapsed(b.since)}
	b.j.mu.Unlock()
	e.Elapsed.Body = time.Since(b.since)
	if ctxErr := failure.Context(b.j.Context); ctxErr != nil {
		e.Kind, e.Err = contextKind(ctxErr, hostwise.HTTPBodyTimeout), ctxErr
	} else if errors.Is(err, errBodyTooLarge) {
		e.Kind = hostwise.HTTPBodyTooLarge
	} else if isTimeout(err) || e.Kind == hostwise.HTTPHeaderTimeout {
		e.Kind = hostwise.HTTPBodyTimeout
	}
	return e
}
