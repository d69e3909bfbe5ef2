package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/sony/gobreaker/v2"
)

var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a page") })

// BenchmarkRoundTrip is a request over a kept-alive connection: net/http
// alone, and with a Transport around it.
func BenchmarkRoundTrip(b *testing.B) {
	site := httptest.NewServer(page)
	defer site.Close()
	t, err := New(nil, &Options{MaxConns: -1, MaxConnsPerHost: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	for _, rt := range []struct {
		name string
		http.RoundTripper
	}{{"nethttp", &http.Transport{MaxIdleConnsPerHost: 100}}, {"hostwise", t}} {
		b.Run(rt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fetch(b, rt, site.URL)
			}
		})
		b.Run(rt.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					fetch(b, rt, site.URL)
				}
			})
		})
	}
}

func fetch(b testing.TB, rt http.RoundTripper, url string) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// BenchmarkDownload is a body of 32 MiB over TLS: what the bounds on a body
// cost.
func BenchmarkDownload(b *testing.B) {
	const pieces = 128
	piece := make([]byte, 256<<10)
	for _, http2 := range []bool{false, true} {
		site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range pieces {
				w.Write(piece)
			}
		}))
		site.EnableHTTP2 = http2
		site.StartTLS()
		b.Cleanup(site.Close)
		base := site.Client().Transport.(*http.Transport)
		t, err := New(base, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { t.Close() })
		for _, rt := range []struct {
			name string
			http.RoundTripper
		}{{"nethttp", base}, {"hostwise", t}} {
			b.Run(fmt.Sprintf("%s/http2=%v", rt.name, http2), func(b *testing.B) {
				b.SetBytes(pieces * int64(len(piece)))
				for b.Loop() {
					fetch(b, rt, site.URL)
				}
			})
		}
	}
}

// BenchmarkColdRequest is a request over a connection of its own to one
// healthy host. The address variants differ in the dial alone; with a name
// the cache takes part, and net/http is not compared.
func BenchmarkColdRequest(b *testing.B) {
	site := httptest.NewServer(page)
	defer site.Close()
	_, port, err := net.SplitHostPort(site.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	t := cold(b)
	for _, bb := range []struct {
		name, url string
		http.RoundTripper
	}{
		{"nethttp/address", site.URL, &http.Transport{DisableKeepAlives: true}},
		{"hostwise/address", site.URL, t},
		{"hostwise/name", (&url.URL{Scheme: "http", Host: net.JoinHostPort("a.test", port)}).String(), t},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fetch(b, bb, bb.url)
			}
		})
	}
}

// BenchmarkColdRequest_Added is what a Transport adds to http.DefaultTransport
// in a request over a connection of its own.
func BenchmarkColdRequest_Added(b *testing.B) {
	site := httptest.NewServer(page)
	defer site.Close()
	stock := http.DefaultTransport.(*http.Transport).Clone()
	stock.DisableKeepAlives = true
	one := func(rt http.RoundTripper) func() (after func()) {
		return func() func() {
			fetch(b, rt, site.URL)
			return func() {}
		}
	}
	reportAdded(b, one(stock), one(cold(b)))
}

// reportAdded reports how much longer one function takes than another. They
// take turns, so that a busy machine disturbs both of them alike, and the
// quartiles are compared. What they return is run after each, and not timed.
func reportAdded(b *testing.B, stock, ours func() (after func())) {
	var took [2][]time.Duration
	for b.Loop() {
		for i, f := range [2]func() func(){stock, ours} {
			start := time.Now()
			after := f()
			took[i] = append(took[i], time.Since(start))
			after()
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	for q, name := range []string{"min", "p25", "p50", "p75"} {
		i := q * len(took[0]) / 4
		b.ReportMetric(float64(took[1][i]-took[0][i])/1e3, name+"-added-µs")
	}
}

// cold is a Transport whose every request needs a connection of its own, and
// that knows a.test to be 127.0.0.1.
func cold(b testing.TB) *Transport {
	n := simnet.New(1)
	ns := n.ServeDNS("192.0.2.53:53")
	ns.AddHost("a.test", 24*3600, netip.MustParseAddr("127.0.0.1"))
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: n.DialContext})
	if err != nil {
		b.Fatal(err)
	}
	t, err := New(&http.Transport{DisableKeepAlives: true}, &Options{Resolver: r})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		t.Close()
		r.Close()
		ns.Close()
	})
	return t
}

