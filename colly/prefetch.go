package hostwisecolly

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gocolly/colly/v2"
)

// prewarmers is the number of names that Prewarm asks for at a time.
const prewarmers = 64

// A Prewarmed says what became of one name.
type Prewarmed struct {
	Host    string // or, of a URL that cannot be parsed, the URL
	Addrs   int    // that the name has
	Elapsed time.Duration
	Err     error // why it has none; its hostwise.KindOf is BadURL for a bad URL
}

var errProxied = errors.New("hostwisecolly: not resolved: requests go through a proxy, which does that itself")

// Prewarm resolves the names in urls, at most 64 at a time and each once, so
// that the first requests to them find the answers. It makes no connection.
// It returns a result for each distinct name in the order of their first
// appearance, when all are done or ctx has ended. Names whose requests go
// through a proxy are not resolved, which Err says.
func (h *Handle) Prewarm(ctx context.Context, urls []string) []Prewarmed {
	seen := map[string]int{} // the name's place in results
	var results []Prewarmed
	for _, s := range urls {
		p := Prewarmed{Host: s}
		u, err := url.Parse(s)
		switch {
		case err != nil:
			p.Err = err
		case u.Hostname() == "":
			p.Err = &url.Error{Op: "parse", URL: s, Err: colly.ErrMissingURL}
		default:
			p.Host = strings.ToLower(u.Hostname())
			if u.Scheme = cmp.Or(u.Scheme, "http"); !h.isDirect(u) {
				p.Err = errProxied
			}
		}
		if i, ok := seen[p.Host]; !ok {
			seen[p.Host] = len(results)
			results = append(results, p)
		} else if results[i].Err == errProxied {
			results[i] = p // of another scheme, which may have no proxy
		}
	}
	next := make(chan *Prewarmed)
	var wg sync.WaitGroup
	for range min(prewarmers, len(results)) {
		wg.Go(func() {
			for p := range next {
				begin := time.Now()
				addrs, err := h.transport.Lookup(ctx, p.Host)
				p.Addrs, p.Err, p.Elapsed = len(addrs), err, time.Since(begin)
			}
		})
	}
	for i := range results {
		if results[i].Err == nil {
			next <- &results[i]
		}
	}
	close(next)
	wg.Wait()
	return results
}

// PrefetchOptions configures PrefetchLinks. A nil *PrefetchOptions and every
// zero field mean the documented default.
type PrefetchOptions struct {
	Selector string // of the elements whose href is a link. Default: a[href]
	Workers  int    // names asked for at a time. Default: 16
	Queue    int    // names that wait for that; more are left out. Default: 4,096
}

// PrefetchLinks has the names in the links of each page resolved in the
// background, so that the answers are there when the links are visited: DNS
// only, no host is bothered. Names outside of the collector's AllowedDomains,
// and links deeper than its MaxDepth, are left out, and so is everything when
// there is a proxy, which resolves names itself. It ends with the collector's
// Context and with Close. It is to be called once, before the OnHTML callbacks
// that follow links: the first links of a page are visited before their names
// are there, the others after. Colly's OnHTMLDetach ends it, too, when called
// with the same selector.
func (h *Handle) PrefetchLinks(o *PrefetchOptions) {
	l := &links{h: h, seen: map[string]bool{}}
	if o != nil {
		l.o = *o
	}
	l.o.Selector = cmp.Or(l.o.Selector, "a[href]")
	l.o.Workers = cmp.Or(max(l.o.Workers, 0), 16)
	l.o.Queue = cmp.Or(max(l.o.Queue, 0), 4096)
	h.mu.Lock()
	h.links = l
	h.mu.Unlock()
	l.of(h.collector)
}

// of takes the links of c's pages.
func (l *links) of(c *colly.Collector) {
	c.OnHTML(l.o.Selector, func(e *colly.HTMLElement) {
		if c.MaxDepth > 0 && e.Request.Depth >= c.MaxDepth {
			return
		}
		u, err := url.Parse(e.Request.AbsoluteURL(e.Attr("href")))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == e.Request.URL.Hostname() || !allowed(c, u.Hostname()) || !l.h.isDirect(u) {
			return
		}
		l.add(c.Context, u.Hostname())
	})
}

// allowed is Colly's own check of a domain.
func allowed(c *colly.Collector, host string) bool {
	return !slices.Contains(c.DisallowedDomains, host) && (len(c.AllowedDomains) == 0 || slices.Contains(c.AllowedDomains, host))
}

// links are the names that PrefetchLinks has to resolve.
type links struct {
	h *Handle
	o PrefetchOptions

	mu      sync.Mutex // protects what follows
	queue   []link
	workers int
	seen    map[string]bool // of the last maxSeen names: asking again is cheap, the answer is cached
}

type link struct {
	ctx  context.Context // of the collector, for as long as the name waits
	host string
}

const maxSeen = 8192

// add puts a name into the queue.
func (l *links) add(ctx context.Context, host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[host] || l.h.life.Err() != nil {
		return
	}
	if len(l.queue) >= l.o.Queue {
		l.h.count(func(s *Stats) { s.PrefetchDropped++ })
		return
	}
	if len(l.seen) >= maxSeen {
		clear(l.seen)
	}
	l.seen[host] = true
	l.queue = append(l.queue, link{ctx, host})
	if l.workers < l.o.Workers && l.h.start(l.work) {
		l.workers++
	}
}

// work resolves names until there are none left.
func (l *links) work() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.workers--
			l.mu.Unlock()
			return
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		if next.ctx.Err() == nil && l.h.life.Err() == nil {
			l.h.prefetch(next)
		}
	}
}

func (h *Handle) prefetch(next link) {
	ctx, cancel := context.WithCancel(next.ctx)
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	h.transport.Lookup(ctx, next.host) // a failure is the page's to report
	h.count(func(s *Stats) { s.Prefetched++ })
}
