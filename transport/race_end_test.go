package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// TakeForPlain has the Transport take its DialContext for one that calls no
// function of the caller's, as that of a net.Dialer.
func (t *Transport) TakeForPlain() { t.plain = t.opt.Guard.Check == nil }

// A dial with one address to try needs no goroutine but the caller's, and ends
// all the same with its context, its time and its Transport.
func TestDial_OneAddressNeedsNoGoroutine(t *testing.T) {
	for _, tt := range []struct {
		name       string
		addrs      []netip.Addr
		goroutines int // of attempts, beside the one that dials
		end        func(cancel context.CancelFunc, tr *Transport)
		after      time.Duration
		kind       hostwise.Kind
	}{
		{"canceled", []netip.Addr{addr4}, 0, func(cancel context.CancelFunc, _ *Transport) { cancel() }, time.Second, hostwise.Canceled},
		{"closed", []netip.Addr{addr4}, 0, func(_ context.CancelFunc, tr *Transport) { go tr.Close() }, time.Second, hostwise.Canceled},
		{"too late", []netip.Addr{addr4}, 0, func(context.CancelFunc, *Transport) {}, 10 * time.Second, hostwise.ConnectTimeout},
		{"two addresses", []netip.Addr{addr6, addr4}, 2, func(cancel context.CancelFunc, _ *Transport) { cancel() }, time.Second, hostwise.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				for _, a := range tt.addrs {
					n.SetLink(a, simnet.Link{Fault: simnet.BlackHole})
				}
				tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{Resolver: names{"a.test": tt.addrs}})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				tr.TakeForPlain()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				failed := make(chan error)
				go func() {
					_, err := tr.DialContext(ctx, "tcp", "a.test:80")
					failed <- err
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				stacks := make([]byte, 1<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				if got := bytes.Count(stacks, []byte(".(*dial).attempt(")); got != tt.goroutines {
					t.Errorf("%d goroutines of attempts, want %d:\n%s", got, tt.goroutines, stacks)
				}
				tt.end(cancel, tr)
				err = <-failed
				if got := hostwise.KindOf(err); got != tt.kind || time.Since(start) != tt.after {
					t.Errorf("after %v: %v, kind %q, want %q after %v", time.Since(start), err, got, tt.kind, tt.after)
				}
				var e *hostwise.ConnectError
				if !errors.As(err, &e) || len(e.Attempts) != len(tt.addrs) {
					t.Errorf("%#v, want a ConnectError with an attempt for each address", err)
				}
			})
		})
	}
}

// What the end of the context does to the attempts is no failure of the host's,
// also when a hook runs meanwhile.
func TestDial_CanceledInAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetLink(addr6, simnet.Link{Fault: simnet.Refuse, RTT: 400 * time.Millisecond})
		n.SetLink(addr4, simnet.Link{Fault: simnet.BlackHole})
		tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{Resolver: names{"a.test": {addr6, addr4}}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ConnectDone: func(string, string, error) {
			calls++
			cancel()
			time.Sleep(time.Millisecond) // the other attempt ends
		}})
		_, err = tr.DialContext(ctx, "tcp", "a.test:80")
		if hostwise.KindOf(err) != hostwise.Canceled || calls != 1 {
			t.Errorf("%v, ConnectDone called %d times; want it canceled, and one call", err, calls)
		}
		key, shard := tr.breaker.of("a.test:80")
		if failures, down := tr.breaker.look(key, shard, "a.test:80", time.Now()); failures != 0 || down != nil {
			t.Errorf("the host is charged with %d failures, down: %v", failures, down)
		}
	})
}

type lookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (f lookupFunc) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return f(ctx, network, host)
}

// What a Resolver has left behind may look at its context while the dial goes
// on to its second race.
func TestDial_SecondRaceLeavesTheContextAlone(t *testing.T) {
	withoutRoute(t, nil, func(n *simnet.Network, tr *Transport) {
		var left sync.WaitGroup
		tr.resolver = lookupFunc(func(ctx context.Context, _, host string) ([]netip.Addr, error) {
			left.Go(func() {
				for range 100 {
					ctx.Value("a key")
					runtime.Gosched()
				}
			})
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		})
		for range 100 {
			if _, err := tr.DialContext(context.Background(), "tcp", "a.test:80"); hostwise.KindOf(err) != hostwise.DNSNXDomain {
				t.Fatal(err)
			}
		}
		left.Wait()
	})
}

