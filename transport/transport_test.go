package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

func TestMaxConns_IdleConnectionsMakeRoom(t *testing.T) {
	_, cert := certificate(t)
	for _, scheme := range []string{"http", "https"} {
		inWorld(t, nil, transport.Options{MaxConns: 2}, func(w *world) {
			var names []string
			for i := range 20 {
				names = append(names, fmt.Sprintf("h%d.example.com", i))
				addr := fmt.Sprintf("192.0.2.%d", 100+i)
				w.host(names[i], addr)
				w.serve(ok, addr+":80")
				w.serveTLS(ok, cert, addr+":443")
			}
			for range 3 {
				for _, name := range names {
					w.takes(0, scheme+"://"+name+"/")
				}
			}
			if got := w.net.Stats().PeakOpen; got > 2 {
				t.Errorf("%s: %d connections at a time, want at most 2", scheme, got)
			}
		})
	}
}

func TestContract(t *testing.T) {
	_, cert := certificate(t)
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("example.com", "192.0.2.1")
		w.serveTLS(ok, cert, "192.0.2.1:443")
		req, _ := http.NewRequest("GET", "https://example.com/", nil)
		before := *req
		resp, err := w.tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "ok HTTP/2.0" || resp.ProtoMajor != 2 {
			t.Errorf("body %q over HTTP/%d, want HTTP/2", body, resp.ProtoMajor)
		}
		if resp.Request != req {
			t.Error("resp.Request is not the caller's")
		}
		if before.URL != req.URL || before.Context() != req.Context() || len(req.Header) != 0 {
			t.Error("the request was changed")
		}
		if got := w.net.Stats().Open; got != 1 {
			t.Errorf("%d connections open, want 1", got)
		}
		synctest.Wait() // until the stream has ended on both sides
		w.client.CloseIdleConnections()
		synctest.Wait()
		if got := w.net.Stats().Open; got != 0 {
			t.Errorf("%d connections open after CloseIdleConnections, want 0", got)
		}
	})
}

type closeCounter struct {
	io.Reader
	closed atomic.Int64
}

func (c *closeCounter) Close() error { c.closed.Add(1); return nil }

func TestContract_BodyIsClosedOnEveryEarlyReturn(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("down.test", "192.0.2.1")
		for range 3 {
			w.get("http://down.test/")
		}
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		badProxy := transport.WithProxy(context.Background(), func(*http.Request) (*url.URL, error) { return nil, errStop })
		for _, tt := range []struct {
			url string
			ctx context.Context
		}{
			{"http://down.test/", context.Background()},
			{"http://none.test/", context.Background()},
			{"http://a.test/", dead},
			{"http://a.test/", badProxy},
			{"ftp://a.test/", context.Background()},
			{"http:///", context.Background()},
		} {
			body := &closeCounter{Reader: strings.NewReader("x")}
			req, _ := http.NewRequestWithContext(tt.ctx, "POST", tt.url, body)
			if _, err := w.tr.RoundTrip(req); err == nil {
				t.Errorf("%s succeeded", tt.url)
			}
			synctest.Wait()
			if body.closed.Load() == 0 {
				t.Errorf("%s: the body was not closed", tt.url)
			}
		}
	})
}

func TestDeadline_DoesNotCutTheBody(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			time.Sleep(1995 * ms) // within the lead before the deadline
			io.WriteString(w, "late")
		}), "192.0.2.1:80")
		w.client.Timeout = 2 * time.Second
		w.takes(0, "http://a.test/")
		if d := time.Since(w.start); d != 1995*ms {
			t.Errorf("the body took %v, want 1.995s", d)
		}
	})
}

func TestBody_ErrorsAreTyped(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.accept("192.0.2.1:80", func(c net.Conn) {
			readSome(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			c.Close()
		})
		err := w.fails("http://a.test/", hostwise.HTTPEOF, hostwise.PhaseBody)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v is not io.ErrUnexpectedEOF", err)
		}
	})
}

func TestDial_EndsWithTheRequestsDeadline(t *testing.T) {
	inWorld(t, nil, transport.Options{MaxConnsPerHost: -1}, func(w *world) {
		var wg sync.WaitGroup
		for i := range 1000 {
			name := fmt.Sprintf("h%d.test", i)
			w.host(name, "192.0.2.1")
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 300*ms)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+name+"/", nil)
				_, err := w.client.Do(req)
				if hostwise.PhaseOf(err) != hostwise.PhaseConnect {
					t.Errorf("err = %v, want phase connect", err)
				}
			})
		}
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		wg.Wait()
		time.Sleep(100 * ms)
		if got := w.tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections being dialled 0.1 s after the deadline, want 0", got)
		}
	})
}