// BenchmarkDial is the dial alone, beside the dialer of http.DefaultTransport.
func BenchmarkDial(b *testing.B) {
	l, name := listenForDials(b)
	t := cold(b)
	for _, bb := range []struct {
		name, address string
		dial          dialFunc
	}{
		{"nethttp/address", l.Addr().String(), stockDialer.DialContext},
		{"hostwise/address", l.Addr().String(), t.DialContext},
		{"hostwise/name", name, t.DialContext},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			one := dialOnce(b, l, bb.dial, bb.address)
			for b.Loop() {
				one()()
			}
		})
	}
}

// BenchmarkDial_Added is what a Transport adds to it.
func BenchmarkDial_Added(b *testing.B) {
	l, name := listenForDials(b)
	t := cold(b)
	stock := dialOnce(b, l, stockDialer.DialContext, l.Addr().String())
	b.Run("address", func(b *testing.B) { reportAdded(b, stock, dialOnce(b, l, t.DialContext, l.Addr().String())) })
	b.Run("name", func(b *testing.B) { reportAdded(b, stock, dialOnce(b, l, t.DialContext, name)) })
}

var stockDialer = net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}

// listenForDials returns a listener, and its address by the name that cold
// knows.
func listenForDials(b *testing.B) (l net.Listener, name string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return l, net.JoinHostPort("a.test", port)
}

// dialOnce returns a function that dials, under a context that may end, as
// that of net/http's dials; and returns one that accepts the connection and
// closes it.
func dialOnce(b *testing.B, l net.Listener, dial dialFunc, address string) func() (after func()) {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	return func() func() {
		c, err := dial(ctx, "tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		return func() {
			server, err := l.Accept()
			if err != nil {
				b.Fatal(err)
			}
			server.Close() // first: this side keeps the TIME_WAIT
			io.Copy(io.Discard, c)
			c.Close()
		}
	}
}

// BenchmarkBreaker_HealthyHost is what the breaker costs a request to a host
// without a recent failure.
func BenchmarkBreaker_HealthyHost(b *testing.B) {
	br := newTestBreaker(BreakerOptions{})
	now := time.Now()
	one := func() {
		p, down := br.allow("a.test:443", now)
		if down != nil {
			b.Error(down)
		}
		br.success("a.test:443", p)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}

// BenchmarkBreaker_DownHost is what it costs to refuse a request.
func BenchmarkBreaker_DownHost(b *testing.B) {
	br := newTestBreaker(BreakerOptions{})
	now := time.Now()
	for range 5 {
		br.failure("a.test:443", now, errDown, 0, true, nil, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, down := br.allow("a.test:443", now); down == nil {
			b.Fatal("the host is not down")
		}
	}
}

// BenchmarkBreaker_FailingHost is what a failure costs that does not trip: a
// host's first, of a host that is new each time, and all of a host that fails
// and is back again; and the same with gobreakers alone.
func BenchmarkBreaker_FailingHost(b *testing.B) {
	b.Run("hostwise/first", func(b *testing.B) {
		br := newTestBreaker(BreakerOptions{})
		now := time.Now()
		key := []byte("www.h00000000.example.com:443")
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			br.failure(string(strconv.AppendInt(key[:5], int64(i), 10)), now, errDown, 0, true, nil, 0)
		}
	})
	b.Run("hostwise/again", func(b *testing.B) {
		br := newTestBreaker(BreakerOptions{Failures: 5})
		now := time.Now()
		b.ReportAllocs()
		for i := 1; b.Loop(); i++ {
			if _, down := br.allow("a.test:443", now); down != nil {
				b.Fatal(down)
			}
			if i%5 == 0 {
				br.success("a.test:443", nil)
			} else {
				br.failure("a.test:443", now, errDown, 0, true, nil, 0)
			}
		}
	})
	b.Run("gobreaker/again", func(b *testing.B) {
		br := gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 }})
		b.ReportAllocs()
		for i := 1; b.Loop(); i++ {
			done, err := br.Allow()
			if err != nil {
				b.Fatal(err)
			}
			if i%5 == 0 {
				done(nil)
			} else {
				done(errDown)
			}
		}
	})
}
