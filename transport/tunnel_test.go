package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// tunnels starts a proxy at address that asks greet where each connection
// wants to go, and takes it there.
func (w *world) tunnels(address string, greet func(c net.Conn, r *bufio.Reader) (target string)) {
	w.accept(address, func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		host, port, err := net.SplitHostPort(greet(c, r))
		if err != nil {
			return
		}
		addrs, err := w.r.LookupNetIP(context.Background(), "ip4", host)
		if err != nil {
			return
		}
		up, err := w.net.DialContext(context.Background(), "tcp", net.JoinHostPort(addrs[0].String(), port))
		if err != nil {
			return
		}
		go func() {
			io.Copy(up, r)
			up.Close()
		}()
		io.Copy(c, up)
	})
}

func byCONNECT(c net.Conn, r *bufio.Reader) string {
	req, err := http.ReadRequest(r)
	if err != nil {
		return ""
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	return req.Host
}

// bySOCKS is as much of RFC 1928 as a client without a password needs.
func bySOCKS(c net.Conn, r *bufio.Reader) string {
	io.ReadFull(r, make([]byte, 3)) // version, one method: none
	c.Write([]byte{5, 0})
	head := make([]byte, 5) // version, CONNECT, 0, domain name, its length
	if _, err := io.ReadFull(r, head); err != nil {
		return ""
	}
	name := make([]byte, int(head[4])+2)
	io.ReadFull(r, name)
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	host, port := name[:head[4]], name[head[4]:]
	return fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1]))
}

var proxies = map[string]func(net.Conn, *bufio.Reader) string{"http": byCONNECT, "socks5": bySOCKS}

// through is a base transport whose requests go through proxy.test.
func through(t *testing.T, scheme string) (base *http.Transport, u *url.URL) {
	base, _ = anyHost(t)
	u = &url.URL{Scheme: scheme, Host: "proxy.test:3128"}
	base.Proxy = http.ProxyURL(u)
	return base, u
}

func TestProxy_SilentOneTimesOutWithoutADeadline(t *testing.T) {
	for scheme := range proxies {
		t.Run(scheme, func(t *testing.T) {
			base, _ := through(t, scheme)
			inWorld(t, base, transport.Options{DialTimeout: 4 * time.Second, TLSHandshakeTimeout: 2 * time.Second}, func(w *world) {
				w.host("proxy.test", "192.0.2.9")
				w.accept("192.0.2.9:3128", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
				err := w.fails("https://a.test/", hostwise.ProxyTimeout, hostwise.PhaseConnect)
				var e *hostwise.ConnectError
				if !errors.As(err, &e) || e.Proxy != "proxy.test:3128" || e.Host != "a.test:443" {
					t.Errorf("err = %v, want a ConnectError of both", err)
				}
				if d := time.Since(w.start); d != 6*time.Second {
					t.Errorf("took %v, want 6s", d)
				}
			})
		})
	}
}

// What bounds the way to a proxy does not bound what comes after.
func TestProxy_ConnectionOutlivesTheBoundOfItsBeginning(t *testing.T) {
	for scheme, greet := range proxies {
		t.Run(scheme, func(t *testing.T) {
			base, _ := through(t, scheme)
			_, cert := anyHost(t)
			base.IdleConnTimeout = time.Hour
			inWorld(t, base, transport.Options{ResponseHeaderTimeout: -1, IdleBodyTimeout: -1}, func(w *world) {
				w.host("proxy.test", "192.0.2.9")
				w.tunnels("192.0.2.9:3128", greet)
				u := w.sites(1, "https", cert, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(time.Minute)
					io.WriteString(w, "part one")
					w.(http.Flusher).Flush()
					time.Sleep(time.Minute)
					io.WriteString(w, ", part two")
				}))[0]
				for range 2 {
					resp, err := w.client.Get(u)
					if err != nil {
						t.Fatal(err)
					}
					if b, err := io.ReadAll(resp.Body); string(b) != "part one, part two" {
						t.Errorf("body %q, %v, want both parts", b, err)
					}
					resp.Body.Close()
					time.Sleep(time.Minute)
				}
				if got := w.dials("192.0.2.9"); got != 1 {
					t.Errorf("%d connections to the proxy, want 1", got)
				}
			})
		})
	}
}

// Tunnels that are idle give way like any other connection.
func TestMaxConns_TunnelsTakeTurns(t *testing.T) {
	for scheme, greet := range proxies {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", scheme, http2), func(t *testing.T) {
				base, _ := through(t, scheme)
				_, cert := anyHost(t)
				base.ForceAttemptHTTP2 = http2
				inWorld(t, base, transport.Options{MaxConns: 1}, func(w *world) {
					w.host("proxy.test", "192.0.2.9")
					w.tunnels("192.0.2.9:3128", greet)
					urls := w.sites(2, "https", cert, ok)
					var wg sync.WaitGroup
					for range 10 {
						for _, u := range urls {
							wg.Go(func() {
								if _, err := w.get(u); err != nil {
									t.Error(err)
								}
							})
						}
					}
					wg.Wait()
					for range 3 { // one after the other
						for _, u := range urls {
							w.takes(0, u)
						}
					}
					if d := time.Since(w.start); d > time.Second {
						t.Errorf("26 requests took %v, want no waiting for a time-out", d)
					}
					if got := w.tr.Stats().Conns; got > 1 {
						t.Errorf("%d connections, want 1", got)
					}
				})
			})
		}
	}
}

// A body that is never closed keeps its connection. Who waits for it keeps a
// deadline, and goes on as soon as the request is given up.
func TestMaxConns_BodyThatIsNotClosed(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			base, cert := anyHost(t)
			inWorld(t, base, transport.Options{MaxConns: 1}, func(w *world) {
				urls := w.sites(2, scheme, cert, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					io.WriteString(rw, "begins")
					if r.URL.Path == "/endless" {
						rw.(http.Flusher).Flush()
						<-r.Context().Done()
					}
				}))
				ctx, giveUp := context.WithCancel(context.Background())
				defer giveUp()
				req, err := http.NewRequestWithContext(ctx, "GET", urls[0]+"endless", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := w.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				w.client.Timeout = 2 * time.Second
				start := time.Now()
				if _, err := w.get(urls[1]); hostwise.KindOf(err) != hostwise.Deadline {
					t.Errorf("err = %v, want %s", err, hostwise.Deadline)
				}
				if d := time.Since(start); d != 1980*ms {
					t.Errorf("gave up after %v, want 1.98s", d)
				}
				time.AfterFunc(time.Second, giveUp)
				w.takes(time.Second, urls[1])
				resp.Body.Close()
			})
		})
	}
}
