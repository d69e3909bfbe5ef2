package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
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

// A server may close an idle connection at any time: when it does so as a
// request comes that cannot be sent twice, the request fails, and the host is
// not to blame. On a new connection it is.
func TestBreaker_DoesNotChargeForAStaleConnection(t *testing.T) {
	o := transport.Options{Breaker: transport.BreakerOptions{Failures: 1, FirstFailures: 1}}
	for _, tt := range []struct {
		name  string
		kind  hostwise.Kind
		close func(net.Conn)
	}{
		{"closed", hostwise.HTTPEOF, func(c net.Conn) { readSome(c); c.Close() }},
		{"reset", hostwise.HTTPReset, func(c net.Conn) { c.Read(make([]byte, 1)); c.Close() }}, // with unread data
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, o, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.accept("192.0.2.1:80", func(c net.Conn) {
					readSome(c)
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					tt.close(c)
				})
				w.host("b.test", "192.0.2.2")
				w.accept("192.0.2.2:80", tt.close)
				post := func(host string) error {
					resp, err := w.client.Post("http://"+host+"/", "text/plain", strings.NewReader("text"))
					if err == nil {
						resp.Body.Close()
						synctest.Wait() // until the connection is idle
					}
					return err
				}
				if err := post("a.test"); err != nil {
					t.Fatal(err)
				}
				for _, host := range []string{"a.test", "b.test"} {
					if err := post(host); hostwise.KindOf(err) != tt.kind {
						t.Errorf("%s: %v, kind %q, want %q", host, err, hostwise.KindOf(err), tt.kind)
					}
				}
				if err := post("a.test"); err != nil {
					t.Errorf("after a stale connection: %v", err)
				}
				if err := post("b.test"); hostwise.KindOf(err) != hostwise.HostDown {
					t.Errorf("after a new connection that failed: %v, want kind %q", err, hostwise.HostDown)
				}
			})
		})
	}
}

// To say nothing is a fault of the host's over any connection.
func TestBreaker_ChargesForSilenceOnAKeptConnection(t *testing.T) {
	o := transport.Options{Breaker: transport.BreakerOptions{Failures: 1}}
	inWorld(t, nil, o, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/silent" {
				<-r.Context().Done()
			}
		}), "192.0.2.1:80")
		w.takes(0, "http://a.test/")
		w.fails("http://a.test/silent", hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest)
		if got := w.dials("192.0.2.1"); got != 1 {
			t.Errorf("%d dials, want the one connection", got)
		}
		w.fails("http://a.test/", hostwise.HostDown, "")
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
