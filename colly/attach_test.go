package hostwisecolly_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gocolly/colly/v2/proxy"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// A world is a simulated network and a collector attached to it, in a bubble.
type world struct {
	t       *testing.T
	net     *simnet.Network
	dns     *simnet.DNS
	tr      *transport.Transport
	c       *colly.Collector
	h       *hostwisecolly.Handle
	servers []io.Closer
}

func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1)}
		w.dns = w.net.ServeDNS("192.0.2.53:53")
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: w.net.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		w.tr, err = transport.New(&http.Transport{DialContext: w.net.DialContext}, &transport.Options{Resolver: r})
		if err != nil {
			t.Fatal(err)
		}
		w.c = colly.NewCollector(colly.AllowURLRevisit())
		w.h = w.attach(w.c)
		defer func() {
			w.tr.Close()
			for _, s := range w.servers {
				s.Close()
			}
			r.Close()
			w.dns.Close()
			time.Sleep(time.Minute)
		}()
		f(w)
	})
}

func (w *world) attach(c *colly.Collector) *hostwisecolly.Handle {
	h, err := hostwisecolly.Attach(c, w.tr)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) host(name string, addrs ...string) {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	w.dns.AddHost(name, 300, list...)
}

func (w *world) serve(address string, h http.HandlerFunc) io.Closer {
	l, err := w.net.Listen(address)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	w.servers = append(w.servers, s)
	go s.Serve(l)
	return s
}

// visits checks that url is fetched in exactly that time, with that body.
func (w *world) visits(url, want string, elapsed time.Duration) {
	w.t.Helper()
	var got string
	c := w.c.Clone()
	c.OnResponse(func(r *colly.Response) { got = string(r.Body) })
	start := time.Now()
	if err := c.Visit(url); err != nil || got != want {
		w.t.Errorf("Visit(%s) = %q, %v, want %q", url, got, err, want)
	}
	if d := time.Since(start); d != elapsed {
		w.t.Errorf("Visit(%s) took %v, want %v", url, d, elapsed)
	}
}

func (w *world) fails(url string, want hostwise.Kind) {
	w.t.Helper()
	if err := w.c.Visit(url); hostwise.KindOf(err) != want {
		w.t.Errorf("Visit(%s) = %v: kind %q, want %q", url, err, hostwise.KindOf(err), want)
	}
}

// Colly replaces any RoundTripper that is not an *http.Transport when a proxy
// is set. After Attach the proxy is used, and so are the cache, the race and
// the breaker.
func TestAttach_ProxyKeepsEverything(t *testing.T) {
	for name, set := range map[string]func(c *colly.Collector) error{
		"SetProxy": func(c *colly.Collector) error { return c.SetProxy("http://proxy.test:3128") },
		"SetProxyFunc": func(c *colly.Collector) error {
			u, err := url.Parse("http://proxy.test:3128")
			c.SetProxyFunc(http.ProxyURL(u))
			return err
		},
		"RoundRobinProxySwitcher": func(c *colly.Collector) error {
			f, err := proxy.RoundRobinProxySwitcher("http://proxy.test:3128", "http://proxy.test:3128")
			c.SetProxyFunc(f)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.host("proxy.test", "192.0.2.9", "2001:db8::9")
				w.net.SetLink(netip.MustParseAddr("2001:db8::9"), simnet.Link{Fault: simnet.BlackHole})
				var served atomic.Int64
				w.serve("192.0.2.9:3128", func(rw http.ResponseWriter, r *http.Request) {
					served.Add(1)
					fmt.Fprint(rw, "proxied ", r.URL)
				})
				// One host is down before there is a proxy.
				w.host("down.test", "192.0.2.8")
				for range 3 {
					w.fails("http://down.test/", hostwise.ConnectRefused)
				}
				if err := set(w.c); err != nil {
					t.Fatal(err)
				}
				w.visits("http://a.test/", "proxied http://a.test/", 250*time.Millisecond) // the race
				for range 9 {
					w.visits("http://a.test/", "proxied http://a.test/", 0)
				}
				w.fails("http://down.test/", hostwise.HostDown) // the breaker
				if got := served.Load(); got != 10 {
					t.Errorf("the proxy served %d requests, want 10", got)
				}
				if got := w.net.Stats().Hosts[netip.MustParseAddr("192.0.2.9")].Dials; got != 10 { // SetProxyFunc disables keep-alive
					t.Errorf("%d connections to the proxy, want 10", got)
				}
				if got := w.dns.Count("proxy.test", dns.TypeA); got != 1 { // the cache
					t.Errorf("the proxy's name was asked for %d times, want once", got)
				}
			})
		})
	}
}

