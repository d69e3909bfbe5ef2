package transport_test

import (
	"context"
	"errors"
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

// HostDown says what a request would be told, and begins no probe.
func TestHostDown_IsTheAnswerOfTheNextRequest(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		const hostPort = "A.test:80"
		for i := range 4 {
			_, err := w.client.Get("http://A.test/page")
			var told *hostwise.HostDownError
			errors.As(err, &told)
			down := w.tr.HostDown(hostPort)
			if got, want := down != nil, i >= 2; got != want {
				t.Errorf("after failure %d: HostDown = %v, want down %v", i+1, down, want)
			}
			if told != nil && (down == nil || !told.RetryAt.Equal(down.RetryAt) || told.Host != down.Host) {
				t.Errorf("HostDown = %v, the request was told %v", down, told)
			}
		}
		if down := w.tr.HostDown("a.test:443"); down != nil {
			t.Errorf("the other port: %v", down)
		}
		time.Sleep(time.Until(w.tr.HostDown(hostPort).RetryAt))
		for range 2 { // had the first begun a probe, the second would say so
			if down := w.tr.HostDown(hostPort); down != nil {
				t.Errorf("after the cool-down: %v", down)
			}
		}
	})
}

// Proxy is base's, whatever the context of the request says.
func TestProxy_IsThatOfTheBase(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy.test"}
	inWorld(t, &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == "direct.test" {
			return nil, nil
		}
		return proxy, nil
	}}, transport.Options{}, func(w *world) {
		ctx := transport.WithProxy(context.Background(), http.ProxyURL(&url.URL{Scheme: "http", Host: "other.test"}))
		for target, want := range map[string]*url.URL{"http://a.test/": proxy, "http://direct.test/": nil} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.tr.Proxy(req); got != want || err != nil {
				t.Errorf("Proxy(%s) = %v, %v, want %v", target, got, err, want)
			}
		}
	})
	inWorld(t, &http.Transport{}, transport.Options{}, func(w *world) {
		if got, err := w.tr.Proxy(&http.Request{URL: proxy}); got != nil || err != nil {
			t.Errorf("without a Proxy: %v, %v", got, err)
		}
	})
}

func TestLookup_AsksWhatADialWould(t *testing.T) {
	for _, tt := range []struct {
		name    string
		opt     transport.Options
		a, aaaa int
	}{
		{"both families", transport.Options{}, 1, 1},
		{"no IPv6", transport.Options{DisableIPv6: true}, 1, 0},
		{"no IPv4", transport.Options{DisableIPv4: true}, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, tt.opt, func(w *world) {
				w.host("a.test", "192.0.2.1", "2001:db8::1")
				addrs, err := w.tr.Lookup(context.Background(), "a.test")
				if err != nil || len(addrs) != tt.a+tt.aaaa {
					t.Errorf("Lookup = %v, %v, want %d addresses", addrs, err, tt.a+tt.aaaa)
				}
				w.client.Get("http://a.test/") // refused, and resolved from memory
				if a, aaaa := w.dns.Count("a.test", dns.TypeA), w.dns.Count("a.test", dns.TypeAAAA); a != tt.a || aaaa != tt.aaaa {
					t.Errorf("%d and %d queries, want %d and %d", a, aaaa, tt.a, tt.aaaa)
				}
			})
		})
	}
}

func TestLookup_Fails(t *testing.T) {
	inWorld(t, nil, transport.Options{DialTimeout: time.Second}, func(w *world) {
		w.dns.Handle("silent.test", dns.TypeANY, simnet.Rule{Silent: true})
		for name, want := range map[string]hostwise.Kind{"gone.test": hostwise.DNSNXDomain, "silent.test": hostwise.DNSTimeout} {
			start := time.Now()
			_, err := w.tr.Lookup(context.Background(), name)
			var e *hostwise.DNSError
			if !errors.As(err, &e) || e.Kind != want || time.Since(start) > time.Second {
				t.Errorf("Lookup(%s) = %v after %v, want %s within the dial's time-out", name, err, time.Since(start), want)
			}
		}
		w.tr.Close()
		if _, err := w.tr.Lookup(context.Background(), "a.test"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
