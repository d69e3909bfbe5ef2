package transport_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
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

// sites starts n hosts, h0.test and so on, and returns their URLs.
func (w *world) sites(n int, scheme string, cert tls.Certificate, h http.Handler) (urls []string) {
	for i := range n {
		addr := fmt.Sprintf("192.0.2.%d", 100+i)
		name := fmt.Sprintf("h%d.test", i)
		w.host(name, addr)
		if scheme == "https" {
			w.serveTLS(h, cert, addr+":443")
		} else {
			w.serve(h, addr+":80")
		}
		urls = append(urls, scheme+"://"+name+"/")
	}
	return urls
}

// anyHost trusts the test certificate for every host.
func anyHost(t *testing.T) (*http.Transport, tls.Certificate) {
	pool, cert := certificate(t)
	return &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}, cert
}

// Connections that are idle elsewhere give way to a request that waits.
func TestMaxConns_TenHostsTakeTurns(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, maxConns := range []int{1, 2} {
			t.Run(fmt.Sprint(scheme, " ", maxConns), func(t *testing.T) {
				base, cert := anyHost(t)
				inWorld(t, base, transport.Options{MaxConns: maxConns}, func(w *world) {
					urls := w.sites(10, scheme, cert, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						b, _ := io.ReadAll(r.Body)
						fmt.Fprintf(w, "got %s", b)
					}))
					var wg sync.WaitGroup
					for i := range 3 {
						for _, u := range urls {
							wg.Go(func() {
								if i > 0 {
									if _, err := w.get(u); err != nil {
										t.Error(err)
									}
									return
								}
								resp, err := w.client.Post(u, "text/plain", strings.NewReader("hello"))
								if err != nil {
									t.Error(err)
									return
								}
								defer resp.Body.Close()
								if b, err := io.ReadAll(resp.Body); string(b) != "got hello" {
									t.Errorf("Post: %q, %v, want what was posted", b, err)
								}
							})
						}
					}
					wg.Wait()
					if d := time.Since(w.start); d > 25*time.Second {
						t.Errorf("30 requests to 10 hosts took %v, want no waiting for an idle time-out", d)
					}
					if got := w.net.Stats().PeakOpen; got > maxConns {
						t.Errorf("%d connections at a time, want at most %d", got, maxConns)
					}
				})
			})
		}
	}
}

func TestMaxConnsPerHost(t *testing.T) {
	inWorld(t, nil, transport.Options{MaxConnsPerHost: 3}, func(w *world) {
		slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		urls := w.sites(2, "http", tls.Certificate{}, slow)
		var wg sync.WaitGroup
		for range 12 {
			for _, u := range urls {
				wg.Go(func() {
					if _, err := w.get(u); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if d := time.Since(w.start); d != 4*time.Second {
			t.Errorf("twelve requests of 1 s, three at a time, took %v, want 4s", d)
		}
		for addr, s := range w.net.Stats().Hosts {
			if addr.Is4() && addr != netip.MustParseAddr("192.0.2.53") && s.Dials > 3 {
				t.Errorf("%d connections to %v, want 3", s.Dials, addr)
			}
		}
		if got := w.net.Stats().PeakOpen; got != 6 {
			t.Errorf("%d connections at a time, want 6", got)
		}
	})
}

// The deadline of a request that waits for its turn is kept.
func TestMaxConnsPerHost_DeadlineWhileWaiting(t *testing.T) {
	inWorld(t, nil, transport.Options{MaxConnsPerHost: 1}, func(w *world) {
		u := w.sites(1, "http", tls.Certificate{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Second) }))[0]
		var wg sync.WaitGroup
		wg.Go(func() { w.get(u) })
		time.Sleep(ms)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", u, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = w.client.Do(req)
		if got := hostwise.KindOf(err); got != hostwise.Deadline {
			t.Errorf("err = %v of kind %s, want %s", err, got, hostwise.Deadline)
		}
		if d := time.Since(start); d != 990*ms {
			t.Errorf("gave up after %v, want 990ms", d)
		}
		wg.Wait()
	})
}

func TestUpgrade_BodyIsAWriter(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			w.WriteHeader(http.StatusHTTPVersionNotSupported) // HTTP/2
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(c, "echo "+line)
	})
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			base, cert := anyHost(t)
			inWorld(t, base, transport.Options{}, func(w *world) {
				u := w.sites(1, scheme, cert, echo)[0]
				req, err := http.NewRequest("GET", u, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "websocket")
				resp, err := w.tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				rw, isWriter := resp.Body.(io.ReadWriteCloser)
				if resp.StatusCode != http.StatusSwitchingProtocols || !isWriter {
					t.Fatalf("%s, body %T, want 101 and an io.Writer", resp.Status, resp.Body)
				}
				if _, err := io.WriteString(rw, "hello\n"); err != nil {
					t.Fatal(err)
				}
				if line, err := bufio.NewReader(rw).ReadString('\n'); line != "echo hello\n" {
					t.Errorf("read %q, %v, want the echo", line, err)
				}
			})
		})
	}
}

