package hostwisecolly_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

const hubs, leaves = 20, 30 // a page links to the hubs, each of which links to its leaves

// crawlLinks crawls a small web of hosts that are all linked from elsewhere,
// eight at a time, and returns the time to first byte of each of them.
func crawlLinks(t *testing.T, prefetch bool) (ttfb []time.Duration) {
	inWorld(t, func(w *world) {
		n := 0
		add := func(name string, links []string) {
			var b strings.Builder
			for _, l := range links {
				fmt.Fprintf(&b, "<a href=\"http://%s/\">x</a>\n", l)
			}
			addr := netip.AddrFrom4([4]byte{198, 18, byte(n / 250), byte(1 + n%250)})
			cold := time.Duration(20+n*67%180) * ms // the time that the name takes to resolve
			n++
			w.dns.Handle(name, dns.TypeA, simnet.Rule{Addrs: []netip.Addr{addr}, TTL: 300, Delay: cold})
			w.dns.Handle(name, dns.TypeAAAA, simnet.Rule{Delay: cold})
			w.net.SetLink(addr, simnet.Link{RTT: rtt})
			w.serve(addr.String()+":80", func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/html")
				io.WriteString(rw, b.String())
			})
		}
		var top []string
		for i := range hubs {
			var links []string
			for j := range leaves {
				links = append(links, fmt.Sprintf("leaf%d-%d.test", i, j))
				add(links[j], nil)
			}
			top = append(top, fmt.Sprintf("hub%d.test", i))
			add(top[i], links)
		}
		add("start.test", top)

		w.c.Async = true
		w.c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: 8})
		if prefetch {
			w.h.PrefetchLinks(nil)
		}
		var mu sync.Mutex
		begin := map[uint32]time.Time{}
		w.c.OnRequestHeaders(func(r *colly.Request) { mu.Lock(); defer mu.Unlock(); begin[r.ID] = time.Now() })
		w.c.OnResponseHeaders(func(r *colly.Response) {
			mu.Lock()
			defer mu.Unlock()
			if r.Request.Depth > 1 {
				ttfb = append(ttfb, time.Since(begin[r.Request.ID]))
			}
		})
		w.c.OnHTML("a[href]", func(e *colly.HTMLElement) { e.Request.Visit(e.Attr("href")) })
		w.c.OnError(func(_ *colly.Response, err error) { t.Error(err) })
		w.c.Visit("http://start.test/")
		w.c.Wait()
		if s := w.h.Stats(); prefetch && (s.Prefetched != hubs+hubs*leaves || s.PrefetchDropped != 0) {
			t.Errorf("%+v, want each name looked up once", s)
		}
		if got := w.dns.Count("leaf3-3.test", dns.TypeA); got != 1 {
			t.Errorf("%d queries for a name, want 1", got)
		}
	})
	return ttfb
}

func TestPrefetchLinks_FirstContactsFindTheirNames(t *testing.T) {
	var p50, share [2]float64
	for i, prefetch := range []bool{false, true} {
		ttfb := crawlLinks(t, prefetch)
		if len(ttfb) != hubs+hubs*leaves {
			t.Fatalf("%d pages, want %d", len(ttfb), hubs+hubs*leaves)
		}
		slices.Sort(ttfb)
		warm := 0
		for _, d := range ttfb {
			if d == 2*rtt { // to connect, and for the answer: nothing else
				warm++
			}
		}
		share[i] = 100 * float64(warm) / float64(len(ttfb))
		p50[i] = float64(ttfb[len(ttfb)/2]) / float64(ms)
	}
	t.Logf("first contacts without DNS in their time to first byte: %.1f %% (%.1f %% without PrefetchLinks); p50 %.0f ms (%.0f ms)", share[1], share[0], p50[1], p50[0])
	if share[1] < 95 {
		t.Errorf("%.1f %% without DNS, want 95", share[1])
	}
	if share[0] != 0 {
		t.Errorf("%.1f %% without DNS and without PrefetchLinks: the test shows nothing", share[0])
	}
}

// page serves one page of links at page.test.
func (w *world) page(links ...string) {
	var b strings.Builder
	for _, l := range links {
		fmt.Fprintf(&b, "<a href=%q>x</a>\n", l)
	}
	w.host("page.test", "192.0.2.77")
	w.serve("192.0.2.77:80", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		io.WriteString(rw, b.String())
	})
}