func TestProxy_FailuresChargeTheProxy(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("proxy.test", "192.0.2.9")
		proxy, _ := url.Parse("http://proxy.test:3128")
		ctx := transport.WithProxy(context.Background(), http.ProxyURL(proxy))
		get := func(u string) error {
			req, _ := http.NewRequestWithContext(ctx, "GET", u, nil)
			resp, err := w.client.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		for i, want := range []hostwise.Kind{hostwise.ProxyConnect, hostwise.ProxyConnect, hostwise.ProxyConnect, hostwise.HostDown} {
			err := get(fmt.Sprintf("http://h%d.test/", i))
			if got := hostwise.KindOf(err); got != want {
				t.Errorf("KindOf(%v) = %s, want %s", err, got, want)
			}
			var e *hostwise.ConnectError
			if errors.As(err, &e) && e.Proxy != "proxy.test:3128" {
				t.Errorf("Proxy = %q", e.Proxy)
			}
		}
		if got := w.tr.Stats().HostsDown; got != 1 {
			t.Errorf("HostsDown = %d, want 1: the proxy", got)
		}
		time.Sleep(time.Minute)
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "CONNECT" {
				w.WriteHeader(map[string]int{"auth.test:443": 407, "gone.test:443": 502}[r.Host])
				return
			}
			io.WriteString(w, "via proxy "+r.URL.String())
		}), "192.0.2.9:3128")
		if err := get("http://h9.test/"); err != nil {
			t.Error(err)
		}
		for host, want := range map[string]hostwise.Kind{"auth.test": hostwise.ProxyAuth, "gone.test": hostwise.ProxyGateway} {
			if err := get("https://" + host + "/"); hostwise.KindOf(err) != want {
				t.Errorf("%s: %v: kind %s, want %s", host, err, hostwise.KindOf(err), want)
			}
		}
		if got := w.tr.Stats().HostsDown; got != 0 {
			t.Errorf("HostsDown = %d, want 0", got)
		}
		if got := w.dns.Count("h9.test", dns.TypeA); got != 0 {
			t.Error("a proxied host's name was looked up")
		}
	})
}

// The request that was to find out whether a host is back meets a dead proxy.
func TestProxy_ProbeIsGivenBack(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.host("proxy.test", "192.0.2.9")
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		}
		time.Sleep(33 * time.Second) // the cool-down, and a tenth
		proxy, _ := url.Parse("http://proxy.test:3128")
		req, _ := http.NewRequestWithContext(transport.WithProxy(context.Background(), http.ProxyURL(proxy)), "GET", "http://a.test/", nil)
		if _, err := w.client.Do(req); hostwise.KindOf(err) != hostwise.ProxyConnect {
			t.Errorf("through the proxy: %v", err)
		}
		w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect) // the next probe
	})
}

func TestTrace_HooksAreCalledOncePerAttemptAndNotAfterReturn(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.serve(ok, "192.0.2.1:80")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		var log []string // no lock: the hooks are serialised
		trace := &httptrace.ClientTrace{
			DNSStart:     func(i httptrace.DNSStartInfo) { log = append(log, "dns "+i.Host) },
			DNSDone:      func(i httptrace.DNSDoneInfo) { log = append(log, fmt.Sprint("addrs ", len(i.Addrs) > 0, i.Err)) },
			ConnectStart: func(_, a string) { log = append(log, "start "+a) },
			ConnectDone:  func(_, a string, err error) { log = append(log, fmt.Sprint("done ", a, err)) },
			GotConn:      func(httptrace.GotConnInfo) { log = append(log, "conn") },
		}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", "http://a.test/", nil)
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		time.Sleep(time.Minute)
		want := []string{"dns a.test", "addrs true <nil>", "start [2001:db8::1]:80", "start 192.0.2.1:80", "done 192.0.2.1:80<nil>", "conn"}
		if !slices.Equal(log, want) {
			t.Errorf("hooks:\n%q, want\n%q", log, want)
		}
	})
}

func TestNew_RefusesWhatItCannotHonour(t *testing.T) {
	dialTLS := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	if _, err := transport.New(&http.Transport{DialTLSContext: dialTLS}, nil); err == nil || !strings.Contains(err.Error(), "DialTLSContext") {
		t.Errorf("DialTLSContext: err = %v", err)
	}
	if _, err := transport.New(nil, &transport.Options{DialTimeout: -1}); err == nil {
		t.Error("a negative DialTimeout was accepted")
	}
	if _, err := transport.Wrap(&http.Client{Transport: http.NewFileTransport(http.Dir("."))}, nil); err == nil {
		t.Error("Wrap accepted a foreign RoundTripper")
	}
}

func TestOtherSchemesGoToTheBase(t *testing.T) {
	base := &http.Transport{}
	base.RegisterProtocol("file", http.NewFileTransport(http.Dir(".")))
	inWorld(t, base, transport.Options{}, func(w *world) {
		if _, err := w.get("file:///doc.go"); err != nil {
			t.Error(err)
		}
	})
}

func TestPublicOnly(t *testing.T) {
	inWorld(t, nil, transport.Options{PublicOnly: true}, func(w *world) {
		w.host("inside.test", "10.0.0.1", "127.0.0.1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1")
		w.host("both.test", "10.0.0.1", "8.8.8.8")
		w.serve(ok, "10.0.0.1:80", "127.0.0.1:80", "8.8.8.8:80")
		err := w.fails("http://inside.test/", hostwise.PolicyDenied, hostwise.PhaseConnect)
		var e *hostwise.DeniedError
		if !errors.As(err, &e) || e.Rule == "" {
			t.Errorf("err = %v, want a DeniedError with its rule", err)
		}
		w.fails("http://127.0.0.1/", hostwise.PolicyDenied, hostwise.PhaseConnect)
		w.takes(0, "http://both.test/")
		if got := w.dials("10.0.0.1") + w.dials("127.0.0.1"); got != 0 {
			t.Errorf("%d dials to private addresses, want 0", got)
		}
	})
}
