package hostwisecolly

import (
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"slices"

	"github.com/gocolly/colly/v2"
)

// A chain is a request and its retries. Colly makes a new Request of each,
// and lets nothing pass from one to the next but what a page's links inherit,
// too, and the map of the headers.
type chain struct {
	tries int // that failed
	waits int // for a host that was down

	// Of the attempt under way.
	id      id
	late    bool           // other OnRequest callbacks come before Attach's
	key     any            // while Colly is to begin it
	own     http.Header    // while Colly is to begin it, so that no other map gets its address
	page    *colly.Request // while an http.Client has it
	url     *url.URL       // of the first hop, which the http.Client's copy of the request shares
	headers *http.Header   // likewise
	cookies []string       // the header's, before the cookie jar's are added
	method  string         // of the first hop
	hops    int            // round trips: more than one after a redirect
	counted bool           // among the Retries
	came    bool           // there is a response
}

// An id is a Request without keeping it: Colly numbers those of a collector.
type id struct {
	collector *colly.Collector
	n         uint32
}

// chains holds the requests that have not ended.
type chains struct {
	expected map[any]*chain      // given to Colly to be sent again
	underWay map[id]*chain       // begun
	sent     map[*url.URL]*chain // those of them that an http.Client has
}

func newChains() chains {
	return chains{map[any]*chain{}, map[id]*chain{}, map[*url.URL]*chain{}}
}

// maxUnknown bounds the retries that nothing is recognized by: with OnRequest
// callbacks before Attach's, which may change all there is.
const maxUnknown = 100

// key is what a retry is known by: the map of its headers, unless a callback
// may have replaced that.
func key(r *colly.Request, late bool) any {
	if late {
		return [3]any{r.Ctx, r.Method, r.URL.String()}
	}
	return reflect.ValueOf(*r.Headers).Pointer()
}

// expect says that r is about to be given to Colly once more. It reports
// false if that could not be told from another one.
func (h *Handle) expect(c *chain, r *colly.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := key(r, c.late)
	if c.late && (h.chains.expected[k] != nil || len(h.chains.expected) >= maxUnknown) {
		return false
	}
	*c = chain{tries: c.tries, waits: c.waits, late: c.late, key: k, own: *r.Headers, cookies: c.cookies}
	h.chains.expected[k] = c
	return true
}

// unexpect takes that back, and reports whether Colly had not yet begun.
func (h *Handle) unexpect(c *chain) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.key == nil || h.chains.expected[c.key] != c {
		return false
	}
	delete(h.chains.expected, c.key)
	return true
}

// adopt recognizes a retry, in the first of its callbacks.
func (h *Handle) adopt(i id, r *colly.Request, late bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.chains.expected) == 0 {
		return
	}
	k := key(r, late)
	c := h.chains.expected[k]
	if c == nil {
		return
	}
	delete(h.chains.expected, k)
	if c.cookies != nil && *r.Headers != nil && r.Headers.Get("Cookie") == "" {
		(*r.Headers)["Cookie"] = c.cookies // which Colly has removed, with those of the cookie jar
	}
	c.id, c.key, c.own, c.cookies = i, nil, nil, nil
	h.chains.underWay[i] = c
	runtime.AddCleanup(r, h.lost, i)
}

// began notes a request that is about to be sent.
func (h *Handle) began(i id, r *colly.Request, late bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chains.underWay[i]
	if c == nil {
		c = &chain{id: i}
		h.chains.underWay[i] = c
	}
	c.late, c.page, c.url, c.headers, c.cookies = late, r, r.URL, r.Headers, slices.Clone((*r.Headers)["Cookie"])
	h.chains.sent[c.url] = c
	h.countRetry(c)
}

// countRetry is called with mu held.
func (h *Handle) countRetry(c *chain) {
	if c.isRetry() && !c.counted {
		c.counted = true
		h.stats.Retries++
	}
}

func (c *chain) isRetry() bool { return c.tries+c.waits > 0 }

// tripped notes a round trip, and returns the page that it is for; nil if
// none is known.
func (h *Handle) tripped(req *http.Request) *colly.Request {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chains.sent[first.URL]
	if c == nil {
		return nil
	}
	c.hops++
	c.method = first.Method
	return c.page
}

// headersCame forgets what only an http.Client needs. After it Colly may lose
// the request without a word: that of a page in an unknown character set.
func (h *Handle) headersCame(i id, r *colly.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.chains.underWay[i]; c != nil {
		h.unsend(c)
		h.countRetry(c) // one from the cache
		runtime.AddCleanup(r, h.lost, i)
	}
}

// unsend is called with mu held.
func (h *Handle) unsend(c *chain) {
	if h.chains.sent[c.url] == c {
		delete(h.chains.sent, c.url)
	}
	c.page = nil
}

// arrived notes a page: what fails from now on is no request.
func (h *Handle) arrived(i id) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chains.underWay[i]
	if c == nil { // from the cache
		c = &chain{id: i}
		h.chains.underWay[i] = c
	}
	c.came = true
}

// hasArrived reports whether arrived was called.
func (h *Handle) hasArrived(i id) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chains.underWay[i]
	return c != nil && c.came
}

// take returns the chain of a request that has ended; nil if there is none.
func (h *Handle) take(i id) *chain {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.chains.underWay[i]
	if c != nil {
		delete(h.chains.underWay, i)
		h.unsend(c)
	}
	return c
}

// scraped is the last of the collector's callbacks for a page.
func (h *Handle) scraped(i id) {
	if c := h.take(i); c != nil && c.isRetry() {
		h.count(func(s *Stats) { s.Recovered++ })
	}
}

// lost is called when the garbage collector has a Request. If no callback was
// called with its end (an Async collector's, that one aborted), that is it.
func (h *Handle) lost(i id) {
	if c := h.take(i); c != nil && c.isRetry() {
		h.count(func(s *Stats) { s.GaveUp++ })
	}
}

// isLike reports whether r would be sent again as it was, by the adapter.
func (c *chain) isLike(r *colly.Request) bool { return c.hops > 0 && r.Method == c.method }
