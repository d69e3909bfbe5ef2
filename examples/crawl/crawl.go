package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocolly/colly/v2"
)

// A result is what came of a crawl.
type result struct {
	client  string
	fetched int
	failed  int
	lost    int                       // of these, pages of hosts that are fine
	unasked int                       // pages not asked for or given up when interrupted
	ttfb    map[string]time.Duration  // by page fetched: from the request handed to net/http to the response headers
	wasted  time.Duration             // time workers spent on requests to broken hosts that failed
	kinds   map[string]map[string]int // failures: what there was to fail on, and what the client said
	queries int64
	dials   int64
	wall    time.Duration
}

// A visit is a request under way.
type visit struct {
	page           string
	begin, headers time.Time
}

// A crawler drives one collector. Both clients are measured in the same
// place, Colly's own callbacks around its http.Client.
type crawler struct {
	ctx      context.Context
	cfg      *config
	world    *world
	client   *client
	progress *progress

	mu     sync.Mutex // guards what follows
	visits map[uint32]*visit
	pages  map[string]map[string]bool // visited, by host
	result result
}

func crawl(ctx context.Context, cfg *config, w *world, connect connector, stderr io.Writer) (*result, error) {
	var dials atomic.Int64
	c := colly.NewCollector(colly.Async(true), colly.StdlibContext(
		httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			ConnectStart: func(string, string) { dials.Add(1) },
		})))
	c.SetRequestTimeout(cfg.timeout)
	if err := c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: w.workers(cfg)}); err != nil {
		return nil, err
	}
	cl, err := connect(w, c)
	if err != nil {
		return nil, err
	}
	x := &crawler{
		ctx: ctx, cfg: cfg, world: w, client: cl,
		progress: newProgress(stderr, cl.name),
		visits:   make(map[uint32]*visit),
		pages:    make(map[string]map[string]bool),
		result:   result{client: cl.name, ttfb: make(map[string]time.Duration), kinds: make(map[string]map[string]int)},
	}
	c.OnRequest(x.onRequest)
	c.OnRequestHeaders(x.onRequestHeaders)
	c.OnResponseHeaders(x.onResponseHeaders)
	c.OnResponse(x.onResponse)
	c.OnError(x.onError)
	c.OnHTML("a[href]", x.onLink)

	begin := time.Now()
	for _, page := range w.start {
		if err = x.begin(c, page); err != nil {
			break
		}
	}
	c.Wait()
	x.finish(time.Since(begin))
	x.result.dials = dials.Load()
	return &x.result, errors.Join(err, cl.close())
}

// begin visits a page of the start list.
func (x *crawler) begin(c *colly.Collector, page string) error {
	u, err := url.Parse(page)
	if err != nil {
		return err
	}
	err = x.visit(c.Visit, u)
	if _, again := errors.AsType[*colly.AlreadyVisitedError](err); again {
		return nil
	}
	return err
}

// finish completes the result once nothing is under way.
func (x *crawler) finish(wall time.Duration) {
	x.progress.close()
	x.result.wall = wall
	x.result.queries = x.client.queries()
	// Colly tells nobody of a page whose character set it does not know.
	// Such a page came complete.
	for _, v := range x.visits {
		x.fetched(v)
	}
}

// visit asks for a page, unless that was done or its host has had its share.
func (x *crawler) visit(visit func(string) error, u *url.URL) error {
	u.Fragment = ""
	u.Path = cmp.Or(u.Path, "/")
	page := u.String()
	x.mu.Lock()
	seen := x.pages[u.Host]
	if seen == nil {
		seen = make(map[string]bool)
		x.pages[u.Host] = seen
	}
	skip := seen[page] || x.world.net == nil && len(seen) >= x.cfg.pages
	if !skip {
		seen[page] = true
	}
	x.mu.Unlock()
	if skip {
		return nil
	}
	x.progress.expect(1)
	err := visit(page)
	if err != nil {
		x.progress.expect(-1)
	}
	return err
}

// onLink follows the links that stay on the host.
func (x *crawler) onLink(e *colly.HTMLElement) {
	u, err := url.Parse(e.Request.AbsoluteURL(e.Attr("href")))
	if err != nil || u.Host != e.Request.URL.Host || u.Scheme != "http" && u.Scheme != "https" {
		return
	}
	x.visit(e.Request.Visit, u) // an error says that a redirect has led there before
}

func (x *crawler) onRequest(r *colly.Request) {
	if x.ctx.Err() != nil {
		x.mu.Lock()
		x.result.unasked++
		x.mu.Unlock()
		r.Abort()
	}
}

// onRequestHeaders runs when a worker has taken the request up.
func (x *crawler) onRequestHeaders(r *colly.Request) {
	if x.ctx.Err() != nil {
		r.Abort() // and onError counts it
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.visits[r.ID] = &visit{
		page:  r.URL.Hostname() + r.URL.RequestURI(), // ports differ from one internet to the next
		begin: time.Now(),
	}
}

func (x *crawler) onResponseHeaders(r *colly.Response) {
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.visits[r.Request.ID].headers = now
}

func (x *crawler) onResponse(r *colly.Response) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := x.visits[r.Request.ID]
	delete(x.visits, r.Request.ID)
	x.fetched(v)
	x.progress.done(true)
}

// fetched counts a page; x.mu is held, or no longer needed.
func (x *crawler) fetched(v *visit) {
	x.result.fetched++
	x.result.ttfb[v.page] = v.headers.Sub(v.begin)
}

func (x *crawler) onError(r *colly.Response, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := x.visits[r.Request.ID]
	if v == nil {
		return // fetched, but its HTML was not fit to read
	}
	delete(x.visits, r.Request.ID)
	if x.ctx.Err() != nil {
		x.result.unasked++
		return
	}
	x.progress.done(false)
	x.result.failed++
	where, ok := x.place(r.Request.URL)
	if ok {
		x.result.lost++
	} else {
		x.result.wasted += time.Since(v.begin)
	}
	kind := x.client.kind(err)
	if r.StatusCode != 0 {
		kind = fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
	}
	if x.result.kinds[where] == nil {
		x.result.kinds[where] = make(map[string]int)
	}
	x.result.kinds[where][kind]++
}

// place says under what a failure is reported, the fate of the host or else
// its name, and whether the host is known to be fine.
func (x *crawler) place(u *url.URL) (where string, ok bool) {
	if x.world.fates == nil {
		return u.Host, false
	}
	f := x.world.fates[u.Host]
	return string(f), f.OK()
}
