// Command broadcrawl has the shape of a crawl of very many hosts: a queue, a
// bounded number of threads, names resolved ahead, retries, and hosts that are
// down put off to the end. It runs offline, on an internet of its own, or
// crawls the URLs in a file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gocolly/colly/v2/queue"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

type config struct {
	file     string
	hosts    int
	pages    int
	threads  int
	retries  int
	patience time.Duration
}

func main() {
	var cfg config
	flag.StringVar(&cfg.file, "urls", "", "`file` with one URL a line to begin with; without it the internet is one of our own")
	flag.IntVar(&cfg.hosts, "hosts", 150, "`number` of hosts of that, up to 1000")
	flag.IntVar(&cfg.pages, "pages", 5, "`number` of pages to fetch from each host at most")
	flag.IntVar(&cfg.threads, "threads", 32, "`number` of requests at a time; with many slow hosts, some hundreds")
	flag.IntVar(&cfg.retries, "retries", 2, "`number` of times to retry a request")
	flag.DurationVar(&cfg.patience, "patience", 0, "`time` to wait at the end for hosts that are down")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// A frontier is what is known of the pages to visit: which belong to the
// crawl, and which are put off.
type frontier struct {
	pages int

	mu     sync.Mutex      // protects what follows
	known  map[string]bool // pages
	byHost map[string]int  // how many of them
	putOff []string
	until  time.Time // when the last of the hosts put off may be tried
	failed map[hostwise.Kind]int
	first  map[hostwise.Kind]string // an example of each
	asked  int                      // requests begun
	got    int
}

// wants reports whether a page is new, and its host has not had its share.
func (f *frontier) wants(u *url.URL) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	page := u.String()
	if f.known[page] || f.byHost[u.Host] >= f.pages {
		return false
	}
	f.known[page] = true
	f.byHost[u.Host]++
	return true
}

func (f *frontier) begun(*colly.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
}

func (f *frontier) fetched(*colly.Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got++
}

func (f *frontier) gaveUp(r *colly.Response, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := hostwisecolly.Kind(r, err)
	if f.failed[kind]++; f.first[kind] == "" {
		f.first[kind] = err.Error()
	}
}

func (f *frontier) skipped(r *colly.Request, down *hostwise.HostDownError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putOff = append(f.putOff, r.URL.String())
	if down.RetryAt.After(f.until) {
		f.until = down.RetryAt
	}
}

// takePutOff returns the pages put off so far, and the time to wait for them.
func (f *frontier) takePutOff() (urls []string, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	urls, f.putOff = f.putOff, nil
	return urls, time.Until(f.until)
}

