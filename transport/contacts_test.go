package transport_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// dialTime is the number of dials to port 80 that are over, and how long
// they took in all.
func (w *world) dialTime() (n int, sum time.Duration) {
	for _, d := range w.net.Dials() {
		if !d.End.IsZero() && d.Addr.Port() == 80 {
			n++
			sum += d.End.Sub(d.At)
		}
	}
	return n, sum
}

// Sixty-four workers meet a black hole: three dials find out, and everybody
// else waits for these.
func TestFirstContact_BlackHole(t *testing.T) {
	for _, perHost := range []int{0, -1} { // with MaxConnsPerHost, net/http has most of them wait
		inWorld(t, nil, transport.Options{MaxConnsPerHost: perHost}, func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
			var wg sync.WaitGroup
			var down, waited atomic.Int64
			for range 64 {
				wg.Go(func() {
					took, err := w.get("http://a.test/")
					waited.Add(int64(took))
					var e *hostwise.HostDownError
					if errors.As(err, &e) && e.Failures == 3 && took == 11*time.Second {
						down.Add(1)
					}
				})
			}
			wg.Wait()
			n, sum := w.dialTime()
			t.Logf("MaxConnsPerHost %d: %d dials of %v in all, 64 workers waited for %v in all", perHost, n, sum, time.Duration(waited.Load()))
			if n != 3 || sum != 30*time.Second {
				t.Errorf("%d dials, %v in all, want 3 and 30s", n, sum)
			}
			if d := time.Since(w.start); d != 11*time.Second {
				t.Errorf("64 requests took %v, want 11s: the third dial begins after one", d)
			}
			if got := down.Load(); got != 61 {
				t.Errorf("%d requests failed with HostDownError the moment the host went down, want 61", got)
			}
			if s := w.tr.Stats(); s.Refused != 61 || s.Trips != 1 || s.TimeSaved != 61*10*time.Second {
				t.Errorf("Refused = %d, Trips = %d, TimeSaved = %v, want 61, 1, 610s", s.Refused, s.Trips, s.TimeSaved)
			}
		})
	}
}

// Hosts that answer are waited for no longer than it takes.
func TestFirstContact_SlowHost(t *testing.T) {
	inWorld(t, nil, transport.Options{MaxConnsPerHost: -1}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.link("192.0.2.1", simnet.Link{RTT: 300 * ms})
		w.serve(ok, "192.0.2.1:80")
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if took, err := w.get("http://a.test/"); err != nil || took > 900*ms {
					t.Errorf("took %v, %v, want three round trips at most: another's connect, its own, the page", took, err)
				}
			})
		}
		wg.Wait()
	})
}

// A dial that is not charged makes room for the next.
func TestFirstContact_RefusalIsCountedAtOnce(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		var wg sync.WaitGroup
		var down atomic.Int64
		for range 64 {
			wg.Go(func() {
				if _, err := w.get("http://a.test/"); hostwise.KindOf(err) == hostwise.HostDown {
					down.Add(1)
				}
			})
		}
		wg.Wait()
		if n := w.dials("192.0.2.1"); n != 3 || down.Load() != 61 || !time.Now().Equal(w.start) {
			t.Errorf("%d dials, %d requests refused, after %v; want 3, 61, at once", n, down.Load(), time.Since(w.start))
		}
	})
}

// Requests that wait for room among all connections fail when their host goes
// down, too.
func TestMaxConns_WaitingRequestsFailWithTheirHost(t *testing.T) {
	inWorld(t, nil, transport.Options{MaxConns: 2, MaxConnsPerHost: -1, ResponseHeaderTimeout: -1, Breaker: transport.BreakerOptions{FirstFailures: 2, Failures: 2}}, func(w *world) {
		for i := range 2 {
			w.host(fmt.Sprintf("h%d.test", i), fmt.Sprintf("192.0.2.%d", 1+i))
		}
		w.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }), "192.0.2.1:80")
		w.serve(ok, "192.0.2.2:80")
		w.takes(0, "http://h1.test/") // so that it is no first contact
		w.tr.CloseIdleConnections()
		w.link("192.0.2.2", simnet.Link{Fault: simnet.BlackHole})
		var wg sync.WaitGroup
		wg.Go(func() { w.takes(time.Minute, "http://h0.test/") })
		time.Sleep(time.Second)
		var refused atomic.Int64
		for range 10 {
			wg.Go(func() {
				took, err := w.get("http://h1.test/")
				if hostwise.KindOf(err) == hostwise.HostDown && took == 20*time.Second {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if got, n := refused.Load(), w.dials("192.0.2.2"); got != 8 || n != 3 {
			t.Errorf("%d requests refused as the host went down, %d dials; want 8, and 1 + 2", got, n)
		}
	})
}

// A host that has answered before turns into a black hole: it has had its
// eight dials when the first fails, and what net/http holds back behind them
// fails with the host.
func TestMaxConnsPerHost_QueuedRequestsFailWithTheirHost(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(ok, "192.0.2.1:80")
		w.takes(0, "http://a.test/")
		w.tr.CloseIdleConnections()
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		before := w.dials("192.0.2.1")
		var wg sync.WaitGroup
		var down, waited atomic.Int64
		for range 64 {
			wg.Go(func() {
				took, err := w.get("http://a.test/")
				waited.Add(int64(took))
				if hostwise.KindOf(err) == hostwise.HostDown && took == 10*time.Second {
					down.Add(1)
				}
			})
		}
		wg.Wait()
		n := w.dials("192.0.2.1") - before
		t.Logf("%d dials, %d requests refused after 10s, 64 workers waited for %v in all", n, down.Load(), time.Duration(waited.Load()))
		if n > 8+4 || int(down.Load()) != 64-n {
			t.Errorf("%d dials, %d requests refused when the host went down; want the 8 and those that began before the fifth failure, and all others", n, down.Load())
		}
	})
}
