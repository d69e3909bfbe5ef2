package hostwisecolly_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gocolly/colly/v2/queue"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// A crawl that is cancelled in the middle says so of each of its requests,
// wherever they were, and no host is worse off for it. (The dials go on: a
// host that does not answer them either, is charged for that.)
func TestAttach_CancelledRequestsChargeNobody(t *testing.T) {
	_, cert := certificate()
	hole := simnet.Link{Fault: simnet.BlackHole}
	for _, tt := range []struct {
		name, scheme string
		fault        simnet.Link
		silent       bool // the nameserver
		body         bool // is what does not come; else the headers
		perHost      int  // connections
		parallelism  int  // of a LimitRule
		queue        int  // threads
	}{
		{name: "resolving", silent: true},
		{name: "connecting", fault: hole},
		{name: "handshake", scheme: "https", fault: simnet.Link{Fault: simnet.DataHole}},
		{name: "headers awaited"},
		{name: "body awaited", body: true, perHost: 10},
		{name: "a connection awaited", perHost: 1},
		{name: "behind a LimitRule", parallelism: 1},
		{name: "connecting, behind a LimitRule", fault: hole, parallelism: 1},
		{name: "in a queue", queue: 2},
		{name: "connecting, in a queue", fault: hole, queue: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				const requests = 10
				w.use(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, transport.Options{MaxConnsPerHost: tt.perHost})
				addr := netip.MustParseAddr("192.0.2.1")
				w.host("a.test", addr.String())
				w.net.SetLink(addr, tt.fault)
				w.dns.SetSilent(tt.silent)
				var healed atomic.Bool
				h := func(rw http.ResponseWriter, r *http.Request) {
					io.WriteString(rw, "page")
					if !healed.Load() {
						if tt.body {
							rw.(http.Flusher).Flush()
						}
						<-r.Context().Done()
					}
				}
				w.serve("192.0.2.1:80", h)
				w.serveTLS("192.0.2.1:443", cert, h)

				ctx, cancel := context.WithCancel(context.Background())
				c := colly.NewCollector(colly.StdlibContext(ctx), colly.Async(tt.queue == 0))
				c.SetRequestTimeout(0)
				w.attach(c)
				if tt.parallelism > 0 {
					c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: tt.parallelism})
				}
				var canceled atomic.Int64
				c.OnError(func(r *colly.Response, err error) {
					if !errors.Is(err, context.Canceled) || hostwise.KindOf(err) != hostwise.Canceled || tt.body && err != context.Canceled {
						t.Errorf("%v (%s), want that it was cancelled", err, hostwise.KindOf(err))
					}
					canceled.Add(1)
				})
				c.OnResponse(func(r *colly.Response) { t.Errorf("a response: %q", r.Body) })
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				q, err := queue.New(max(tt.queue, 1), nil)
				if err != nil {
					t.Fatal(err)
				}
				for i := range requests {
					u := fmt.Sprintf("%s://a.test/%d", first(tt.scheme, "http"), i)
					if tt.queue > 0 {
						q.AddURL(u)
					} else {
						c.Visit(u)
					}
				}
				if tt.queue > 0 {
					q.Run(c)
				}
				c.Wait()
				if elapsed := time.Since(start); canceled.Load() != requests || elapsed != time.Second {
					t.Errorf("%d requests were cancelled in %v, want %d in 1 s", canceled.Load(), elapsed, requests)
				}
				healed.Store(true)
				w.net.SetLink(addr, simnet.Link{})
				w.dns.SetSilent(false)
				time.Sleep(20 * time.Second) // more than any dial takes that goes on
				if s := w.tr.Stats(); s.HostsDown != 0 || len(s.Failures) > 1 {
					t.Errorf("hosts down %d, failures %v", s.HostsDown, s.Failures)
				}
				w.visits("http://a.test/", "page", 0)
			})
		})
	}
}

func first(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// Of a host that has answered nothing bad is said, whatever becomes of the
// body.
func TestAttach_BodiesChargeNobody(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(c *colly.Collector)
		h    http.HandlerFunc
		want error
	}{
		{"MaxBodySize", func(c *colly.Collector) { c.MaxBodySize = 10 }, endless, nil},
		{"Abort", func(c *colly.Collector) {
			c.OnResponseHeaders(func(r *colly.Response) { r.Request.Abort() })
		}, endless, colly.ErrAbortedAfterHeaders},
		{"cut off", func(*colly.Collector) {}, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "100")
			io.WriteString(rw, "half")
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, io.ErrUnexpectedEOF},
		{"too slow", func(c *colly.Collector) {}, func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusOK)
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
		}, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.serve("192.0.2.1:80", tt.h)
				tt.set(w.c)
				for range 10 {
					if err := w.c.Visit("http://a.test/"); !errors.Is(err, tt.want) {
						t.Errorf("Visit = %v, want %v", err, tt.want)
					}
				}
				if s := w.h.Stats(); s.Requests != 10 || s.Responses != 10 || len(s.Failures) != 0 {
					t.Errorf("Stats = %+v, want 10 responses", s)
				}
				if s := w.tr.Stats(); s.Responses != 10 || len(s.Failures) != 0 || s.HostsDown != 0 {
					t.Errorf("the transport's Stats = %+v, want 10 responses", s)
				}
			})
		})
	}
}

