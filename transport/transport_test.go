package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// A world is a simulated network with a nameserver, and a client with a
// Transport, inside a bubble.
type world struct {
	t       *testing.T
	net     *simnet.Network
	dns     *simnet.DNS
	r       *dnscache.Resolver
	tr      *transport.Transport
	client  *http.Client
	servers []io.Closer
	start   time.Time
}

// inWorld runs f in a bubble. base may be nil; its DialContext is the
// network's.
func inWorld(t *testing.T, base *http.Transport, o transport.Options, f func(w *world)) {
	t.Helper()
	pool, _ := certificate(t) // made outside: the bubble's clock stands in the past
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), start: time.Now()}
		w.dns = w.net.ServeDNS("192.0.2.53:53")
		var err error
		w.r, err = dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: w.net.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		if base == nil {
			base = &http.Transport{ForceAttemptHTTP2: true}
		}
		base.DialContext = w.net.DialContext
		if base.TLSClientConfig == nil {
			base.TLSClientConfig = &tls.Config{RootCAs: pool}
		}
		o.Resolver = w.r
		w.tr, err = transport.New(base, &o)
		if err != nil {
			t.Fatal(err)
		}
		w.client = &http.Client{Transport: w.tr}
		defer func() {
			w.tr.Close()
			for _, s := range w.servers {
				s.Close()
			}
			w.r.Close()
			w.dns.Close()
			time.Sleep(time.Minute) // servers linger, dials run into their deadline
			if got := w.tr.Stats().Conns; got != 0 {
				t.Errorf("%d connections left after Close", got)
			}
			if got := w.net.Stats().Open; got != 0 {
				t.Errorf("%d sockets left after Close", got)
			}
		}()
		f(w)
	})
}

// certificate is that of httptest's servers, for example.com.
func certificate(t *testing.T) (*x509.CertPool, tls.Certificate) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool, s.TLS.Certificates[0]
}

// host makes a name known.
func (w *world) host(name string, addrs ...string) {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	w.dns.AddHost(name, 300, list...)
}

// serve starts a web server at addresses (ip:port).
func (w *world) serve(h http.Handler, addresses ...string) *http.Server {
	s := &http.Server{Handler: h}
	w.servers = append(w.servers, s)
	for _, a := range addresses {
		go s.Serve(w.listen(a))
	}
	return s
}

func (w *world) serveTLS(h http.Handler, cert tls.Certificate, addresses ...string) {
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: quiet}
	w.servers = append(w.servers, s)
	for _, a := range addresses {
		go s.ServeTLS(w.listen(a), "", "")
	}
}

func (w *world) listen(address string) net.Listener {
	l, err := w.net.Listen(address)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// accept serves raw connections.
func (w *world) accept(address string, f func(net.Conn)) {
	l := w.listen(address)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	w.servers = append(w.servers, l)
}

func (w *world) link(addr string, l simnet.Link) { w.net.SetLink(netip.MustParseAddr(addr), l) }

// get fetches url and returns the elapsed time.
func (w *world) get(url string) (time.Duration, error) {
	start := time.Now()
	resp, err := w.client.Get(url)
	elapsed := time.Since(start)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return elapsed, err
}

// takes checks that url is fetched in exactly that time.
func (w *world) takes(want time.Duration, url string) {
	w.t.Helper()
	if got, err := w.get(url); err != nil || got != want {
		w.t.Errorf("Get(%s) took %v, err %v, want %v", url, got, err, want)
	}
}

// fails checks Kind and phase of the error for url.
func (w *world) fails(url string, kind hostwise.Kind, phase hostwise.Phase) error {
	w.t.Helper()
	_, err := w.get(url)
	if hostwise.KindOf(err) != kind || hostwise.PhaseOf(err) != phase {
		w.t.Errorf("Get(%s): %v: kind %q in phase %q, want %q in %q", url, err, hostwise.KindOf(err), hostwise.PhaseOf(err), kind, phase)
	}
	return err
}

// dials is the number of connection attempts to an address.
func (w *world) dials(addr string) int { return w.net.Stats().Hosts[netip.MustParseAddr(addr)].Dials }

var ok = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok "+r.Proto) })

const ms = time.Millisecond

func TestRace_V6BlackHoleCostsOneAttemptDelayOnce(t *testing.T) {
	inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.takes(250*ms, "http://a.test/")
		w.takes(0, "http://a.test/")
		if got := w.dials("2001:db8::1"); got != 1 {
			t.Errorf("%d attempts over IPv6, want 1", got)
		}
		time.Sleep(10 * time.Minute) // then IPv6 gets another chance
		w.takes(250*ms, "http://a.test/")
		w.link("2001:db8::1", simnet.Link{})
		time.Sleep(20 * time.Minute) // twice as long as before
		w.takes(0, "http://a.test/")
		if got := w.dials("2001:db8::1"); got != 3 {
			t.Errorf("%d attempts over IPv6, want 3", got)
		}
	})
}

