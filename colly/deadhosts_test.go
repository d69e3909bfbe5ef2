package hostwisecolly_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// The crawl of TestDeadHosts.
const (
	crawlHosts   = 125
	crawlPages   = 200 // of each host
	crawlWorkers = 64
)

// crawled is what became of a crawl.
type crawled struct {
	pages, lost int           // of live hosts
	lostTime    time.Duration // that workers spent on dead hosts
	took        time.Duration
}

// crawl visits all URLs in the same random order, with so many workers at a
// time that each wait for its page.
func crawl(c *colly.Collector, dead func(host int) bool) (r crawled) {
	order := rand.New(rand.NewPCG(20, 64)).Perm(crawlHosts * crawlPages)
	urls := make(chan int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for range crawlWorkers {
		wg.Go(func() {
			for i := range urls {
				host := i % crawlHosts
				begin := time.Now()
				err := c.Visit(fmt.Sprintf("http://h%d.test/%d", host, i/crawlHosts))
				mu.Lock()
				switch {
				case dead(host):
					r.lostTime += time.Since(begin)
				case err != nil:
					r.lost++
				default:
					r.pages++
				}
				mu.Unlock()
			}
		})
	}
	for _, i := range order {
		urls <- i
	}
	close(urls)
	wg.Wait()
	r.took = time.Since(start)
	return r
}

// A fifth of the hosts is dead: black holes, silence after the connect, and
// some that refuse and cost nobody time. Both crawlers get the same links, and
// stock Colly is spared the DNS. What a dead host costs hostwise does not grow
// with its pages: with half as many it was a sixteenth.
func TestDeadHosts_CostATwentiethOfStockColly(t *testing.T) {
	dead := func(host int) bool { return host%5 == 0 }
	inWorld(t, func(w *world) {
		addrs := map[string]string{}
		for i := range crawlHosts {
			name, addr := fmt.Sprintf("h%d.test", i), fmt.Sprintf("192.0.%d.%d", 3+i/200, 1+i%200)
			addrs[name] = addr
			w.host(name, addr)
			w.net.SetLink(netip.MustParseAddr(addr), simnet.Link{RTT: time.Duration(20+i) * ms})
			switch {
			case !dead(i):
				w.serve(addr+":80", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })
			case i%25 == 0: // refuses
			case i%25 == 5: // connects, and says nothing
				w.serve(addr+":80", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			default:
				w.net.SetLink(netip.MustParseAddr(addr), simnet.Link{Fault: simnet.BlackHole})
			}
		}
		stock := colly.NewCollector(colly.AllowURLRevisit())
		inner := &http.Transport{
			MaxIdleConns: 100, IdleConnTimeout: 90 * time.Second,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // as http.DefaultTransport
				defer cancel()
				return w.net.DialContext(ctx, network, net.JoinHostPort(addrs[host], port))
			},
		}
		stock.WithTransport(inner)
		was := crawl(stock, dead)
		inner.CloseIdleConnections()
		is := crawl(w.c, dead)
		t.Logf("%d hosts, %d pages each, %d workers     stock Colly    hostwise", crawlHosts, crawlPages, crawlWorkers)
		t.Logf("worker time lost on dead hosts, s    %12.0f  %10.0f", was.lostTime.Seconds(), is.lostTime.Seconds())
		t.Logf("the whole crawl, s                   %12.0f  %10.0f", was.took.Seconds(), is.took.Seconds())
		t.Logf("pages of live hosts                  %12d  %10d", was.pages, is.pages)
		t.Logf("lost                                 %12d  %10d", was.lost, is.lost)
		if is.lostTime > was.lostTime/20 || is.lost > 0 || is.pages < was.pages {
			t.Errorf("hostwise loses more than a twentieth of stock Colly's worker time, or pages of live hosts")
		}
	})
}
