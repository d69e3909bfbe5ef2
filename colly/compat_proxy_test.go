package hostwisecolly_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gocolly/colly/v2/proxy"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// The ways to set a proxy. nil is none.
var proxies = []struct {
	name string
	set  func(c *colly.Collector, urls ...string) error
}{
	{"no proxy", nil},
	{"SetProxy", func(c *colly.Collector, urls ...string) error { return c.SetProxy(urls[0]) }},
	{"SetProxyFunc", func(c *colly.Collector, urls ...string) error {
		u, err := url.Parse(urls[0])
		c.SetProxyFunc(http.ProxyURL(u))
		return err
	}},
	{"RoundRobinProxySwitcher", func(c *colly.Collector, urls ...string) error {
		f, err := proxy.RoundRobinProxySwitcher(urls...)
		c.SetProxyFunc(f)
		return err
	}},
}

// The shell speaks HTTP/1 only, the transport behind it does not: with a
// proxy or without, an origin is spoken to over HTTP/2, and proxy or origin
// are raced, their names cached.
func TestAttach_HTTP2BehindTheShell(t *testing.T) {
	pool, cert := certificate()
	for _, tt := range proxies {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.use(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}, transport.Options{})
				w.net.SetLink(netip.MustParseAddr(v6), simnet.Link{Fault: simnet.BlackHole})
				w.host("example.com", v6, v4)
				w.serveTLS(v4+":443", cert, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.Proto) })

				w.host("proxy.test", "2001:db8::9", "192.0.2.9")
				for _, a := range []string{v4, "192.0.2.9"} {
					w.net.SetLink(netip.MustParseAddr(a), simnet.Link{RTT: 10 * ms})
				}
				w.net.SetLink(netip.MustParseAddr("2001:db8::9"), simnet.Link{Fault: simnet.BlackHole})
				var tunnels atomic.Int64
				w.serve("192.0.2.9:3128", tunnel(w, &tunnels, v4+":443"))
				raced, asked, want := v4, "example.com", [2]int{1, 0} // dials, tunnels
				took := []time.Duration{250*ms + 30*ms, 10 * ms, 10 * ms}
				if tt.set != nil {
					if err := tt.set(w.c, "http://proxy.test:3128", "http://proxy.test:3128"); err != nil {
						t.Fatal(err)
					}
					raced, asked, want = "192.0.2.9", "proxy.test", [2]int{3, 3} // Colly switches keep-alive off
					took = []time.Duration{250*ms + 70*ms, 70 * ms, 70 * ms}
				}
				for _, d := range took {
					w.visits("https://example.com/", "HTTP/2.0", d)
				}
				if got := [2]int{w.net.Stats().Hosts[netip.MustParseAddr(raced)].Dials, int(tunnels.Load())}; got != want {
					t.Errorf("%v connections to %s and tunnels, want %v", got, raced, want)
				}
				if got := w.dns.Count(asked, dns.TypeA); got != 1 {
					t.Errorf("%s was asked for %d times, want once", asked, got)
				}
			})
		})
	}
}

// tunnel is a proxy that connects to one origin.
func tunnel(w *world, count *atomic.Int64, origin string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(rw, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		count.Add(1)
		up, err := w.net.DialContext(r.Context(), "tcp", origin)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		down, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			w.t.Error(err)
			return
		}
		io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(up, down)
			up.Close()
		}()
		io.Copy(down, up)
		down.Close()
	}
}

// A proxy that is down is charged itself, and not the hosts behind it, which
// are reached as soon as the proxy is another one.
func TestAttach_ADeadProxyIsCharged(t *testing.T) {
	for _, tt := range proxies[1:] {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.host("dead.test", "192.0.2.8")
				w.host("alive.test", "192.0.2.9")
				w.serve("192.0.2.9:3128", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "proxied ", r.URL) })
				set := func(u string) {
					if err := tt.set(w.c, u); err != nil {
						t.Fatal(err)
					}
				}
				set("http://dead.test:3128")
				for i := range 3 {
					w.fails(fmt.Sprintf("http://h%d.test/", i), hostwise.ProxyConnect)
				}
				w.fails("http://h0.test/", hostwise.HostDown)
				if got := w.tr.Stats().HostsDown; got != 1 {
					t.Errorf("%d hosts are down, want the proxy alone", got)
				}
				set("http://alive.test:3128")
				for i := range 3 {
					u := fmt.Sprintf("http://h%d.test/", i)
					w.visits(u, "proxied "+u, 0)
				}
			})
		})
	}
}

