package transport

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkRoundTrip is a request over a kept-alive connection: net/http
// alone, and with a Transport around it.
func BenchmarkRoundTrip(b *testing.B) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a page") }))
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
		get := func(b *testing.B) {
			req, err := http.NewRequest("GET", site.URL, nil)
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
		b.Run(rt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				get(b)
			}
		})
		b.Run(rt.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					get(b)
				}
			})
		})
	}
}

// BenchmarkBreaker_HealthyHost is what the breaker costs a request to a host
// without a recent failure.
func BenchmarkBreaker_HealthyHost(b *testing.B) {
	br := newBreaker()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		p, down := br.allow("a.test:443", now)
		if down != nil {
			b.Fatal(down)
		}
		br.success("a.test:443", p)
	}
}