// A resolverFunc is a resolver that knows nothing of this module.
type resolverFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return f(ctx, network, host)
}

func TestForeignResolver(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	foreign := resolverFunc(func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		switch {
		case host == "none.test":
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		case host == "fails.test":
			return nil, &net.DNSError{Err: "server misbehaving", Name: host, Server: "192.0.2.53:53", IsTemporary: true}
		case host == "silent.test":
			<-ctx.Done()
			return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: true}
		case host == "odd.test":
			return nil, errors.New("strange")
		case network == "ip4":
			return []netip.Addr{addr, addr}, nil
		}
		return nil, &net.AddrError{Err: "no suitable address found", Addr: host}
	})
	inWorld(t, nil, transport.Options{}, func(w *world) {
		tr, err := transport.New(&http.Transport{DialContext: w.net.DialContext}, &transport.Options{Resolver: foreign})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		w.client.Transport = tr
		w.serve(ok, "192.0.2.1:80")
		w.takes(0, "http://a.test/")
		for host, want := range map[string]hostwise.Kind{"none.test": hostwise.DNSNXDomain, "fails.test": hostwise.DNSServFail, "odd.test": hostwise.DNSServFail} {
			err := w.fails("http://"+host+"/", want, hostwise.PhaseResolve)
			var e *hostwise.DNSError
			if !errors.As(err, &e) || e.Host != host {
				t.Errorf("err = %v, want a DNSError of %s", err, host)
			}
		}
		var std *net.DNSError
		if err := w.fails("http://none.test/", hostwise.DNSNXDomain, hostwise.PhaseResolve); !errors.As(err, &std) || !std.IsNotFound {
			t.Errorf("%v does not hold the resolver's own error", err)
		}
		start := time.Now()
		w.client.Timeout = 2 * time.Second
		w.fails("http://silent.test/", hostwise.DNSTimeout, hostwise.PhaseResolve)
		if d := time.Since(start); d < 1980*ms || d >= 2*time.Second {
			t.Errorf("gave up after %v, want just before 2s", d)
		}
		w.client.Timeout = 0
		start = time.Now()
		w.fails("http://silent.test/", hostwise.DNSTimeout, hostwise.PhaseResolve)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("a resolver without an end of its own was waited for for %v, want 10s", d)
		}
	})
}