// Collectors on one transport share what it knows of names and hosts, and
// its connections; proxies, cookies and statistics are their own.
func TestAttach_SeveralCollectorsOnOneTransport(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.host("down.test", "192.0.2.2")
		w.host("proxy.test", "192.0.2.9")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "page ", len(r.Cookies())) })
		w.serve("192.0.2.9:3128", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "proxied") })
		visit := func(c *colly.Collector, u string) (body string, err error) {
			c = c.Clone()
			c.OnResponse(func(r *colly.Response) { body = string(r.Body) })
			return body, c.Visit(u)
		}
		var collectors []*colly.Collector
		for i, want := range []string{"page 1", "page 1", "proxied", "page 1"} {
			c := colly.NewCollector(colly.AllowURLRevisit())
			h := w.attach(c)
			collectors = append(collectors, c)
			c.SetCookies("http://a.test/", []*http.Cookie{{Name: "mine", Value: "1"}})
			if want == "proxied" {
				c.SetProxy("http://proxy.test:3128")
			}
			if got, err := visit(c, "http://a.test/"); err != nil || got != want {
				t.Errorf("collector %d: %q, %v, want %q", i, got, err, want)
			}
			if s := h.Stats(); s.Requests != 1 || s.Responses != 1 {
				t.Errorf("collector %d: %+v, want one request", i, s)
			}
		}
		w.visits("http://a.test/", "page 0", 0)
		for _, i := range []int{0, 1, 0} {
			visit(collectors[i], "http://down.test/")
		}
		if _, err := visit(collectors[3], "http://down.test/"); hostwise.KindOf(err) != hostwise.HostDown {
			t.Errorf("another collector's first visit to a dead host: %v, want that it is known to be down", err)
		}
		if got := w.net.Stats().Hosts[netip.MustParseAddr("192.0.2.1")].Dials; got != 1 {
			t.Errorf("%d connections to a.test, want one for all", got)
		}
		if got := w.dns.Count("a.test", dns.TypeA); got != 1 {
			t.Errorf("a.test was asked for %d times, want once", got)
		}
	})
}

// A clone shares its collector's HTTP client, whenever it was made.
func TestAttach_Clone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.host("proxy.test", "192.0.2.9")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		w.serve("192.0.2.9:3128", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "proxied") })
		c := colly.NewCollector(colly.AllowURLRevisit())
		before := c.Clone()
		h := w.attach(c)
		after := c.Clone()
		bodies := map[string]int{}
		var failures []hostwise.Kind
		for _, c := range []*colly.Collector{c, before, after} {
			c.OnResponse(func(r *colly.Response) { bodies[string(r.Body)]++ })
			c.OnError(func(_ *colly.Response, err error) { failures = append(failures, hostwise.KindOf(err)) })
			c.Visit("http://a.test/")
			c.Visit("http://gone.test/")
		}
		after.SetProxy("http://proxy.test:3128") // of all three
		for _, c := range []*colly.Collector{c, before, after} {
			c.Visit("http://a.test/")
		}
		if fmt.Sprint(bodies, failures) != "map[page:3 proxied:3] [dns_nxdomain dns_nxdomain dns_nxdomain]" {
			t.Errorf("pages %v, failures %v", bodies, failures)
		}
		if s := h.Stats(); s.Requests != 9 || s.Responses != 6 || s.Failures[hostwise.DNSNXDomain] != 3 {
			t.Errorf("Stats = %+v, want 9 requests, 6 responses and 3 failures", s)
		}
		if got := w.net.Stats().Hosts[netip.MustParseAddr("192.0.2.1")].Dials; got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
	})
}

// A collector without keep-alive leaves no connection behind, though its
// transport keeps those of others.
func TestAttach_DisableKeepAlivesIsOfOneCollector(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Close) })
		other := colly.NewCollector(colly.AllowURLRevisit())
		w.attach(other)
		w.c.SetProxyFunc(func(*http.Request) (*url.URL, error) { return nil, nil })
		for range 3 {
			w.visits("http://a.test/", "true", 0)
			time.Sleep(ms)
			if got := w.net.Stats().Open; got != 0 {
				t.Errorf("%d connections are open", got)
			}
		}
		for range 3 {
			if err := other.Visit("http://a.test/"); err != nil {
				t.Error(err)
			}
		}
		if got := w.net.Stats().Open; got != 1 {
			t.Errorf("%d connections are open, want the other collector's", got)
		}
	})
}
