package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// body is a response body that types its errors and lets go of the request's
// context when it ends.
type body struct {
	io.ReadCloser
	j      *journey
	cancel context.CancelCauseFunc
	once   sync.Once
}

// newBody wraps b, keeping the Writer of a 101 response, and what is no body.
func newBody(b io.ReadCloser, j *journey, cancel context.CancelCauseFunc) io.ReadCloser {
	if b == http.NoBody {
		cancel(errBodyDone)
		j.done()
		return b
	}
	w := &body{ReadCloser: b, j: j, cancel: cancel}
	if rw, ok := b.(io.Writer); ok {
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

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.err.Store(&err)
	}
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
		b.j.done()
	})
}

// explain makes a typed error of one in the middle of the body. It charges
// nobody: the host has answered.
func (b *body) explain(err error) error {
	b.j.mu.Lock()
	addr := b.j.addr()
	b.j.mu.Unlock()
	e := &hostwise.RequestError{Host: b.j.key, Addr: addr, Phase: hostwise.PhaseBody, Kind: requestKind(err), Err: err}
	if ctxErr := failure.Context(b.j.Context); ctxErr != nil {
		e.Kind, e.Err = contextKind(ctxErr, hostwise.HTTPBodyTimeout), ctxErr
	}
	return e
}
