package transport

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A limitTest is a connLimit and the connections it bounds.
type limitTest struct {
	*testing.T
	*connLimit
	closing chan struct{}
}

func inLimit(t *testing.T, n int, f func(l *limitTest)) {
	synctest.Test(t, func(t *testing.T) {
		f(&limitTest{t, newConnLimit(n), make(chan struct{})})
	})
}

// dial waits for room and makes a connection that a request uses.
func (l *limitTest) dial() *conn {
	l.Helper()
	if err := l.acquire(context.Background(), l.closing); err != nil {
		l.Fatal(err)
	}
	near, far := net.Pipe()
	l.Cleanup(func() { far.Close() })
	c := &conn{Conn: near}
	c.onClose = func() { l.release(c) }
	l.use(c)
	return c
}

// isClosed checks a connection.
func (l *limitTest) isClosed(c *conn, want bool) {
	l.Helper()
	if got := c.SetDeadline(time.Time{}) != nil; got != want {
		l.Errorf("the connection is closed: %v, want %v", got, want)
	}
}

func TestConnLimit_WaitsForRoom(t *testing.T) {
	inLimit(t, 2, func(l *limitTest) {
		first, _ := l.dial(), l.dial()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := l.acquire(ctx, l.closing); err != context.DeadlineExceeded || time.Since(start) != 100*time.Millisecond {
			t.Errorf("a third one: %v after %v, want a time-out after 100ms", err, time.Since(start))
		}
		time.AfterFunc(50*time.Millisecond, func() {
			first.Close()
			first.Close() // counts once
		})
		l.dial()
		if got := time.Since(start); got != 150*time.Millisecond {
			t.Errorf("room after %v, want 150ms", got)
		}
		if got := l.open.Load(); got != 2 {
			t.Errorf("%d connections counted, want 2", got)
		}
		time.AfterFunc(time.Second, func() { close(l.closing) })
		if err := l.acquire(context.Background(), l.closing); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v, want net.ErrClosed", err)
		}
	})
}

// The idle connection that was not used for the longest time gives way.
func TestConnLimit_IdleConnectionGivesWay(t *testing.T) {
	inLimit(t, 3, func(l *limitTest) {
		busy, old, fresh := l.dial(), l.dial(), l.dial()
		l.leave(fresh)
		l.leave(old)
		l.use(fresh)
		l.leave(fresh)
		l.isClosed(old, false)
		l.dial()
		l.isClosed(old, true)
		l.isClosed(fresh, false)
		l.dial()
		l.isClosed(fresh, true)
		l.isClosed(busy, false)
	})
}

// A connection that becomes idle while somebody waits is not kept.
func TestConnLimit_WhoWaitsGetsTheNextIdleOne(t *testing.T) {
	inLimit(t, 1, func(l *limitTest) {
		c := l.dial()
		l.use(c) // HTTP/2: two requests on it
		time.AfterFunc(time.Second, func() { l.leave(c) })
		time.AfterFunc(2*time.Second, func() { l.leave(c) })
		start := time.Now()
		l.dial()
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("room after %v, want 2s, when the last request is done", got)
		}
		l.isClosed(c, true)
	})
}

func TestConnLimit_NothingIsKeptAfterClose(t *testing.T) {
	inLimit(t, 2, func(l *limitTest) {
		c := l.dial()
		l.close()
		l.isClosed(c, false)
		l.leave(c)
		l.isClosed(c, true)
		if got := l.open.Load(); got != 0 {
			t.Errorf("%d connections counted, want 0", got)
		}
	})
}

func TestConnLimit_None(t *testing.T) {
	l := newConnLimit(0)
	for range 10_000 {
		if err := l.acquire(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.open.Load(); got != 10_000 {
		t.Errorf("%d connections counted, want 10000", got)
	}
	for range 10_000 {
		l.giveBack()
	}
	if got := l.open.Load(); got != 0 {
		t.Errorf("%d connections counted, want 0", got)
	}
}
