package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// The main promise: the type and the phase survive http.Client.Timeout.
func TestErrors(t *testing.T) {
	_, cert := certificate(t)
	type check func(t *testing.T, err error)
	std := func(f func(*net.DNSError) bool) check {
		return func(t *testing.T, err error) {
			var e *net.DNSError
			if !errors.As(err, &e) || !f(e) {
				t.Errorf("net.DNSError = %#v", e)
			}
		}
	}
	is := func(target error) check {
		return func(t *testing.T, err error) {
			if !errors.Is(err, target) {
				t.Errorf("errors.Is(%v, %v) = false", err, target)
			}
		}
	}
	op := func(t *testing.T, err error) {
		var e *net.OpError
		if !errors.As(err, &e) {
			t.Errorf("no net.OpError in %v", err)
		}
	}
	notFound := std(func(e *net.DNSError) bool { return e.IsNotFound && !e.IsTimeout })
	for _, tt := range []struct {
		name    string
		url     string
		set     func(w *world)
		kind    hostwise.Kind
		phase   hostwise.Phase
		timeout bool // waits until it is cut short
		checks  []check
	}{
		{"NXDOMAIN", "http://none.test/", func(w *world) {}, hostwise.DNSNXDomain, hostwise.PhaseResolve, false, []check{notFound}},
		{"NODATA", "http://a.test/", func(w *world) { w.host("a.test") }, hostwise.DNSNoData, hostwise.PhaseResolve, false, []check{notFound}},
		{"SERVFAIL", "http://a.test/", func(w *world) {
			w.dns.Handle("a.test", dns.TypeANY, simnet.Rule{Rcode: dns.RcodeServerFailure})
		}, hostwise.DNSServFail, hostwise.PhaseResolve, false, []check{std(func(e *net.DNSError) bool { return e.IsTemporary && e.Err == "server misbehaving" })}},
		{"nameservers silent", "http://a.test/", func(w *world) { w.dns.SetSilent(true) }, hostwise.DNSTimeout, hostwise.PhaseResolve, true, []check{std(func(e *net.DNSError) bool { return e.IsTimeout })}},
		{"refused", "http://a.test/", func(w *world) { w.host("a.test", "192.0.2.1") }, hostwise.ConnectRefused, hostwise.PhaseConnect, false, []check{op, is(syscall.ECONNREFUSED)}},
		{"unreachable", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: simnet.Unreachable})
		}, hostwise.ConnectUnreachable, hostwise.PhaseConnect, false, []check{op, is(syscall.EHOSTUNREACH)}},
		{"black hole", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		}, hostwise.ConnectTimeout, hostwise.PhaseConnect, true, []check{op, is(context.DeadlineExceeded)}},
		{"TLS to a plain port", "https://a.test:80/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.serve(ok, "192.0.2.1:80").ErrorLog = quiet
		}, hostwise.TLSNotTLS, hostwise.PhaseTLS, false, []check{is(http.ErrSchemeMismatch), func(t *testing.T, err error) {
			var e tls.RecordHeaderError
			if !errors.As(err, &e) {
				t.Errorf("no tls.RecordHeaderError in %v", err)
			}
		}}},
		{"wrong host name", "https://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.serveTLS(ok, cert, "192.0.2.1:443")
		}, hostwise.TLSHostname, hostwise.PhaseTLS, false, []check{func(t *testing.T, err error) {
			var e x509.HostnameError
			if !errors.As(err, &e) {
				t.Errorf("no x509.HostnameError in %v", err)
			}
		}}},
		{"silent TLS", "https://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:443", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
		}, hostwise.TLSTimeout, hostwise.PhaseTLS, true, []check{is(context.DeadlineExceeded)}},
		{"TLS closed", "https://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:443", func(c net.Conn) { readSome(c); c.Close() })
		}, hostwise.TLSEOF, hostwise.PhaseTLS, false, []check{is(io.EOF)}},
		{"TLS reset", "https://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:443", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
			w.link("192.0.2.1", simnet.Link{Fault: simnet.ResetData})
		}, hostwise.TLSReset, hostwise.PhaseTLS, false, []check{is(syscall.ECONNRESET)}},
		{"closed before headers", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:80", func(c net.Conn) { readSome(c); c.Close() })
		}, hostwise.HTTPEOF, hostwise.PhaseRequest, false, []check{is(io.EOF)}},
		{"reset before headers", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:80", func(c net.Conn) { readSome(c); c.Close() })
			w.link("192.0.2.1", simnet.Link{Fault: simnet.ResetData})
		}, hostwise.HTTPReset, hostwise.PhaseRequest, false, []check{is(syscall.ECONNRESET)}},
		{"malformed response", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:80", func(c net.Conn) { readSome(c); io.WriteString(c, "SSH-2.0\r\n\r\n"); c.Close() })
		}, hostwise.HTTPMalformed, hostwise.PhaseRequest, false, nil},
		{"headers too large", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 300<<10)) }), "192.0.2.1:80")
		}, hostwise.HTTPHeaderTooLarge, hostwise.PhaseRequest, false, nil},
		{"no headers", "http://a.test/", func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.accept("192.0.2.1:80", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
		}, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, true, []check{is(context.DeadlineExceeded)}},
		{"no headers over HTTP/2", "https://example.com/", func(w *world) {
			w.host("example.com", "192.0.2.1")
			w.serveTLS(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), cert, "192.0.2.1:443")
		}, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, true, []check{is(context.DeadlineExceeded)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, how := range []string{"no deadline", "Client.Timeout", "context deadline", "cancel", "WithTimeoutCause"} {
				t.Run(how, func(t *testing.T) {
					inWorld(t, nil, transport.Options{}, func(w *world) {
						tt.set(w)
						ctx := context.Background()
						kind := tt.kind
						switch how {
						case "Client.Timeout":
							w.client.Timeout = 2 * time.Second
						case "context deadline":
							c, cancel := context.WithTimeout(ctx, 2*time.Second)
							defer cancel()
							ctx = c
						case "WithTimeoutCause":
							c, cancel := context.WithTimeoutCause(ctx, 2*time.Second, errStop)
							defer cancel()
							ctx = c
						case "cancel":
							c, cancel := context.WithCancelCause(ctx)
							time.AfterFunc(2*time.Second, func() { cancel(errStop) })
							ctx = c
							if tt.timeout {
								kind = hostwise.Canceled
							}
						}
						req, _ := http.NewRequestWithContext(ctx, "GET", tt.url, nil)
						_, err := w.client.Do(req)
						if got := hostwise.KindOf(err); got != kind {
							t.Errorf("KindOf(%v) = %s, want %s", err, got, kind)
						}
						if got := hostwise.PhaseOf(err); got != tt.phase {
							t.Errorf("PhaseOf(%v) = %s, want %s", err, got, tt.phase)
						}
						var u *url.Error
						if !errors.As(err, &u) || u.Timeout() != kind.Timeout() {
							t.Errorf("Timeout() of %v is not %v", err, kind.Timeout())
						}
						if kind == hostwise.Canceled {
							if !errors.Is(err, context.Canceled) || !errors.Is(err, errStop) {
								t.Errorf("%v is not context.Canceled and its cause", err)
							}
							return
						}
						for _, c := range tt.checks {
							c(t, err)
						}
						if want := 2 * time.Second; tt.timeout && how != "no deadline" {
							if d := time.Since(w.start); d < want-want/50 || d >= want {
								t.Errorf("gave up after %v, want just before %v", d, want)
							}
						}
					})
				})
			}
		})
	}
}

