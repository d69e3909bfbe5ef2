package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

func TestBreaker_DeadHostForThreeHours(t *testing.T) {
	for _, fault := range []simnet.Fault{simnet.Refuse, simnet.BlackHole} {
		inWorld(t, nil, transport.Options{}, func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: fault, RTT: 10 * ms})
			var wg sync.WaitGroup
			for range 3 * 3600 {
				wg.Go(func() { w.get("http://a.test/") })
				time.Sleep(time.Second)
			}
			wg.Wait()
			got := w.dials("192.0.2.1")
			t.Logf("fault %v: %d dials in 3 h", fault, got)
			if got > 15 {
				t.Errorf("%d dials, want at most 15", got)
			}
			// It recovers, and is served again within its cool-down.
			w.link("192.0.2.1", simnet.Link{RTT: 10 * ms})
			w.serve(ok, "192.0.2.1:80")
			back := time.Now()
			for {
				_, err := w.get("http://a.test/")
				if err == nil {
					break
				}
				var down *hostwise.HostDownError
				if !errors.As(err, &down) || time.Since(back) > time.Hour {
					t.Fatalf("after %v: %v", time.Since(back), err)
				}
				time.Sleep(time.Until(down.RetryAt))
			}
			if got := w.tr.Stats().HostsDown; got != 0 {
				t.Errorf("HostsDown = %d, want 0", got)
			}
		})
	}
}

func TestBreaker_ChargesNobodyForNamesAndCancellations(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("slow.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }), "192.0.2.1:80")
		for range 20 {
			w.fails("http://none.test/", hostwise.DNSNXDomain, hostwise.PhaseResolve)
			ctx, cancel := context.WithTimeout(context.Background(), 100*ms)
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://slow.test/", nil)
			if _, err := w.client.Do(req); hostwise.KindOf(err) != hostwise.HTTPHeaderTimeout {
				t.Errorf("err = %v, want a header time-out", err)
			}
			cancel()
		}
		w.takes(time.Second, "http://slow.test/")
	})
}

// A request's own body that cannot be read is no fault of the host.
func TestBreaker_DoesNotChargeForTheCallersBody(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }), "192.0.2.1:80")
		for range 10 {
			_, err := w.client.Post("http://a.test/", "text/plain", iotest.ErrReader(io.ErrUnexpectedEOF))
			if hostwise.KindOf(err) != hostwise.Other || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("err = %v: kind %s, want the body's error", err, hostwise.KindOf(err))
			}
		}
		w.takes(0, "http://a.test/")
	})
}

// Idle connections make room for those that are needed, over HTTP/1 and 2.
// dripping is a body that gives a byte now and then.
type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(200 * ms):
		p[0] = 'x'
		return 1, nil
	}
}

// Time in which the caller's own body was under way is not the host's.
func TestBreaker_DoesNotChargeForASlowUpload(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }), "192.0.2.1:80")
		w.takes(0, "http://a.test/")
		for range 6 {
			ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
			req, err := http.NewRequestWithContext(ctx, "POST", "http://a.test/", dripping{ctx})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.client.Do(req); hostwise.KindOf(err) != hostwise.Deadline {
				t.Errorf("err = %v, want %s", err, hostwise.Deadline)
			}
			cancel()
		}
		w.takes(0, "http://a.test/")
	})
}
