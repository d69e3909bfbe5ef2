package hostwise_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

// requests crawls through http.Client.
func (s *soak) requests(ctx context.Context) {
	r := s.rand("requests")
	var clients []*http.Client
	for _, tr := range s.transport {
		clients = append(clients, &http.Client{Transport: tr, Timeout: soakTimeout})
	}
	room := make(chan struct{}, 100)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-s.pace:
		case <-ctx.Done():
			return
		}
		host, c := s.healthy[r.IntN(len(s.healthy))], clients[r.IntN(len(clients))]
		switch hot := s.hot.Load(); {
		case r.IntN(20) == 0:
			host = s.broken[r.IntN(len(s.broken))]
		case r.IntN(10) == 0 && hot != nil: // often enough for its breaker
			host = *hot
		}
		p := visit{host: host, url: host.Pages[r.IntN(len(host.Pages))], client: c}
		switch r.IntN(10) {
		case 0:
			p.cancel = time.Duration(r.Int64N(int64(200 * time.Millisecond)))
		case 1:
			p.deadline = time.Millisecond + time.Duration(r.ExpFloat64()*float64(50*time.Millisecond))
		case 2:
			p.partly = true
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			s.visit(ctx, p)
		})
	}
}

// A visit is one request of http.Client.
type visit struct {
	host     loopnet.Host
	url      string
	client   *http.Client
	cancel   time.Duration // after which the caller has changed its mind; 0: never
	deadline time.Duration // 0: none
	partly   bool          // the caller closes the body before its end
}

func (s *soak) visit(soak context.Context, v visit) {
	if v.host.Fate.OK() {
		soak = context.Background() // which all have the time for
	}
	ctx, cancel := context.WithCancel(soak)
	defer cancel()
	p := s.ask(v.host, v.client.Transport.(*transport.Transport))
	impatient := func() bool { return false }
	switch {
	case v.cancel > 0:
		defer time.AfterFunc(v.cancel, cancel).Stop()
		impatient = func() bool { return ctx.Err() != nil }
	case v.deadline > 0:
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, v.deadline)
		defer stop()
		// The transport gives up shortly before.
		lead := min(max(10*time.Millisecond, v.deadline/100), v.deadline/2)
		impatient = func() bool { return time.Since(p.begin) >= v.deadline-lead }
	}
	err := fetch(ctx, v.client, v.url, &v)
	s.judge(p, err, impatient())
}

// fetch gets a page, and checks that it is the one asked for if v says what to
// expect.
func fetch(ctx context.Context, c *http.Client, url string, v *visit) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v != nil && v.partly {
		_, err = resp.Body.Read(make([]byte, 10))
		if err == io.EOF {
			err = nil
		}
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || v == nil {
		return err
	}
	return checkPage(v.host, resp.StatusCode, body)
}

// checkPage checks that a page is whole, and the host's.
func checkPage(h loopnet.Host, status int, body []byte) error {
	if status != http.StatusOK || !bytes.Contains(body, []byte("<title>"+h.Name+",")) || !bytes.HasSuffix(body, []byte("</html>\n")) {
		return fmt.Errorf("%s: status %d and %d bytes that are not its page: %.100q", h.Name, status, len(body), body)
	}
	return nil
}

// collectors crawls through Colly, with one collector after the other.
func (s *soak) collectors(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		s.collector(ctx, r)
	}
}

// collector visits some hosts with all their pages, and follows up each.
func (s *soak) collector(ctx context.Context, r *rand.Rand) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.IntN(4) == 0 {
		defer time.AfterFunc(time.Duration(r.Int64N(int64(2*time.Second))), cancel).Stop()
	}
	c := colly.NewCollector(colly.Async(true), colly.MaxDepth(2), colly.StdlibContext(own))
	tr := s.transport[r.IntN(2)]
	h, err := hostwisecolly.Attach(c, tr)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer h.Close()
	c.SetRequestTimeout(soakTimeout)
	c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: 2})

	pages := pending{s: s, ctx: own, over: tr, hosts: map[string]loopnet.Host{}, begun: map[string]page{}}
	c.OnRequest(func(r *colly.Request) {
		if !r.IsAbort() {
			select {
			case <-s.pace:
			case <-own.Done():
			}
			pages.begin(r.URL.String())
		}
	})
	c.OnResponse(func(r *colly.Response) {
		u := r.Request.URL
		pages.end(u.String(), checkPage(pages.hosts[u.Hostname()], r.StatusCode, r.Body))
	})
	c.OnHTML("a[href]", func(e *colly.HTMLElement) { e.Request.Visit(e.Attr("href")) })
	gaveUp := func(r *colly.Response, err error) { pages.end(r.Request.URL.String(), err) }
	retries := r.IntN(2) == 0
	if retries {
		h.Retry(&hostwisecolly.RetryOptions{Delay: 100 * time.Millisecond, GaveUp: gaveUp})
	} else {
		c.OnError(gaveUp)
	}
	if r.IntN(2) == 0 {
		h.SkipDeadHosts(func(r *colly.Request, down *hostwise.HostDownError) {
			pages.begin(r.URL.String())
			pages.end(r.URL.String(), down)
		})
	}
	if r.IntN(2) == 0 {
		h.PrefetchLinks(nil)
	}
	var urls []string
	for range 12 {
		host := s.healthy[r.IntN(len(s.healthy))]
		pages.hosts[host.Name] = host
		urls = append(urls, host.URL) // Colly visits it once
	}
	if r.IntN(4) == 0 {
		h.Prewarm(own, urls)
	}
	for _, u := range urls {
		c.Visit(u)
	}
	c.Wait()
	pages.finish()
}

// pending is the pages that a collector was asked for, each once.
type pending struct {
	s     *soak
	ctx   context.Context // the collector's
	over  *transport.Transport
	hosts map[string]loopnet.Host

	mu    sync.Mutex // protects begun
	begun map[string]page
}

// begin notes the first try at a page.
func (p *pending) begin(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.begun[url]; !ok {
		p.begun[url] = p.s.ask(p.host(url), p.over)
	}
}

// end notes the page, or its last failure.
func (p *pending) end(url string, err error) {
	p.mu.Lock()
	asked, ok := p.begun[url]
	delete(p.begun, url)
	p.mu.Unlock()
	if !ok {
		return // Colly has told of it before
	}
	p.s.judge(asked, err, p.ctx.Err() != nil)
}

func (p *pending) host(page string) loopnet.Host {
	u, err := url.Parse(page)
	if err != nil {
		panic(err)
	}
	return p.hosts[u.Hostname()]
}

// finish judges what nobody was told of.
func (p *pending) finish() {
	p.mu.Lock()
	left := p.begun
	p.begun = map[string]page{}
	p.mu.Unlock()
	for url, asked := range left {
		p.s.judge(asked, fmt.Errorf("%s: no callback was called", url), p.ctx.Err() != nil)
	}
}
