package transport_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// A function of the caller's that panics or ends the goroutine is no failure
// of the host's, and gives the probe back.
func TestBreaker_PanicsAndGoexit(t *testing.T) {
	for how, end := range map[string]func(){"panic": func() { panic(errStop) }, "Goexit": runtime.Goexit} {
		for what, ctx := range map[string]func() context.Context{
			"GetConn": func() context.Context {
				return httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GetConn: func(string) { end() }})
			},
			"GotConn": func() context.Context {
				return httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { end() }})
			},
			"proxy function": func() context.Context {
				return transport.WithProxy(context.Background(), func(*http.Request) (*url.URL, error) { end(); return nil, nil })
			},
			"DialContext": func() context.Context { // called by the user: the dial's hooks run on the caller's goroutine
				return httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{ConnectStart: func(string, string) { end() }})
			},
		} {
			inWorld(t, nil, transport.Options{}, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.serve(ok, "192.0.2.1:80")
				request := func() {
					req, err := http.NewRequestWithContext(ctx(), "GET", "http://a.test/", nil)
					if err != nil {
						t.Fatal(err)
					}
					if what == "DialContext" {
						_, err = w.tr.DialContext(req.Context(), "tcp", "a.test:80")
					} else {
						_, err = w.client.Do(req)
					}
					t.Errorf("%s, %s: the request goes on: %v", what, how, err)
				}
				for range 10 { // as often as it likes
					w.isolated(request)
				}
				synctest.Wait()
				if got := w.tr.Stats(); got.HostsDown != 0 || got.Trips != 0 {
					t.Errorf("%s, %s: the host is down", what, how)
				}
				w.link("192.0.2.1", simnet.Link{Fault: simnet.Refuse})
				failures := 3
				if what == "GotConn" { // it has been reached
					failures = 5
				}
				for range failures {
					w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
				}
				e := w.down("http://a.test/", hostwise.HostDown)
				w.link("192.0.2.1", simnet.Link{})
				time.Sleep(time.Until(e.RetryAt))
				w.isolated(request) // is the probe
				synctest.Wait()
				w.takes(0, "http://a.test/") // and the next one need not wait
			})
		}
	}
}

// What the base transport's DialContext and a request's body do on goroutines
// of net/http and of ours: Goexit there, as of a test's t.FailNow, wedges
// nothing.
func TestBreaker_GoexitElsewhere(t *testing.T) {
	var exit atomic.Bool
	n := simnet.New(1)
	synctest.Test(t, func(t *testing.T) {
		base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if exit.Load() {
				runtime.Goexit()
			}
			return n.DialContext(ctx, network, address)
		}}
		tr, err := transport.New(base, &transport.Options{Resolver: resolverFunc(func(_ context.Context, network, _ string) ([]netip.Addr, error) {
			if network == "ip6" {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		l, err := n.Listen("192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: ok}
		go s.Serve(l)
		client := &http.Client{Transport: tr}
		exit.Store(true)
		for range 10 {
			start := time.Now()
			_, err := client.Get("http://a.test/")
			if hostwise.KindOf(err) != hostwise.Other || time.Since(start) != 0 {
				t.Errorf("after %v: %v, want an error at once", time.Since(start), err)
			}
		}
		exit.Store(false)
		for range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			req, err := http.NewRequestWithContext(ctx, "POST", "http://a.test/", exitReader{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Do(req); err == nil {
				t.Error("a body that cannot be read was sent")
			}
			cancel()
		}
		if got := tr.Stats(); got.Trips != 0 || got.HostsDown != 0 {
			t.Errorf("%d trips, want none", got.Trips)
		}
		if resp, err := client.Get("http://a.test/"); err != nil {
			t.Error(err)
		} else {
			resp.Body.Close()
		}
		tr.Close()
		s.Close()
		time.Sleep(time.Minute)
	})
}

type exitReader struct{}

func (exitReader) Read([]byte) (int, error) { runtime.Goexit(); return 0, nil }

// Ten thousand failures of each sort that is not the host's: nothing trips.
func TestBreaker_ChargesOnlyTheHostsFailures(t *testing.T) {
	const requests = 10_000
	for _, tt := range []struct {
		name   string
		kind   hostwise.Kind
		public bool
		do     func(w *world) error
	}{
		{"canceled", hostwise.Canceled, false, func(w *world) error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Millisecond, cancel)
			return w.do(ctx, "http://hole.test/")
		}},
		{"a short deadline", hostwise.ConnectTimeout, false, func(w *world) error {
			ctx, cancel := context.WithTimeout(context.Background(), 100*ms)
			defer cancel()
			return w.do(ctx, "http://hole.test/")
		}},
		{"no such name", hostwise.DNSNXDomain, false, func(w *world) error { return w.do(context.Background(), "http://none.test/") }},
		{"policy", hostwise.PolicyDenied, true, func(w *world) error { return w.do(context.Background(), "http://hole.test/") }},
		{"no route", hostwise.LocalOutage, false, func(w *world) error { return w.do(context.Background(), "http://noroute.test/") }},
		{"the proxy function", hostwise.Other, false, func(w *world) error {
			return w.do(transport.WithProxy(context.Background(), func(*http.Request) (*url.URL, error) { return nil, errStop }), "http://hole.test/")
		}},
	} {
		inWorld(t, nil, transport.Options{PublicOnly: tt.public}, func(w *world) {
			w.host("hole.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
			w.host("noroute.test", "192.0.2.2")
			w.link("192.0.2.2", simnet.Link{Fault: simnet.NoRoute})
			for range requests {
				if err := tt.do(w); hostwise.KindOf(err) != tt.kind {
					t.Fatalf("%s: %v, kind %s, want %s", tt.name, err, hostwise.KindOf(err), tt.kind)
				}
			}
			s := w.tr.Stats()
			t.Logf("%s: %d failures, %d trips", tt.name, s.Failures[tt.kind], s.Trips)
			if s.Trips != 0 || s.HostsDown != 0 || s.Refused != 0 {
				t.Errorf("%s: %d trips, %d hosts down, %d refused", tt.name, s.Trips, s.HostsDown, s.Refused)
			}
		})
	}
}

func (w *world) do(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return err
}