func TestClose_EndsWhatIsOnItsWay(t *testing.T) {
	inWorld(t, nil, transport.Options{MaxConns: 10}, func(w *world) {
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		var wg sync.WaitGroup
		var closed atomic.Int64
		for i := range 50 {
			name := fmt.Sprintf("h%d.test", i%20)
			w.host(name, "192.0.2.1")
			wg.Go(func() {
				if _, err := w.get("http://" + name + "/"); errors.Is(err, net.ErrClosed) && hostwise.KindOf(err) == hostwise.Canceled {
					closed.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		w.tr.Close()
		w.tr.Close()
		wg.Wait()
		if d := time.Since(w.start); d != time.Second {
			t.Errorf("the requests ended after %v, want 1s", d)
		}
		if got := closed.Load(); got != 50 {
			t.Errorf("%d of 50 requests say that the transport is closed", got)
		}
		synctest.Wait()
		if got := w.tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections after Close, want 0", got)
		}
		if _, err := w.get("http://h0.test/"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a request after Close: %v, want net.ErrClosed", err)
		}
	})
}

// Requests, dials and Close may meet in any order.
func TestClose_WhileRequestsBegin(t *testing.T) {
	for i := range 20 {
		inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{}, func(w *world) {
			urls := w.sites(4, "http", tls.Certificate{}, ok)
			var wg sync.WaitGroup
			for range 20 {
				for _, u := range urls {
					wg.Go(func() {
						if _, err := w.get(u); err != nil && !errors.Is(err, net.ErrClosed) {
							t.Errorf("err = %v, want none or net.ErrClosed", err)
						}
					})
				}
				if i%2 == 0 {
					wg.Go(func() { w.tr.Close() })
				}
			}
			w.tr.Close()
			wg.Wait()
		})
	}
}

// The probe of a host that was down goes through a proxy and gets no further
// than that: the next one need not wait for it.
func TestBreaker_ProbeIsReleasedWhenTheProxyFails(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.host("proxy.test", "192.0.2.9")
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		}
		var down *hostwise.HostDownError
		if err := w.fails("http://a.test/", hostwise.HostDown, ""); errors.As(err, &down) {
			time.Sleep(time.Until(down.RetryAt))
		}
		w.serve(ok, "192.0.2.1:80")
		proxy := &url.URL{Scheme: "http", Host: "proxy.test:3128"}
		req, err := http.NewRequestWithContext(transport.WithProxy(context.Background(), http.ProxyURL(proxy)), "GET", "http://a.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.Do(req); hostwise.KindOf(err) != hostwise.ProxyConnect {
			t.Errorf("err = %v, want %s", err, hostwise.ProxyConnect)
		}
		w.takes(0, "http://a.test/")
	})
}

func TestDialContext(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
		ctx := context.Background()
		for network, want := range map[string]string{"tcp": "[2001:db8::1]:80", "tcp4": "192.0.2.1:80", "tcp6": "[2001:db8::1]:80"} {
			c, err := w.tr.DialContext(ctx, network, "a.test:80")
			if err != nil {
				t.Errorf("%s: %v", network, err)
				continue
			}
			if got := c.RemoteAddr().String(); got != want {
				t.Errorf("%s: connected to %s, want %s", network, got, want)
			}
			c.Close()
			c.Close() // counts once
		}
		if got := w.tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections counted after Close, want 0", got)
		}
		for address, want := range map[string]hostwise.Kind{
			"none.test:80": hostwise.DNSNXDomain, "a.test:81": hostwise.ConnectRefused, "a.test": hostwise.Other, "a.test:http": hostwise.Other,
		} {
			if _, err := w.tr.DialContext(ctx, "tcp", address); hostwise.KindOf(err) != want {
				t.Errorf("%s: %v, want %s", address, err, want)
			}
		}
		if _, err := w.tr.DialContext(ctx, "tcp4", "[2001:db8::1]:80"); hostwise.KindOf(err) != hostwise.DNSNoData {
			t.Errorf("tcp4 to an IPv6 address: %v, want %s", err, hostwise.DNSNoData)
		}
	})
}

// One host has one account, however its name is written.
func TestDialContext_SharesTheBreakerWithRequests(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		for _, address := range []string{"a.test:80", "A.test:80", "A.TEST:80"} {
			if _, err := w.tr.DialContext(context.Background(), "tcp", address); hostwise.KindOf(err) != hostwise.ConnectRefused {
				t.Errorf("%s: %v, want %s", address, err, hostwise.ConnectRefused)
			}
		}
		w.fails("http://a.test/", hostwise.HostDown, "")
		if _, err := w.tr.DialContext(context.Background(), "tcp", "a.Test:80"); hostwise.KindOf(err) != hostwise.HostDown {
			t.Errorf("err = %v, want %s", err, hostwise.HostDown)
		}
	})
}