var errStop = errors.New("stop")

// http.Client replaces an error that comes at its deadline.
func TestErrors_ClientTimeoutKeepsTheType(t *testing.T) {
	for name, set := range map[string]func(w *world) hostwise.Phase{
		"nameserver": func(w *world) hostwise.Phase { w.dns.SetSilent(true); return hostwise.PhaseResolve },
		"connect": func(w *world) hostwise.Phase {
			w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
			return hostwise.PhaseConnect
		},
		"headers": func(w *world) hostwise.Phase {
			w.accept("192.0.2.1:80", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
			return hostwise.PhaseRequest
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, transport.Options{MaxConns: -1, MaxConnsPerHost: -1}, func(w *world) {
				w.host("a.test", "192.0.2.1")
				phase := set(w)
				w.client.Timeout = time.Second
				var typed atomic.Int64
				var wg sync.WaitGroup
				for range 500 {
					wg.Go(func() {
						_, err := w.get("http://a.test/")
						if hostwise.PhaseOf(err) == phase && hostwise.KindOf(err).Timeout() {
							typed.Add(1)
						}
					})
				}
				wg.Wait()
				if got := typed.Load(); got != 500 {
					t.Errorf("%d of 500 typed", got)
				}
			})
		})
	}
}

func TestErrors_HostDown(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		}
		err := w.fails("http://a.test/", hostwise.HostDown, "")
		var e *hostwise.HostDownError
		if !errors.As(err, &e) || e.Failures != 3 || e.Host != "a.test:80" || hostwise.KindOf(e.Last) != hostwise.ConnectRefused {
			t.Errorf("err = %#v, want 3 failures of a.test:80", e)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			t.Error("a HostDownError matches its last failure")
		}
		if got := w.dials("192.0.2.1"); got != 3 {
			t.Errorf("%d dials, want 3", got)
		}
	})
}