func TestAttach_RoundRobinIsRaceFree(t *testing.T) {
	inWorld(t, func(w *world) {
		for i, name := range []string{"p1.test", "p2.test"} {
			addr := fmt.Sprintf("192.0.2.%d", 21+i)
			w.host(name, addr)
			w.serve(addr+":80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, name) })
		}
		f, err := proxy.RoundRobinProxySwitcher("http://p1.test", "http://p2.test")
		if err != nil {
			t.Fatal(err)
		}
		w.c.Async = true
		w.c.SetProxyFunc(f)
		var mu sync.Mutex
		count := map[string]int{}
		w.c.OnResponse(func(r *colly.Response) {
			mu.Lock()
			defer mu.Unlock()
			count[string(r.Body)]++
		})
		w.c.OnError(func(r *colly.Response, err error) { t.Error(err) })
		for i := range 100 {
			w.c.Visit(fmt.Sprintf("http://h%d.test/", i))
		}
		w.c.Wait()
		if count["p1.test"] != 50 || count["p2.test"] != 50 {
			t.Errorf("proxies used: %v, want 50 each", count)
		}
	})
}

func TestAttach_ConnectionsAreKeptAlive(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.Header.Get("Connection")) })
		for range 3 {
			w.visits("http://a.test/", "", 0)
		}
		if got := w.net.Stats().Hosts[netip.MustParseAddr("192.0.2.1")].Dials; got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
	})
}

func TestOnFailure_SeesWhatCollyKeepsToItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.c.IgnoreRobotsTxt = false
		var seen []string
		w.h.OnFailure(func(f hostwisecolly.Failure) {
			seen = append(seen, f.Request.URL.String()+" "+string(f.Kind))
			if f.Err == nil {
				t.Error("Failure without an error")
			}
		})
		onError := 0
		w.c.OnError(func(*colly.Response, error) { onError++ })
		w.host("refused.test", "192.0.2.1")
		w.c.Visit("http://refused.test/page")
		if want := []string{"http://refused.test/robots.txt connect_refused"}; !slices.Equal(seen, want) {
			t.Errorf("OnFailure saw %q, want %q", seen, want)
		}
		if onError != 0 {
			t.Errorf("OnError was called %d times: Colly has changed, and OnFailure's documentation with it", onError)
		}
		if s := w.h.Stats(); s.Requests != 1 || s.Responses != 0 || s.Failures[hostwise.ConnectRefused] != 1 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestAttach_RedirectErrorNamesTheFailingHost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://gone.test/", http.StatusFound)
		})
		err := w.c.Visit("http://a.test/")
		var e *hostwise.DNSError
		if !errors.As(err, &e) || e.Host != "gone.test" {
			t.Errorf("err = %v, want a DNSError about gone.test", err)
		}
	})
}

func TestAttach_StatsAreOfOneCollector(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		other := w.attach(colly.NewCollector())
		w.visits("http://a.test/", "page", 0)
		if a, b := w.h.Stats().Responses, other.Stats().Responses; a != 1 || b != 0 {
			t.Errorf("responses: %d and %d, want 1 and 0", a, b)
		}
	})
}

func TestAttach_Timeout(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("hole.test", "192.0.2.1")
		w.net.SetLink(netip.MustParseAddr("192.0.2.1"), simnet.Link{Fault: simnet.BlackHole})
		var got error
		w.c.OnError(func(r *colly.Response, err error) { got = err })
		w.c.Visit("http://hole.test/")
		var e *hostwise.ConnectError
		if !errors.As(got, &e) || e.Kind != hostwise.ConnectTimeout || len(e.Attempts) != 1 {
			t.Errorf("OnError got %v, want a connect time-out of one address", got)
		}
	})
}

func TestAttach_NeedsBoth(t *testing.T) {
	if _, err := hostwisecolly.Attach(nil, nil); err == nil || !strings.Contains(err.Error(), "collector") {
		t.Errorf("err = %v", err)
	}
}

// net/http does not hand an https request for a WebSocket to the adapter, so
// that the Transport could not guard it: it must not go anywhere.
func TestAttach_WebSocketIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.dns.AddHost("a.test", 300, netip.MustParseAddr("192.0.2.1"))
		upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
		for _, proxy := range []string{"", "http://192.0.2.8:3128"} {
			if proxy != "" {
				if err := w.c.SetProxy(proxy); err != nil {
					t.Fatal(err)
				}
			}
			before := len(w.net.Dials())
			err := w.c.Request("GET", "https://a.test/", nil, nil, upgrade)
			if err == nil || !strings.Contains(err.Error(), "WebSocket over https") {
				t.Errorf("proxy %q: %v, want one that says so", proxy, err)
			}
			if got := len(w.net.Dials()) - before; got != 0 {
				t.Errorf("proxy %q: %d dials", proxy, got)
			}
		}
	})
}
