package hostwisecolly_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocolly/colly/v2"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

const (
	ms  = time.Millisecond
	rtt = 40 * ms // of every healthy link here
)

// races are what may befall the race to example.com's addresses, and the
// time from the beginning of the request to the first byte of the response.
var races = []struct {
	name, scheme string
	addrs        []string
	links        map[string]simnet.Link // others are healthy
	silentAAAA   bool
	firstByte    time.Duration
}{
	{"healthy dual stack", "http", []string{v6, v4}, nil, false, 2 * rtt},
	{"healthy dual stack, TLS", "https", []string{v6, v4}, nil, false, 3 * rtt},
	{"dead IPv6", "http", []string{v6, v4}, map[string]simnet.Link{v6: {Fault: simnet.BlackHole}}, false, 250*ms + 2*rtt},
	{"RST over IPv6", "http", []string{v6, v4}, map[string]simnet.Link{v6: {Fault: simnet.Refuse, RTT: rtt}}, false, rtt + 2*rtt},
	{"slow IPv6", "http", []string{v6, v4}, map[string]simnet.Link{v6: {RTT: 10 * rtt}}, false, 250*ms + 2*rtt},
	{"AAAA silent", "http", []string{v4}, nil, true, 50*ms + 2*rtt},
	{"TLS black hole over IPv6", "https", []string{v6, v4}, map[string]simnet.Link{v6: {Fault: simnet.DataHole, RTT: rtt}}, false, 250*ms + 3*rtt},
	{"dead first A of two", "http", []string{dead4, v4}, map[string]simnet.Link{dead4: {Fault: simnet.BlackHole}}, false, 250*ms + 2*rtt},
}

const v6, v4, dead4 = "2001:db8::1", "192.0.2.2", "192.0.2.1"

// raceWorld is a network with example.com in it, and a collector that traces.
func raceWorld(t *testing.T, f func(n *simnet.Network, ns *simnet.DNS, c *colly.Collector)) {
	pool, cert := certificate() // made outside: the bubble's clock stands in the past
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		ns := n.ServeDNS("192.0.2.53:53")
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: n.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := transport.New(&http.Transport{DialContext: n.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool}}, &transport.Options{Resolver: r})
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{
			Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") }),
			ErrorLog:  log.New(io.Discard, "", 0),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		}
		for _, a := range []string{v6, v4} {
			addr := netip.MustParseAddr(a)
			n.SetLink(addr, simnet.Link{RTT: rtt})
			for _, port := range []uint16{80, 443} {
				l, err := n.Listen(netip.AddrPortFrom(addr, port).String())
				if err != nil {
					t.Fatal(err)
				}
				if port == 443 {
					go s.ServeTLS(l, "", "")
				} else {
					go s.Serve(l)
				}
			}
		}
		c := colly.NewCollector(colly.AllowURLRevisit(), colly.TraceHTTP())
		if _, err := hostwisecolly.Attach(c, tr); err != nil {
			t.Fatal(err)
		}
		f(n, ns, c)
		tr.Close()
		s.Close()
		r.Close()
		ns.Close()
		time.Sleep(time.Minute)
	})
}

// certificate is that of httptest's servers, for example.com.
func certificate() (*x509.CertPool, tls.Certificate) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool, s.TLS.Certificates[0]
}

// Under stock Happy Eyeballs Colly's trace is a data race, and says what the
// attempt that came last did. Here the hooks take turns, and the durations
// are those of the connection that the page came over.
func TestTraceHTTP_IsExactWhateverTheRace(t *testing.T) {
	for _, tt := range races {
		t.Run(tt.name, func(t *testing.T) {
			raceWorld(t, func(n *simnet.Network, ns *simnet.DNS, c *colly.Collector) {
				var addrs []netip.Addr
				for _, a := range tt.addrs {
					addrs = append(addrs, netip.MustParseAddr(a))
				}
				ns.AddHost("example.com", 300, addrs...)
				if tt.silentAAAA {
					ns.Handle("example.com", dns.TypeAAAA, simnet.Rule{Silent: true})
				}
				for a, l := range tt.links {
					n.SetLink(netip.MustParseAddr(a), l)
				}
				var trace *colly.HTTPTrace
				c.OnResponse(func(r *colly.Response) { trace = r.Trace })
				if err := c.Visit(tt.scheme + "://example.com/"); err != nil {
					t.Fatal(err)
				}
				if trace.ConnectDuration != rtt || trace.FirstByteDuration != tt.firstByte {
					t.Errorf("ConnectDuration %v, FirstByteDuration %v, want %v and %v", trace.ConnectDuration, trace.FirstByteDuration, rtt, tt.firstByte)
				}
			})
		})
	}
}

// Many at a time, some of them given up in the middle of the race.
func TestTraceHTTP_IsRaceFree(t *testing.T) {
	raceWorld(t, func(n *simnet.Network, ns *simnet.DNS, c *colly.Collector) {
		for i := range 50 {
			ns.AddHost(fmt.Sprintf("h%d.test", i), 300, netip.MustParseAddr(v6), netip.MustParseAddr(v4))
		}
		c.Async = true
		c.SetRequestTimeout(300 * ms)
		var pages, errs atomic.Int64
		c.OnResponse(func(r *colly.Response) {
			pages.Add(1)
			if r.Trace.FirstByteDuration <= 0 {
				t.Errorf("%s: %+v", r.Request.URL, r.Trace)
			}
		})
		c.OnError(func(r *colly.Response, _ error) { errs.Add(1) })
		for i := range 500 {
			switch i % 100 { // IPv6 is dead for a while, and slow for another
			case 0:
				n.SetLink(netip.MustParseAddr(v6), simnet.Link{Fault: simnet.BlackHole})
			case 40:
				n.SetLink(netip.MustParseAddr(v6), simnet.Link{RTT: 270 * ms})
			case 80:
				n.SetLink(netip.MustParseAddr(v6), simnet.Link{RTT: rtt})
			}
			c.Visit(fmt.Sprintf("http://h%d.test/%d", i%50, i))
			time.Sleep(10 * ms)
		}
		c.Wait()
		t.Logf("%d pages, %d errors", pages.Load(), errs.Load())
		if pages.Load() == 0 || errs.Load() == 0 || pages.Load()+errs.Load() != 500 {
			t.Errorf("%d pages and %d errors, want 500, some of each", pages.Load(), errs.Load())
		}
	})
}
