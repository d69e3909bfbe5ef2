package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// What a panic, or runtime.Goexit, in a function of the caller's leads to.
type consequence int

const (
	none     consequence = iota // the request goes on
	anError                     // of Kind hostwise.Other
	callers                     // it is the caller's, whose goroutine it is
	anyOfThe                    // last two, by the moment
	denial                      // the guard takes it for a no
)

// callersWorld is a simulated network in which a.test's requests meet a
// function of the caller's that misbehaves. b.test's do not.
type callersWorld struct {
	*world
	base *http.Transport
	o    transport.Options
	ctx  context.Context // of a.test's requests
	act  func()
	req  func() (*http.Request, error) // a.test's
}

func (c *callersWorld) trace(t httptrace.ClientTrace) { c.ctx = httptrace.WithClientTrace(c.ctx, &t) }

// toA calls act for a.test alone.
func (c *callersWorld) toA(host string) {
	if strings.HasPrefix(host, "a.test") || host == "192.0.2.1:80" || host == "192.0.2.1:443" {
		c.act()
	}
}

func (c *callersWorld) get(target string) func() (*http.Request, error) {
	return func() (*http.Request, error) { return http.NewRequestWithContext(c.ctx, "GET", target, nil) }
}

func (c *callersWorld) viaProxy() {
	c.ctx = transport.WithProxy(c.ctx, http.ProxyURL(&url.URL{Scheme: "http", Host: "192.0.2.8:80"}))
	c.req = c.get("https://a.test/")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type closerFunc struct {
	io.Reader
	close func()
}

func (c closerFunc) Close() error { c.close(); return nil }

// key has the n-th call of BreakerOptions.Key for a.test act, and no other.
func (c *callersWorld) key(n int64) {
	var calls atomic.Int64
	c.o.Breaker.Key = func(k string) string {
		if strings.HasPrefix(k, "a.test") && calls.Add(1) == n {
			c.act()
		}
		return k
	}
}

// inCallersWorld runs f with a function of the caller's that does what act
// says.
func inCallersWorld(t *testing.T, setup func(c *callersWorld), act func(c *callersWorld), f func(c *callersWorld)) {
	pool, cert := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), start: time.Now()}
		c := &callersWorld{world: w, ctx: context.Background(), base: &http.Transport{DialContext: w.net.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}}
		w.dns = w.net.ServeDNS("192.0.2.53:53")
		var err error
		if w.r, err = dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: w.net.DialContext}); err != nil {
			t.Fatal(err)
		}
		c.o.Resolver, c.req, c.act = w.r, c.get("http://a.test/"), func() { act(c) }
		setup(c)
		if w.tr, err = transport.New(c.base, &c.o); err != nil {
			t.Fatal(err)
		}
		w.client = &http.Client{Transport: w.tr}
		hints := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hints" {
				w.WriteHeader(http.StatusEarlyHints)
			}
			io.WriteString(w, "ok")
		})
		w.host("a.test", "192.0.2.1")
		w.host("b.test", "192.0.2.2")
		w.serve(hints, "192.0.2.1:80", "192.0.2.2:80")
		w.serveTLS(hints, cert, "192.0.2.1:443")
		w.proxy("192.0.2.8:80", "192.0.2.1:443")
		defer func() {
			w.tr.Close()
			for _, s := range w.servers {
				s.Close()
			}
			w.r.Close()
			w.dns.Close()
			time.Sleep(time.Minute)
			if got := w.tr.Stats().Conns; got != 0 {
				t.Errorf("%d connections left after Close", got)
			}
			if got := w.net.Stats().Open; got != 0 {
				t.Errorf("%d sockets left after Close", got)
			}
		}()
		f(c)
	})
}

// proxy says yes to every CONNECT and connects to one address.
func (w *world) proxy(address, to string) {
	w.accept(address, func(client net.Conn) {
		defer client.Close()
		readSome(client)
		server, err := w.net.DialContext(context.Background(), "tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			defer client.Close()
			io.Copy(client, server)
		}()
		io.Copy(server, client)
	})
}

// outcome is that of a function on a goroutine of its own.
type outcome struct {
	err      error
	returned bool
	panicked any
}

func outcomeOf(f func() error) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			done <- o
		}()
		o.err = f()
		o.returned = true
	}()
	return done
}

func (c *callersWorld) toATest() error {
	req, err := c.req()
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.tr.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return err
}

