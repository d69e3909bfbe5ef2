package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A limitTest is a connLimit and the connections it bounds.
type limitTest struct {
	*testing.T
	*connLimit
	closing chan struct{}
}

func inLimit(t *testing.T, n int, f func(l *limitTest)) {
	synctest.Test(t, func(t *testing.T) {
		f(&limitTest{t, newConnLimit(n, 0), make(chan struct{})})
	})
}

// dial waits for room and makes a connection that a request uses.
func (l *limitTest) dial() *conn {
	l.Helper()
	if err := l.acquire(context.Background(), nil, l.closing, nil); err != nil {
		l.Fatal(err)
	}
	near, far := net.Pipe()
	l.Cleanup(func() { far.Close() })
	c := &conn{Conn: near, limit: l.connLimit}
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
		if err := l.acquire(ctx, nil, l.closing, nil); err != context.DeadlineExceeded || time.Since(start) != 100*time.Millisecond {
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
		if err := l.acquire(context.Background(), nil, l.closing, nil); !errors.Is(err, net.ErrClosed) {
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

// net/http may close a connection before the request is done with it.
func TestConnLimit_ClosedConnectionDoesNotCountAsIdle(t *testing.T) {
	inLimit(t, 2, func(l *limitTest) {
		gone, idle := l.dial(), l.dial()
		gone.Close()
		l.leave(gone)
		l.leave(idle)
		l.dial()
		l.isClosed(idle, false)
		l.dial() // for which nothing but idle can make room
		l.isClosed(idle, true)
		if got := l.idle.Len(); got != 0 {
			t.Errorf("%d connections kept in mind, want 0", got)
		}
	})
}

func TestConnLimit_NothingIsKeptAfterClose(t *testing.T) {
	inLimit(t, 2, func(l *limitTest) {
		c, idle := l.dial(), l.dial()
		l.leave(idle)
		l.close()
		l.isClosed(idle, true)
		l.isClosed(c, false)
		l.leave(c)
		l.isClosed(c, true)
		if got := l.open.Load(); got != 0 {
			t.Errorf("%d connections counted, want 0", got)
		}
	})
}

func TestConnLimit_None(t *testing.T) {
	l := newConnLimit(0, 0)
	for range 10_000 {
		if err := l.acquire(context.Background(), nil, nil, nil); err != nil {
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

// A request may be given a connection at the moment it is chosen to make
// room. It fails through no fault of anybody's, and nothing was sent.
func TestConnLimit_EvictedConnectionIsNoDialSpent(t *testing.T) {
	inLimit(t, 1, func(l *limitTest) {
		gone := l.dial()
		l.leave(gone)
		fresh := l.dial()
		if l.use(gone) {
			t.Error("an evicted connection can be used")
		}
		j := &journey{Context: t.Context(), key: host, conns: l.connLimit, maxDials: defaultMaxDialsPerRequest}
		for range 10 {
			j.gotConn(httptrace.GotConnInfo{Conn: gone, Reused: true})
			if !j.mayRepeat(http.MethodPost, errGaveUp) {
				t.Error("the request may not be repeated")
			}
			if j.mayRepeat(http.MethodPost, errGaveUp) { // or it would dial a dead host for ever
				t.Error("the request may be repeated twice for one connection")
			}
			if err := j.begin(&dialState{}); err != nil {
				t.Fatal(err)
			}
		}
		for range defaultMaxDialsPerRequest {
			j.gotConn(httptrace.GotConnInfo{Conn: fresh})
			if j.mayRepeat(http.MethodPost, errGaveUp) {
				t.Error("a request over a good connection may be repeated")
			}
			if err := j.begin(&dialState{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.begin(&dialState{}); hostwise.KindOf(err) != hostwise.TooManyDials {
			t.Errorf("one more dial: %v, want %s", err, hostwise.TooManyDials)
		}
		j.done()
	})
}

// TLS to an HTTPS host through an HTTPS proxy is TLS twice.
func TestConnOf(t *testing.T) {
	c := &conn{}
	once := tls.Client(c, &tls.Config{})
	for _, nc := range []net.Conn{c, once, tls.Client(once, &tls.Config{})} {
		if connOf(nc) != c {
			t.Errorf("%T is not known for what it is", nc)
		}
	}
	if connOf(tls.Client(nil, &tls.Config{})) != nil {
		t.Error("a foreign connection is taken for ours")
	}
}

func TestJourney_Rewind(t *testing.T) {
	for _, tt := range []struct {
		name string
		body io.Reader
		want string
		ok   bool
	}{
		{"no body", nil, "", true},
		{"one that can be had again", strings.NewReader("hello"), "hello", true},
		{"one that cannot", io.LimitReader(strings.NewReader("hello"), 5), "", false},
	} {
		req, err := http.NewRequest("POST", "http://a.test/", tt.body)
		if err != nil {
			t.Fatal(err)
		}
		j := &journey{Context: t.Context()}
		if req.Body != nil {
			j.watch(req)
			if _, err := io.ReadAll(req.Body); err != nil {
				t.Fatal(err)
			}
		}
		if got := j.rewind(req); got != tt.ok {
			t.Errorf("%s: rewind = %v, want %v", tt.name, got, tt.ok)
		}
		if !tt.ok || req.Body == nil {
			continue
		}
		if b, err := io.ReadAll(req.Body); string(b) != tt.want || err != nil {
			t.Errorf("%s: body %q, %v, want %q again", tt.name, b, err, tt.want)
		}
	}
}
