package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// sockets is the number of connections open or being made.
func (w *world) sockets() int {
	n := w.net.Stats().Open
	for _, d := range w.net.Dials() {
		if d.End.IsZero() {
			n++
		}
	}
	return n
}

// burst makes n requests at once, 300 ms each, and returns the time after
// which no socket was left, as far as it is less than a limit.
func (w *world) burst(rt http.RoundTripper, n int, limit time.Duration, url func(i int) string) (gone time.Duration, peak int) {
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*ms)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", url(i), nil)
			if err != nil {
				w.t.Error(err)
				return
			}
			if resp, err := rt.RoundTrip(req); err == nil {
				resp.Body.Close()
				w.t.Errorf("%s answered", req.URL)
			}
		})
	}
	for at := 100 * ms; ; at += 100 * ms { // wakes up after the network has done its work
		time.Sleep(time.Until(start.Add(at)))
		synctest.Wait()
		s := w.sockets()
		peak = max(peak, s)
		if s == 0 || at >= limit {
			wg.Wait()
			return at, peak
		}
	}
}

// Requests that nobody waits for any more hold no sockets. net/http gives its
// dials no deadline, CONNECT a minute and SOCKS for ever.
func TestDeadline_NoSocketOutlivesIt(t *testing.T) {
	const requests = 1000
	for _, tt := range []struct {
		name, scheme, proxy string
		port                int // that accepts, and says nothing
		fault               simnet.Fault
	}{
		{"black hole", "http", "", 80, simnet.BlackHole},
		{"silent TLS", "https", "", 443, simnet.None},
		{"silent CONNECT proxy", "https", "http://proxy.test:3128", 3128, simnet.None},
		{"silent SOCKS5 proxy", "https", "socks5://proxy.test:1080", 1080, simnet.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := &http.Transport{}
			if tt.proxy != "" {
				u, err := url.Parse(tt.proxy)
				if err != nil {
					t.Fatal(err)
				}
				base.Proxy = http.ProxyURL(u)
			}
			inWorld(t, base, transport.Options{MaxConns: -1, MaxConnsPerHost: -1}, func(w *world) {
				w.host("proxy.test", "192.0.2.1")
				w.link("192.0.2.1", simnet.Link{Fault: tt.fault})
				address := fmt.Sprintf("192.0.2.1:%d", tt.port)
				end := make(chan struct{})
				w.accept(address, func(c net.Conn) {
					defer c.Close()
					go func() { <-end; c.Close() }()
					io.Copy(io.Discard, c)
				})
				name := func(i int) string { return fmt.Sprintf("%s://h%d.test/", tt.scheme, i) }
				for i := range requests {
					w.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
				}
				gone, peak := w.burst(w.tr, requests, time.Minute, name)
				t.Logf("hostwise: %d sockets at most, none after %v", peak, gone)
				if gone > 800*ms {
					t.Errorf("sockets were left for %v, want 0.8s at most", gone)
				}

				stock := base.Clone()
				stock.TLSHandshakeTimeout = 10 * time.Second // http.DefaultTransport's
				stock.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return w.net.DialContext(ctx, network, address)
				}
				gone, peak = w.burst(stock, requests, 5*time.Minute, name)
				t.Logf("net/http: %d sockets at most, %d after %v", peak, w.sockets(), gone)
				close(end) // or net/http's would never end
			})
		})
	}
}