// A panic, and runtime.Goexit, in any function of the caller's: the process
// lives, nothing is lost, and no host is charged.
func TestCallers_PanicAndGoexit(t *testing.T) {
	for _, way := range []struct {
		name, text string
		do         func(*callersWorld)
	}{
		{"panic", "has panicked: boom", func(*callersWorld) { panic("boom") }},
		{"panic with an error", "has panicked: context canceled", func(*callersWorld) { panic(context.Canceled) }},
		{"Goexit", "has ended the goroutine", func(*callersWorld) { runtime.Goexit() }},
	} {
		for _, f := range callersFunctions {
			t.Run(f.name+"/"+way.name, func(t *testing.T) {
				var acted atomic.Uint64
				inCallersWorld(t, f.setup, func(c *callersWorld) { acted.Add(1); way.do(c) }, func(c *callersWorld) {
					const times = 5
					var last outcome
					for range times {
						start := time.Now()
						select {
						case last = <-outcomeOf(c.toATest):
						case <-time.After(time.Hour):
							t.Fatal("the request hangs")
						}
						if took := time.Since(start); took > time.Second {
							t.Errorf("it took %v", took)
						}
						synctest.Wait()
						switch f.leads {
						case none:
							if !last.returned || last.err != nil {
								t.Fatalf("%+v, want a response", last)
							}
						case anError:
							if !last.returned || last.err == nil || hostwise.KindOf(last.err) != hostwise.Other && acted.Load() > 0 && !strings.HasPrefix(f.name, "Key, in") {
								t.Fatalf("%+v, kind %s, want an error of Kind other", last, hostwise.KindOf(last.err))
							}
							closed := f.name == "the body's Close" && strings.Contains(last.err.Error(), "use of closed network connection") // net/http's reader may be first
							if !strings.Contains(last.err.Error(), way.text) && !closed {
								t.Errorf("%v, want it to say %q", last.err, way.text)
							}
						case denial:
							if !last.returned || last.err == nil || way.name != "Goexit" && hostwise.KindOf(last.err) != hostwise.PolicyDenied {
								t.Fatalf("%+v, want a refusal", last)
							}
						case callers:
							if last.returned || way.name == "panic" && last.panicked != "boom" {
								t.Fatalf("%+v, want it on the caller's goroutine", last)
							}
						}
						if strings.HasPrefix(f.name, "Key, ") && !strings.Contains(f.name, "proxy") {
							break // the other calls return
						}
					}
					s := c.tr.Stats()
					want := acted.Load()
					if f.leads == callers || last.panicked != nil || !last.returned {
						want = 0
					}
					if s.HookPanics != want || (want > 0) != strings.Contains(s.FirstHookPanic, way.text) {
						t.Errorf("%d counted, the first %.100q, want %d that %s", s.HookPanics, s.FirstHookPanic, want, way.text)
					}
					if acted.Load() == 0 && f.leads != anyOfThe {
						t.Error("the function was not called")
					}
					if s.Trips != 0 || s.HostsDown != 0 || c.tr.HostDown("a.test:80") != nil {
						t.Errorf("%d trips, want nobody charged", s.Trips)
					}
					c.takes(0, "http://b.test/")
				})
			})
		}
	}
}

// A function that does not return delays its own request, at most to its
// deadline where it is not the caller's goroutine, and nobody else's.
func TestCallers_Block(t *testing.T) {
	for _, f := range callersFunctions {
		t.Run(f.name, func(t *testing.T) {
			stop := make(chan struct{})
			inCallersWorld(t, func(c *callersWorld) {
				stop = make(chan struct{}) // of the bubble
				ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
				t.Cleanup(cancel)
				c.ctx = ctx
				f.setup(c)
			}, func(*callersWorld) { <-stop }, func(c *callersWorld) {
				c.o.DialTimeout = time.Second
				done := outcomeOf(c.toATest)
				synctest.Wait()
				for range 20 {
					c.takes(0, "http://b.test/")
					c.tr.CloseIdleConnections()
				}
				c.tr.Stats()
				start := time.Now()
				mayWait := f.leads == callers || f.name == "Key, later" || strings.HasPrefix(f.name, "Wrote") || strings.HasPrefix(f.name, "the body") // see the doc: they hold up the request's end
				select {
				case o := <-done:
					if !o.returned || time.Since(start) > 5*time.Second {
						t.Errorf("%+v after %v", o, time.Since(start))
					}
				case <-time.After(time.Minute):
					if !mayWait {
						t.Error("the request is held up beyond its deadline")
					}
				}
				close(stop)
				time.Sleep(time.Second)
			})
		})
	}
}