func TestRace_SilentAAAACostsTheResolutionDelay(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.dns.Handle("a.test", dns.TypeAAAA, simnet.Rule{Silent: true})
		w.serve(ok, "192.0.2.1:80")
		w.takes(50*ms, "http://a.test/")
	})
}

func TestRace_DNS(t *testing.T) {
	v4, v6 := []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []netip.Addr{netip.MustParseAddr("2001:db8::1")}
	for _, tt := range []struct {
		name    string
		a, aaaa simnet.Rule
		faults  map[string]simnet.Fault
		want    time.Duration
		winner  string
	}{
		{"IPv6 is preferred", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6}, nil, 0, "2001:db8::1"},
		{"AAAA within the resolution delay", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6, Delay: 20 * ms}, nil, 20 * ms, "2001:db8::1"},
		{"AAAA after it", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6, Delay: 500 * ms}, nil, 50 * ms, "192.0.2.1"},
		{"the delay counts from the first answer", simnet.Rule{Addrs: v4, Delay: 100 * ms}, simnet.Rule{Addrs: v6, Delay: 120 * ms}, nil, 120 * ms, "2001:db8::1"},
		{"AAAA does not wait for A", simnet.Rule{Silent: true}, simnet.Rule{Addrs: v6}, nil, 0, "2001:db8::1"},
		{"an error is an answer", simnet.Rule{Addrs: v4}, simnet.Rule{Rcode: dns.RcodeServerFailure}, nil, 0, "192.0.2.1"},
		{"so is NXDOMAIN", simnet.Rule{Addrs: v4, Delay: 1}, simnet.Rule{Rcode: dns.RcodeNameError}, nil, 1, "192.0.2.1"},
		{"a late AAAA joins", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6, Delay: 500 * ms}, map[string]simnet.Fault{"192.0.2.1": simnet.BlackHole}, 500 * ms, "2001:db8::1"},
		{"refusal starts the next", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6}, map[string]simnet.Fault{"2001:db8::1": simnet.Refuse}, 10 * ms, "192.0.2.1"},
		{"so does no route", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6}, map[string]simnet.Fault{"2001:db8::1": simnet.NoRoute}, 10 * ms, "192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, transport.Options{}, func(w *world) {
				w.dns.Handle("a.test", dns.TypeA, tt.a)
				w.dns.Handle("a.test", dns.TypeAAAA, tt.aaaa)
				w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
				for a, f := range tt.faults {
					w.link(a, simnet.Link{Fault: f})
				}
				w.takes(tt.want, "http://a.test/")
				dials := w.net.Dials()
				if last := dials[len(dials)-1]; last.Addr.Addr().String() != tt.winner || last.Err != nil {
					t.Errorf("last dial = %v, %v, want %s", last.Addr, last.Err, tt.winner)
				}
			})
		})
	}
}

func TestRace_DeadFirstAddress(t *testing.T) {
	inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "192.0.2.2")
		w.serve(ok, "192.0.2.2:80")
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		w.takes(250*ms, "http://a.test/")
		w.takes(0, "http://a.test/") // the winner goes first
	})
}

func TestRace_AllEightAddressesAreTried(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		var addrs []string
		for i := range 4 {
			addrs = append(addrs, fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1))
		}
		w.host("a.test", addrs...)
		for _, a := range addrs {
			w.link(a, simnet.Link{Fault: simnet.BlackHole})
		}
		err := w.fails("http://a.test/", hostwise.ConnectTimeout, hostwise.PhaseConnect)
		if d := time.Since(w.start); d != 10*time.Second {
			t.Errorf("took %v, want 10s", d)
		}
		var e *hostwise.ConnectError
		if !errors.As(err, &e) || len(e.Attempts) != 8 {
			t.Fatalf("err = %v, want 8 attempts", err)
		}
		var starts []time.Duration
		for i, a := range e.Attempts {
			starts = append(starts, a.Start)
			if got, want := a.Addr.Addr().Is6(), i%2 == 0; got != want {
				t.Errorf("attempt %d to %v: the families do not alternate", i, a.Addr)
			}
		}
		if want := []time.Duration{0, 250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 3000 * ms, 4000 * ms, 5000 * ms}; !slices.Equal(starts, want) {
			t.Errorf("starts = %v, want %v", starts, want)
		}
	})
}