// The failure of a redirect's target is the target's.
func TestAttach_RedirectChargesTheFailingHost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.host("b.test", "192.0.2.2")
		w.host("refused.test", "192.0.2.3")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://b.test/", http.StatusFound)
		})
		w.serve("192.0.2.2:80", func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://refused.test/", http.StatusFound)
		})
		for range 3 {
			err := w.c.Visit("http://a.test/")
			var e *hostwise.ConnectError
			if !errors.As(err, &e) || e.Host != "refused.test:80" || e.Kind != hostwise.ConnectRefused {
				t.Errorf("err = %v, want that refused.test:80 refuses", err)
			}
		}
		err := w.c.Visit("http://a.test/")
		var e *hostwise.HostDownError
		if !errors.As(err, &e) || e.Host != "refused.test:80" || w.tr.Stats().HostsDown != 1 {
			t.Errorf("err = %v, %d hosts down, want that refused.test:80 alone is", err, w.tr.Stats().HostsDown)
		}
		if s := w.h.Stats(); s.Requests != 12 || s.Responses != 8 || s.Failures[hostwise.ConnectRefused] != 3 || s.Failures[hostwise.HostDown] != 1 {
			t.Errorf("Stats = %+v, want each hop counted", s)
		}
	})
}

func TestAttach_256Workers(t *testing.T) {
	const hosts, pages, workers = 64, 1024, 256
	for _, kind := range []string{"stock", "attached"} {
		inWorld(t, func(w *world) {
			w.c.Async = true
			if kind == "stock" {
				w.c.WithTransport(w.stock())
			}
			for i := range hosts {
				addr := fmt.Sprintf("192.0.2.%d", 100+i)
				w.host(fmt.Sprintf("h%d.test", i), addr)
				w.net.SetLink(netip.MustParseAddr(addr), simnet.Link{RTT: 20 * ms})
				w.serve(addr+":80", func(rw http.ResponseWriter, r *http.Request) {
					time.Sleep(100 * ms)
					io.WriteString(rw, r.Host+r.URL.Path)
				})
			}
			w.c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: workers})
			var mu sync.Mutex
			seen := map[string]int{}
			w.c.OnResponse(func(r *colly.Response) {
				mu.Lock()
				defer mu.Unlock()
				seen["http://"+string(r.Body)]++
			})
			w.c.OnError(func(r *colly.Response, err error) { t.Errorf("%s: %s: %v", kind, r.Request.URL, err) })
			start := time.Now()
			for i := range pages {
				w.c.Visit(fmt.Sprintf("http://h%d.test/%d", i%hosts, i))
			}
			w.c.Wait()
			elapsed, s := time.Since(start), w.net.Stats()
			for i := range pages {
				if u := fmt.Sprintf("http://h%d.test/%d", i%hosts, i); seen[u] != 1 {
					t.Errorf("%s: %s was seen %d times", kind, u, seen[u])
				}
			}
			dials := 0
			for _, h := range s.Hosts {
				dials += h.Dials
			}
			t.Logf("%-8s %d pages in %v, %d connections, %d at a time", kind, len(seen), elapsed, dials, s.PeakOpen)
			if kind == "attached" && s.PeakOpen > 200 {
				t.Errorf("%d connections at a time, more than the 200 of Options.MaxConns", s.PeakOpen)
			}
		})
	}
}

// One LimitRule for all hosts: those that are dead hold its slots. In stock
// Colly they do so for as long as there are pages of theirs, here until it is
// known, which takes one time-out.
func TestAttach_ADeadHostDoesNotStallTheOthers(t *testing.T) {
	const slots, pages = 4, 20 // pages of the dead host, and as many others
	wave := map[string][2]time.Duration{}
	for _, kind := range []string{"stock", "attached"} {
		inWorld(t, func(w *world) {
			w.c.Async = true
			if kind == "stock" {
				w.c.WithTransport(w.stock())
			}
			w.host("dead.test", "192.0.2.1")
			w.net.SetLink(netip.MustParseAddr("192.0.2.1"), simnet.Link{Fault: simnet.BlackHole})
			w.host("a.test", "192.0.2.2")
			w.serve("192.0.2.2:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
			w.c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: slots})
			var healthy, dead atomic.Int64
			w.c.OnResponse(func(r *colly.Response) { healthy.Add(1) })
			w.c.OnError(func(r *colly.Response, err error) { dead.Add(1) })
			var took [2]time.Duration
			for i := range took {
				start := time.Now()
				for range pages {
					w.c.Visit("http://dead.test/")
					w.c.Visit("http://a.test/")
				}
				w.c.Wait()
				took[i] = time.Since(start)
			}
			if healthy.Load() != 2*pages || dead.Load() != 2*pages {
				t.Errorf("%s: %d pages and %d errors, want %d of each", kind, healthy.Load(), dead.Load(), 2*pages)
			}
			wave[kind] = took
		})
	}
	t.Logf("%d pages of a dead host and %d others, %d slots: stock %v, then %v; attached %v, then %v", pages, pages, slots, wave["stock"][0], wave["stock"][1], wave["attached"][0], wave["attached"][1])
	if got := wave["attached"]; got[0] > 10*time.Second || got[1] != 0 {
		t.Errorf("attached: %v, want no more than one time-out of 10 s, and then nothing", got)
	}
	if got := wave["stock"]; got[0] < pages/slots*10*time.Second {
		t.Errorf("stock: %v: Colly has changed, and this test proves nothing", got)
	}
}