// Close ends the attempts, and so needs not wait for them in a hook.
func TestClose_InAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetLink(addr6, simnet.Link{Fault: simnet.BlackHole})
		n.SetLink(addr4, simnet.Link{Fault: simnet.Refuse})
		tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{Resolver: names{"a.test": {addr6, addr4}}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{ConnectDone: func(string, string, error) { tr.Close() }})
		_, err = tr.DialContext(ctx, "tcp", "a.test:80")
		if took := time.Since(start); hostwise.KindOf(err) != hostwise.Canceled || took != 250*time.Millisecond {
			t.Errorf("after %v: %v, want it canceled when the second attempt was refused, after 250ms", took, err)
		}
	})
}

// lookingContext calls a function whenever it is asked for a value.
type lookingContext struct {
	context.Context
	look *atomic.Pointer[func()]
}

func (c lookingContext) Value(key any) any {
	if look := c.look.Load(); look != nil {
		(*look)()
	}
	return c.Context.Value(key)
}

// The methods of a caller's context may wait for another dial.
func TestClose_CallsNoContextUnderItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetLink(addr4, simnet.Link{Fault: simnet.BlackHole})
		tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{Resolver: names{"a.test": {addr4}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := lookingContext{ctx, new(atomic.Pointer[func()])}
		done := make(chan struct{})
		go func() {
			defer close(done)
			tr.DialContext(c, "tcp", "a.test:80")
		}()
		synctest.Wait()
		var looked atomic.Bool
		look := func() {
			looked.Store(true)
			for range 10_000 { // the dial's end may have it for a moment
				if tr.mu.TryLock() {
					tr.mu.Unlock()
					return
				}
				runtime.Gosched()
			}
			t.Error("called under Transport.mu")
		}
		c.look.Store(&look)
		tr.Close()
		c.look.Store(nil)
		<-done
		if !looked.Load() {
			t.Error("the context was not asked: the test shows nothing")
		}
	})
}

// An attempt that is refused just as the next one begins leaves it the room that
// it had, and the next one's own is given back.
func TestDial_GivesBackEverySpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetLink(addr6, simnet.Link{Fault: simnet.Refuse, RTT: 250 * time.Millisecond})
		l, err := n.Listen("192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{
			Resolver: names{"a.test": {addr6, addr4}}, DisableMemory: true, ConnectionAttemptDelay: 250 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for range 500 {
			c, err := tr.DialContext(t.Context(), "tcp", "a.test:80")
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		synctest.Wait()
		if got, want := tr.conns.spares, tr.opt.spares(); got != want {
			t.Errorf("%d spares of %d after 500 dials", got, want)
		}
	})
}

// conns of a DialContext whose SyscallConn does not return.
type faultyConn struct {
	net.Conn
	fault  func()
	closed *atomic.Int64
}

func (c faultyConn) SyscallConn() (syscall.RawConn, error) {
	c.fault()
	return nil, nil
}

func (c faultyConn) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

func TestDial_SyscallConnDoesNotReturn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SyscallConn is called on Linux only")
	}
	for name, fault := range map[string]func(){"panic": func() { panic("a fault") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var closed atomic.Int64
				tr, err := New(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(soonestRepetition) // else the SYN was not sent twice, and nobody asks
					c, _ := net.Pipe()
					return faultyConn{c, fault, &closed}, nil
				}}, &Options{Resolver: names{"a.test": {addr4}}})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				_, err = tr.DialContext(t.Context(), "tcp", "a.test:80")
				if n := tr.Stats().HookPanics; hostwise.KindOf(err) != hostwise.Other || n != 1 || closed.Load() != 1 {
					t.Errorf("%v, %d faults, %d connections closed; want an error, one fault, one closed", err, n, closed.Load())
				}
			})
		})
	}
}
