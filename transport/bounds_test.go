package transport_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