func TestRace_TLSIsPartOfIt(t *testing.T) {
	_, cert := certificate(t)
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("example.com", "192.0.2.1", "2001:db8::1")
		w.serveTLS(ok, cert, "192.0.2.1:443", "[2001:db8::1]:443")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.DataHole})
		w.takes(250*ms, "https://example.com/")
	})
}

func TestRace_LosersAreClosed(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
		w.link("2001:db8::1", simnet.Link{RTT: 400 * ms})
		w.takes(250*ms, "http://a.test/")
		synctest.Wait()
		if s := w.net.Stats().Hosts[netip.MustParseAddr("2001:db8::1")]; s.Canceled != 1 || s.Established != 0 {
			t.Errorf("loser: %+v, want it canceled before it was established", s)
		}
	})
}

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

func TestBreaker_DeadHostForThreeHours(t *testing.T) {
	for _, fault := range []simnet.Fault{simnet.Refuse, simnet.BlackHole} {
		inWorld(t, nil, transport.Options{}, func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: fault, RTT: 10 * ms})
			var wg sync.WaitGroup
			for range 3 * 3600 {
				wg.Go(func() { w.get("http://a.test/") })
				time.Sleep(time.Second)
			}
			wg.Wait()
			got := w.dials("192.0.2.1")
			t.Logf("fault %v: %d dials in 3 h", fault, got)
			if got > 15 {
				t.Errorf("%d dials, want at most 15", got)
			}
			// It recovers, and is served again within its cool-down.
			w.link("192.0.2.1", simnet.Link{RTT: 10 * ms})
			w.serve(ok, "192.0.2.1:80")
			back := time.Now()
			for {
				_, err := w.get("http://a.test/")
				if err == nil {
					break
				}
				var down *hostwise.HostDownError
				if !errors.As(err, &down) || time.Since(back) > time.Hour {
					t.Fatalf("after %v: %v", time.Since(back), err)
				}
				time.Sleep(time.Until(down.RetryAt))
			}
			if got := w.tr.Stats().HostsDown; got != 0 {
				t.Errorf("HostsDown = %d, want 0", got)
			}
		})
	}
}

func TestBreaker_ChargesNobodyForNamesAndCancellations(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("slow.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }), "192.0.2.1:80")
		for range 20 {
			w.fails("http://none.test/", hostwise.DNSNXDomain, hostwise.PhaseResolve)
			ctx, cancel := context.WithTimeout(context.Background(), 100*ms)
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://slow.test/", nil)
			if _, err := w.client.Do(req); hostwise.KindOf(err) != hostwise.HTTPHeaderTimeout {
				t.Errorf("err = %v, want a header time-out", err)
			}
			cancel()
		}
		w.takes(time.Second, "http://slow.test/")
	})
}

// A request's own body that cannot be read is no fault of the host.
func TestBreaker_DoesNotChargeForTheCallersBody(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }), "192.0.2.1:80")
		for range 10 {
			_, err := w.client.Post("http://a.test/", "text/plain", iotest.ErrReader(io.ErrUnexpectedEOF))
			if hostwise.KindOf(err) != hostwise.Other || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("err = %v: kind %s, want the body's error", err, hostwise.KindOf(err))
			}
		}
		w.takes(0, "http://a.test/")
	})
}

// Idle connections make room for those that are needed, over HTTP/1 and 2.
// dripping is a body that gives a byte now and then.
type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(200 * ms):
		p[0] = 'x'
		return 1, nil
	}
}

// Time in which the caller's own body was under way is not the host's.
func TestBreaker_DoesNotChargeForASlowUpload(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }), "192.0.2.1:80")
		w.takes(0, "http://a.test/")
		for range 6 {
			ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
			req, err := http.NewRequestWithContext(ctx, "POST", "http://a.test/", dripping{ctx})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.client.Do(req); hostwise.KindOf(err) != hostwise.Deadline {
				t.Errorf("err = %v, want %s", err, hostwise.Deadline)
			}
			cancel()
		}
		w.takes(0, "http://a.test/")
	})
}

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