func (w *world) asked() (names []string) {
	for _, q := range w.dns.Queries() {
		if name := strings.TrimSuffix(q.Name, "."); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestPrefetchLinks_AsksForWhatMayBeVisited(t *testing.T) {
	inWorld(t, func(w *world) {
		w.page("/local", "http://b.test/", "https://B.test:8443/x", "mailto:someone@c.test", "http://d.test/", "http://192.0.2.7/", "//e.test/", "http://[bad/")
		w.c.AllowedDomains = []string{"page.test", "b.test", "e.test"}
		w.h.PrefetchLinks(nil)
		w.c.Visit("http://page.test/")
		time.Sleep(time.Second)
		if got, want := w.asked(), []string{"b.test", "e.test", "page.test"}; !slices.Equal(got, want) {
			t.Errorf("asked for %q, want %q", got, want)
		}
	})
}

func TestPrefetchLinks_NotBelowMaxDepthNorThroughAProxy(t *testing.T) {
	for name, set := range map[string]func(w *world){
		"MaxDepth": func(w *world) { w.c.MaxDepth = 1 },
		"proxy":    func(w *world) { w.c.SetProxy("http://page.test") },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.page("http://b.test/")
				set(w)
				w.h.PrefetchLinks(nil)
				w.c.Visit("http://page.test/")
				time.Sleep(time.Second)
				if got, want := w.asked(), []string{"page.test"}; !slices.Equal(got, want) {
					t.Errorf("asked for %q, want %q", got, want)
				}
			})
		})
	}
}

func TestPrefetchLinks_IsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		var links []string
		for i := range 100 {
			links = append(links, fmt.Sprintf("http://h%d.test/", i%10))
		}
		w.page(links...)
		for i := range 10 {
			w.dns.Handle(fmt.Sprintf("h%d.test", i), dns.TypeANY, simnet.Rule{Delay: 100 * ms})
		}
		w.h.PrefetchLinks(&hostwisecolly.PrefetchOptions{Workers: 2, Queue: 3})
		w.c.Visit("http://page.test/")
		time.Sleep(time.Minute)
		s := w.h.Stats()
		if s.Prefetched < 3 || s.Prefetched > 5 || s.PrefetchDropped == 0 {
			t.Errorf("%+v, want three to five names looked up, and others left out", s)
		}
	})
}

func TestPrefetchLinks_Ends(t *testing.T) {
	for name, stop := range map[string]func(w *world, cancel func()){
		"with the context": func(_ *world, cancel func()) { cancel() },
		"with Close":       func(w *world, _ func()) { w.h.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				w.c.Context = ctx
				var links []string
				for i := range 50 {
					name := fmt.Sprintf("silent%d.test", i)
					w.dns.Handle(name, dns.TypeANY, simnet.Rule{Silent: true})
					links = append(links, "http://"+name+"/")
				}
				w.page(links...)
				w.h.PrefetchLinks(&hostwisecolly.PrefetchOptions{Workers: 2})
				w.c.Visit("http://page.test/")
				time.Sleep(10 * ms)
				start := time.Now()
				stop(w, cancel)
				w.h.Close() // joins
				if d := time.Since(start); d != 0 {
					t.Errorf("it took %v to end", d)
				}
				if s := w.h.Stats(); s.Prefetched != 2 {
					t.Errorf("%d names are done with after Close, want those of the two workers", s.Prefetched)
				}
				if got := len(w.asked()); got != 3 {
					t.Errorf("%d names asked for, want page.test and those of the two workers", got)
				}
			})
		})
	}
}

func TestPrewarm(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.dns.Handle("slow.test", dns.TypeANY, simnet.Rule{Delay: 300 * ms})
		w.dns.Handle("slow.test", dns.TypeA, simnet.Rule{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, TTL: 300, Delay: 300 * ms})
		w.serve("192.0.2.2:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		got := w.h.Prewarm(w.c.Context, []string{"http://a.test/1", "https://a.test/2", "http://slow.test/", "http://gone.test/", "no URL", "http://[bad/"})
		var lines []string
		for _, p := range got {
			lines = append(lines, fmt.Sprintf("%s %d %v %s", p.Host, p.Addrs, p.Elapsed, hostwise.KindOf(p.Err)))
		}
		want := []string{"a.test 2 0s ", "slow.test 1 300ms ", "gone.test 0 0s dns_nxdomain", "no URL 0 0s bad_url", "http://[bad/ 0 0s bad_url"}
		if !slices.Equal(lines, want) {
			t.Errorf("Prewarm reports\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
		w.visits("http://slow.test/", "page", 0)

		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, p := range w.h.Prewarm(ctx, []string{"http://new.test/"}) {
			if hostwise.KindOf(p.Err) != hostwise.Canceled {
				t.Errorf("after the context's end: %v", p.Err)
			}
		}
	})
}
