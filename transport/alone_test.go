package transport

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"runtime"
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
func TestDial_Alone(t *testing.T) {
	for _, tt := range []struct {
		name       string
		addrs      []netip.Addr
		goroutines int // while it waits, beside the one that dials
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
				start, before := time.Now(), runtime.NumGoroutine()
				failed := make(chan error)
				go func() {
					_, err := tr.DialContext(ctx, "tcp", "a.test:80")
					failed <- err
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				if got := runtime.NumGoroutine() - before - 1; got != tt.goroutines {
					t.Errorf("%d goroutines more than the one that dials, want %d", got, tt.goroutines)
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