// clientGoroutines is the number of goroutines that net/http and this package
// have at work. All servers here are tests.
func clientGoroutines() (n int) {
	buf := make([]byte, 1<<20)
	for {
		m := runtime.Stack(buf, true)
		if m < len(buf) {
			buf = buf[:m]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		if bytes.Contains(g, []byte("\nnet/http.")) || bytes.Contains(g, []byte("hostwise/transport.")) {
			n++
		}
	}
	return n
}

// An ending is how a crowd of requests without a deadline ended.
type ending struct {
	last       time.Duration  // when the last did; a limit, if it did not
	ended      int            // before the limit
	how        map[string]int // Kind, phase and time
	err        error          // of one of them
	sockets    int            // left half a second later
	goroutines int
}

func ended(k hostwise.Kind, p hostwise.Phase, after time.Duration) string {
	return fmt.Sprintf("with %s in phase %s after %v", k, p, after)
}

// crowd makes n requests at once and reads the bodies.
func (w *world) crowd(rt http.RoundTripper, n int, limit time.Duration, f *fixture, url func(i int) string) (e ending) {
	ctx, cancel := context.WithCancel(context.Background())
	e.how = map[string]int{}
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	before := clientGoroutines()
	for i := range n {
		wg.Go(func() {
			method, body := "GET", io.Reader(nil)
			if f.upload {
				method, body = "POST", bytes.NewReader(megabyte)
			}
			req, err := http.NewRequestWithContext(ctx, method, url(i), body)
			if err != nil {
				w.t.Error(err)
				return
			}
			resp, err := rt.RoundTrip(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return
			}
			e.ended++
			e.how[ended(hostwise.KindOf(err), hostwise.PhaseOf(err), took)]++
			e.err, e.last = err, max(e.last, took)
		})
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(limit):
		mu.Lock()
		e.last = limit
		mu.Unlock()
	}
	time.Sleep(500 * ms)
	synctest.Wait()
	e.sockets, e.goroutines = w.sockets(), clientGoroutines()-before
	cancel()
	<-all
	return e
}

var megabyte = make([]byte, 1<<20)

// Whatever a server does to a request, the defaults end it, and nothing is
// left of it half a second later. net/http has no bound for half of it.
func TestBounds_EveryRequestEnds(t *testing.T) {
	const (
		stocks   = 5 // of net/http's
		patience = 10 * time.Minute
		enough   = 20 // connections of one request
	)
	requests := 1000
	if testing.Short() || transport.WithRaceDetector() {
		requests = 50
	}
	table := &strings.Builder{}
	fmt.Fprintln(table, "| a server's doing | `Kind` | hostwise ends after | sockets, goroutines left | net/http ends after | sockets, goroutines left |\n|---|---|--:|--:|--:|--:|")
	for i := range fixtures {
		f := &fixtures[i]
		t.Run(f.name, func(t *testing.T) {
			base, cert := lightCertificate(t)
			scheme, port := f.scheme, 80
			if proxy, ok := strings.CutSuffix(f.scheme, ":"); ok {
				base.Proxy = http.ProxyURL(&url.URL{Scheme: proxy, Host: "proxy.test:3128"})
				scheme, port = "https", 3128
			} else if scheme == "https" {
				port = 443
			}
			inWorld(t, base, transport.Options{MaxConns: -1}, func(w *world) {
				w.host("proxy.test", "192.0.2.1")
				address := fmt.Sprintf("192.0.2.1:%d", port)
				end := make(chan struct{})
				defer close(end)
				w.accept(address, func(c net.Conn) { f.accept(c, cert, end) })
				for i := range requests {
					w.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
				}
				name := func(i int) string { return fmt.Sprintf("%s://h%d.test/", scheme, i) }

				e := w.crowd(w.tr, requests, patience, f, name)
				want, late := ended(f.kind, f.phase, f.bound), 0
				if f.pause > 0 {
					late = e.how[ended(f.kind, f.phase, f.bound+f.pause)]
				}
				if e.how[want]+late != requests || late > requests/20 {
					t.Errorf("hostwise: requests ended %v: %v, want all %s", e.how, e.err, want)
				}
				if e.sockets != 0 || e.goroutines != 0 {
					t.Errorf("hostwise: %d sockets and %d goroutines left", e.sockets, e.goroutines)
				}

				stock := http.DefaultTransport.(*http.Transport).Clone()
				stock.Proxy, stock.TLSClientConfig = base.Proxy, base.TLSClientConfig.Clone()
				var dials atomic.Int32
				over := make(chan struct{})
				stock.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					if dials.Add(1) > stocks*enough {
						<-over
						return nil, net.ErrClosed
					}
					c, err := w.net.DialContext(ctx, network, address)
					if err == nil {
						go func() { <-over; c.Close() }() // which it may have forgotten
					}
					return c, err
				}
				s := w.crowd(stock, stocks, patience, f, name)
				close(over)
				stockEnds := s.last.Round(time.Second).String()
				switch {
				case dials.Load() > stocks*enough:
					stockEnds = fmt.Sprintf("never: %d connections", enough)
				case s.ended < stocks:
					stockEnds = "never"
				}
				fmt.Fprintf(table, "| %s | `%s` | %v | %d, %d | %s | %d, %d |\n", f.name, f.kind, e.last, e.sockets, e.goroutines, stockEnds, s.sockets, s.goroutines)
			})
		})
	}
	t.Logf("%d requests at once, net/http: %d, with %v to end. Left: half a second later.\n%s", requests, stocks, patience, table)
}

// What a request costs in goroutines at most: see the package's section on
// bounds.
func TestBounds_Goroutines(t *testing.T) {
	const requests = 100
	base, cert := lightCertificate(t)
	inWorld(t, base, transport.Options{MaxConns: -1, ConnectionAttemptDelay: 100 * ms, DisableMemory: true}, func(w *world) {
		var silent []string
		for i := range 10 {
			addr := fmt.Sprintf("192.0.2.%d", 100+i)
			w.link(addr, simnet.Link{Fault: simnet.BlackHole})
			silent = append(silent, addr)
		}
		end := make(chan struct{})
		hang := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusOK)
			rw.(http.Flusher).Flush()
			<-end
		})
		w.serve(hang, "192.0.2.1:80")
		w.serveTLS(hang, cert, "192.0.2.1:443")
		for i := range requests {
			w.host(fmt.Sprintf("dead%d.test", i), silent...)
			w.host(fmt.Sprintf("live%d.test", i), "192.0.2.1")
		}
		for _, tt := range []struct {
			name, url string
			most      int
		}{
			{"a dial to eight of ten silent addresses", "http://dead%d.test/", 1 + 8},
			{"a response over HTTP/1.1", "http://live%d.test/", 2},
			{"a response over HTTP/2, alone on its connection", "https://live%d.test/", 2},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			before := runtime.NumGoroutine() - servers()
			for i := range requests {
				wg.Go(func() {
					req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf(tt.url, i), nil)
					if err != nil {
						t.Error(err)
						return
					}
					if resp, err := w.tr.RoundTrip(req); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				})
			}
			time.Sleep(9 * time.Second)
			synctest.Wait()
			each := (runtime.NumGoroutine()-servers()-before)/requests - 1 // but for the caller's own
			t.Logf("%s: %d goroutines", tt.name, each)
			if each > tt.most {
				t.Errorf("%s: %d goroutines, want %d at most", tt.name, each, tt.most)
			}
			cancel()
			wg.Wait()
			time.Sleep(time.Minute)
		}
		close(end)
	})
}

// servers is the number of goroutines that net/http's servers have begun.
func servers() (n int) {
	buf := make([]byte, 16<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, by := range []string{"(*Server)", "(*http2serverConn)", "(*connReader)"} {
		n += bytes.Count(buf, []byte("created by net/http."+by))
	}
	return n
}