// Every function may call the Transport back.
func TestCallers_CallBack(t *testing.T) {
	for _, f := range callersFunctions {
		t.Run(f.name, func(t *testing.T) {
			var acted atomic.Uint64
			inCallersWorld(t, f.setup, func(c *callersWorld) {
				acted.Add(1)
				c.tr.Stats()
				c.tr.HostDown("b.test:80")
				if err := c.tr.SnapshotBreakers(io.Discard); err != nil {
					t.Error(err)
				}
				if _, err := c.tr.Lookup(context.Background(), "b.test"); err != nil {
					t.Error(err)
				}
				if conn, err := c.tr.DialContext(context.Background(), "tcp", "b.test:80"); err != nil {
					t.Error(err)
				} else {
					conn.Close()
				}
				c.takes(0, "http://b.test/")
				c.tr.CloseIdleConnections()
				c.r.Forget("b.test")
				c.r.Stats()
			}, func(c *callersWorld) {
				select {
				case o := <-outcomeOf(c.toATest):
					if !o.returned || o.err != nil {
						t.Errorf("%+v", o)
					}
				case <-time.After(time.Hour):
					t.Fatal("the request hangs")
				}
				synctest.Wait()
				if acted.Load() == 0 && f.name != "Key, later" && f.name != "Key, in the dial again" {
					t.Error("the function was not called")
				}
				if got := c.tr.Stats().HookPanics; got != 0 {
					t.Errorf("%d counted", got)
				}
			})
		})
	}
}

// Close from a hook does not wait for itself. A DialContext and a Resolver must
// not call it.
func TestCallers_Close(t *testing.T) {
	for _, f := range callersFunctions {
		if strings.HasPrefix(f.name, "DialContext") || f.name == "Resolver" || f.name == "VerifyConnection" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			inCallersWorld(t, f.setup, func(c *callersWorld) { c.tr.Close() }, func(c *callersWorld) {
				start := time.Now()
				select {
				case <-outcomeOf(c.toATest):
				case <-time.After(time.Hour):
					t.Fatal("the request hangs")
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
				synctest.Wait() // PutIdleConn may come after the response
				if _, err := c.client.Get("http://b.test/"); f.name != "Key, later" && f.name != "Key, in the dial again" && !errors.Is(err, net.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			})
		})
	}
}

// Hooks of the breaker and of outages: they tell, and decide nothing.
func TestCallers_Changes(t *testing.T) {
	for _, way := range []string{"panic", "Goexit", "block", "call back"} {
		t.Run(way, func(t *testing.T) {
			var stop chan struct{}
			var changes, outages, faults atomic.Uint64
			inCallersWorld(t, func(c *callersWorld) {
				stop = make(chan struct{})
				act := c.act
				c.o.Breaker.OnChange = func(transport.HostChange) { changes.Add(1); act() }
				c.o.OnOutage = func(transport.OutageChange) { outages.Add(1); act() }
			}, func(c *callersWorld) {
				switch way {
				case "panic":
					faults.Add(1)
					panic("boom")
				case "Goexit":
					faults.Add(1)
					runtime.Goexit()
				case "block":
					<-stop
				default:
					c.tr.Stats()
					c.tr.HostDown("a.test:80")
					if resp, err := c.client.Get("http://b.test/"); err == nil {
						resp.Body.Close()
					}
				}
			}, func(c *callersWorld) {
				c.host("down.test", "192.0.2.9")
				c.link("192.0.2.9", simnet.Link{Fault: simnet.Refuse})
				var slow []<-chan outcome
				for range 6 {
					slow = append(slow, outcomeOf(func() error { _, err := c.world.get("http://down.test/"); return err }))
					time.Sleep(time.Second)
				}
				if c.tr.HostDown("down.test:80") == nil {
					t.Error("down.test is not down")
				}
				c.takes(0, "http://b.test/")
				// Now everything is silent.
				for i := range 40 {
					a := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
					host := "h" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ".test"
					c.host(host, a.String())
					c.serve(ok, a.String()+":80")
					c.takes(0, "http://"+host+"/")
					c.tr.CloseIdleConnections()
					c.link(a.String(), simnet.Link{Fault: simnet.BlackHole})
					slow = append(slow, outcomeOf(func() error { time.Sleep(time.Minute); _, err := c.world.get("http://" + host + "/"); return err }))
				}
				time.Sleep(2 * time.Minute)
				if !c.tr.Stats().Outage && way != "call back" { // which has found out that it is none
					t.Error("no outage is suspected")
				}
				c.takes(0, "http://b.test/")
				if c.tr.Stats().Outage {
					t.Error("it is not over")
				}
				if way == "block" { // one request each, of 46 and the last
					waits := 0
					for _, s := range slow {
						select {
						case <-s:
						default:
							waits++
						}
					}
					t.Logf("%d of %d requests wait for the blocked hooks", waits, len(slow))
					if waits > 2 {
						t.Errorf("%d requests wait for the two hooks", waits)
					}
					close(stop)
				}
				time.Sleep(time.Minute)
				s := c.tr.Stats()
				if changes.Load() == 0 || outages.Load() != 2 || s.HookPanics != faults.Load() {
					t.Errorf("%d changes and %d outages told, %d of %d panics counted", changes.Load(), outages.Load(), s.HookPanics, faults.Load())
				}
			})
		})
	}
}
