package transport

import (
	"bytes"
	"context"
	"errors"
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

// body is a response body that types its errors and lets go of the request's
// context when it ends.
type body struct {
	io.ReadCloser
	j      *journey
	cancel context.CancelCauseFunc
	forget func() bool // that the end of the request's context ends the use of the connection; may be nil
	once   sync.Once
	since  time.Time
}

// newBody wraps the body of r, keeping the Writer of a 101 response, and what
// is no body.
func newBody(r *http.Response, j *journey, cancel context.CancelCauseFunc) io.ReadCloser {
	b := r.Body
	if b == http.NoBody {
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

// requestBody is a request's body that remembers how reading it failed: such
// a failure is the caller's, and no host is to blame for it.
type requestBody struct {
	io.ReadCloser
	err atomic.Pointer[error]
}

// isInMemory reports whether b is what http.NewRequest makes of a reader of
// memory. net/http sends such a body in one packet with the headers, if it can
// see the type.
func isInMemory(b io.ReadCloser) bool {
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

func (b *requestBody) Read(p []byte) (n int, _ error) {
	err := errAbandoned // unless Read returns
	defer func() {
		if err != nil && err != io.EOF {
			b.err.Store(&err)
		}
	}()
	n, err = b.ReadCloser.Read(p)
	return n, err
}

func (b *requestBody) failure() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

var errBodyDone = errors.New("the body is done with")

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF && !errors.Is(err, errBodyDone) {
		err = b.explain(err)
	}
	b.done()
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}

func (b *body) done() {
	b.once.Do(func() {
		b.cancel(errBodyDone)
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
	e := &hostwise.RequestError{Host: b.j.key, Addr: b.j.addr(), Phase: hostwise.PhaseBody, Kind: requestKind(err), Err: err, Elapsed: b.j.elapsed(b.since)}
	b.j.mu.Unlock()
	e.Elapsed.Body = time.Since(b.since)
	if ctxErr := failure.Context(b.j.Context); ctxErr != nil {
		e.Kind, e.Err = contextKind(ctxErr, hostwise.HTTPBodyTimeout), ctxErr
	} else if isTimeout(err) {
		e.Kind = hostwise.HTTPBodyTimeout
	}
	return e
}
