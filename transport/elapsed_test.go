package transport_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// A failed request says what each phase took, whatever ended it. The name
// takes 100 ms, the link 40 ms a round trip.
func TestElapsed_OfEachPhase(t *testing.T) {
	const lookup, rtt = 100 * ms, 40 * ms
	silence := func(c net.Conn) { io.Copy(io.Discard, c); c.Close() }
	for _, tt := range []struct {
		name, url string
		proxy     string
		prepare   func(w *world)
		deadline  time.Duration // 0: none
		want      hostwise.Elapsed
	}{
		{"nameserver", "http://a.test/", "", func(w *world) {
			w.dns.Handle("a.test", dns.TypeA, simnet.Rule{Silent: true})
		}, 0, hostwise.Elapsed{Resolve: 4 * time.Second}},
		{"nameserver until the deadline", "http://a.test/", "", func(w *world) {
			w.dns.Handle("a.test", dns.TypeA, simnet.Rule{Silent: true})
		}, time.Second, hostwise.Elapsed{Resolve: 990 * ms}},
		{"black hole", "http://a.test/", "", func(w *world) {
			w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		}, 0, hostwise.Elapsed{Resolve: lookup, Connect: 10 * time.Second}},
		{"refusal", "http://a.test/", "", func(w *world) {}, 0, hostwise.Elapsed{Resolve: lookup, Connect: rtt}},
		{"TLS", "https://a.test/", "", func(w *world) {
			w.accept("192.0.2.1:443", silence)
		}, 0, hostwise.Elapsed{Resolve: lookup, Connect: rtt, TLS: 5 * time.Second}},
		{"headers", "http://a.test/", "", func(w *world) {
			w.accept("192.0.2.1:80", silence)
		}, 0, hostwise.Elapsed{Resolve: lookup, Connect: rtt, Request: 15 * time.Second}},
		{"headers until the deadline", "http://a.test/", "", func(w *world) {
			w.accept("192.0.2.1:80", silence)
		}, time.Second, hostwise.Elapsed{Resolve: lookup, Connect: rtt, Request: 990*ms - lookup - rtt}},
		{"body", "http://a.test/", "", func(w *world) {
			w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(10 * ms)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}), "192.0.2.1:80")
		}, time.Second, hostwise.Elapsed{Resolve: lookup, Connect: rtt, Request: rtt + 10*ms, Body: time.Second - lookup - 2*rtt - 10*ms}},
		{"proxy", "https://a.test/", "http://proxy.test:3128", func(w *world) {
			w.accept("192.0.2.1:3128", silence)
		}, time.Second, hostwise.Elapsed{Resolve: lookup, Connect: 990*ms - lookup}},
		{"TLS through a proxy", "https://a.test/", "http://proxy.test:3128", func(w *world) {
			w.accept("192.0.2.1:3128", func(c net.Conn) {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
				silence(c)
			})
		}, time.Second, hostwise.Elapsed{Resolve: lookup, Connect: 2 * rtt, TLS: 990*ms - lookup - 2*rtt}},
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
			inWorld(t, base, transport.Options{DisableIPv6: true}, func(w *world) {
				w.link("192.0.2.1", simnet.Link{RTT: rtt})
				w.link("192.0.2.53", simnet.Link{RTT: lookup})
				w.host("a.test", "192.0.2.1")
				w.host("proxy.test", "192.0.2.1")
				tt.prepare(w)
				ctx := context.Background()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				req, err := http.NewRequestWithContext(ctx, "GET", tt.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := w.client.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if got := hostwise.ElapsedOf(err); got != tt.want {
					t.Errorf("%v: %v, want %v", err, got, tt.want)
				}
			})
		})
	}
}

// A request that waits for another one's connection says so.
func TestElapsed_OfWaiting(t *testing.T) {
	inWorld(t, &http.Transport{}, transport.Options{MaxConnsPerHost: 1}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.accept("192.0.2.1:80", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
		go w.client.Get("http://a.test/")
		time.Sleep(ms)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://a.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.client.Do(req)
		if got, want := hostwise.ElapsedOf(err), (hostwise.Elapsed{Wait: 990 * ms}); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	})
}