func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	opt := &dnscache.Options{}
	seeds, closeInternet, err := cfg.seeds(opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeInternet()) }()
	resolver, err := dnscache.New(opt)
	if err != nil {
		return err
	}
	defer resolver.Close()
	var base *http.Transport // the default
	if cfg.file == "" {
		base = &http.Transport{DialContext: lossy}
	}
	t, err := transport.New(base, &transport.Options{
		Resolver:        resolver,
		PublicOnly:      cfg.file != "", // links of strangers must not lead into the own network
		MaxConns:        2 * cfg.threads,
		MaxConnsPerHost: 2,
	})
	if err != nil {
		return err
	}
	defer t.Close()

	f := &frontier{pages: cfg.pages, known: map[string]bool{}, byHost: map[string]int{}, failed: map[hostwise.Kind]int{}, first: map[hostwise.Kind]string{}}
	// The queue's threads bound the requests under way, so the collector is
	// not Async. A retry occupies its thread: do not wait long for one. What has
	// been visited is the frontier's to know, since to Colly a page put off has.
	c := colly.NewCollector(colly.StdlibContext(ctx), colly.MaxBodySize(1<<20), colly.AllowURLRevisit())
	h, err := hostwisecolly.Attach(c, t)
	if err != nil {
		return err
	}
	defer h.Close()
	h.Retry(&hostwisecolly.RetryOptions{Max: cfg.retries, Delay: 200 * time.Millisecond, MaxDelay: 2 * time.Second, GaveUp: f.gaveUp})
	h.SkipDeadHosts(f.skipped)
	q, err := queue.New(cfg.threads, &queue.InMemoryQueueStorage{})
	if err != nil {
		return err
	}
	c.OnRequest(f.begun)
	c.OnResponse(f.fetched)
	c.OnHTML("a[href]", func(e *colly.HTMLElement) {
		u, err := url.Parse(e.Request.AbsoluteURL(e.Attr("href")))
		if err == nil && u.Host == e.Request.URL.Host && f.wants(u) {
			q.AddURL(u.String())
		}
	})

	begin := time.Now()
	var names sync.WaitGroup
	dead := 0
	names.Go(func() { dead = f.prewarm(ctx, h, seeds) })
	var urls []string
	for _, s := range seeds {
		if u, err := url.Parse(s); err != nil {
			f.gaveUp(nil, err)
		} else if f.wants(u) {
			urls = append(urls, s)
		}
	}
	for pass := 1; len(urls) > 0 && ctx.Err() == nil; pass++ {
		for _, u := range urls {
			if err := q.AddURL(u); err != nil {
				return err
			}
		}
		if err := q.Run(c); err != nil {
			return err
		}
		q.Stop() // or Colly lets no second Run begin
		var wait time.Duration
		if urls, wait = f.takePutOff(); len(urls) == 0 {
			break
		}
		fmt.Fprintf(out, "pass %d: %d pages put off, their hosts are down for up to %v\n", pass, len(urls), max(0, wait).Round(time.Second))
		if time.Since(begin)+wait > cfg.patience {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	names.Wait()
	f.report(out, h.Stats(), time.Since(begin))
	fmt.Fprintf(out, "%d names do not resolve; %d DNS queries, %d connections, %d hosts down\n", dead, resolver.Stats().Queries, t.Stats().Dials, t.Stats().HostsDown)
	return nil
}

// ahead is how many pages of the list are resolved before their turn. To
// resolve all of a long list at once would be to ask again later, when the
// answers have expired.
const ahead = 1000

// prewarm resolves the names of urls ahead of the queue, which has them in the
// same order. It returns the number of those that have no address.
func (f *frontier) prewarm(ctx context.Context, h *hostwisecolly.Handle, urls []string) (dead int) {
	known := map[string]bool{}
	done := 0
	for chunk := range slices.Chunk(urls, ahead/4) {
		for ctx.Err() == nil && done > f.progress()+ahead {
			time.Sleep(20 * time.Millisecond)
		}
		for _, p := range h.Prewarm(ctx, chunk) {
			if !known[p.Host] && p.Err != nil {
				dead++
			}
			known[p.Host] = true
		}
		done += len(chunk)
	}
	return dead
}

func (f *frontier) progress() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// lossy fails one connection in 50, so that there is something to retry.
func lossy(ctx context.Context, network, addr string) (net.Conn, error) {
	if rand.N(50) == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNRESET}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// report prints what became of the pages. Every request is accounted for.
func (f *frontier) report(out io.Writer, s hostwisecolly.Stats, wall time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failures uint64
	for _, n := range s.Failures {
		failures += n
	}
	fmt.Fprintf(out, "%d pages in %v, %.0f a second\n", f.got, wall.Round(time.Millisecond), float64(f.got)/wall.Seconds())
	fmt.Fprintf(out, "%d requests: %d with a response, %d failed; %d retries, by which %d pages recovered; %d skipped\n", s.Requests, s.Responses, failures, s.Retries, s.Recovered, s.Skipped)
	for _, kind := range slices.Sorted(maps.Keys(f.failed)) {
		fmt.Fprintf(out, "%6d  %-22s %s\n", f.failed[kind], kind, f.first[kind])
	}
}

// seeds returns the pages to begin with, and sets opt up to resolve their
// names.
func (cfg config) seeds(opt *dnscache.Options) (urls []string, stop func() error, err error) {
	if cfg.file != "" {
		b, err := os.ReadFile(cfg.file)
		return strings.Fields(string(b)), func() error { return nil }, err
	}
	if cfg.hosts < 10 || cfg.hosts > 1000 {
		return nil, nil, fmt.Errorf("-hosts %d: want 10 to 1000", cfg.hosts)
	}
	tenth := cfg.hosts / 10
	inet, err := loopnet.Start(&loopnet.Options{Pages: max(cfg.pages, 2), Hosts: map[loopnet.Fate]int{
		loopnet.Healthy: cfg.hosts - 2*tenth, loopnet.NXDomain: tenth,
		loopnet.Refused: tenth - tenth/2, loopnet.Closed: tenth / 2,
	}})
	if err != nil {
		return nil, nil, err
	}
	opt.Servers, opt.HostsFile = []string{inet.DNSAddr()}, os.DevNull
	for i := range 2 { // each host is on the list twice, and not in a row
		for _, host := range inet.Hosts() {
			urls = append(urls, host.Pages[i])
		}
	}
	return urls, inet.Close, nil
}
