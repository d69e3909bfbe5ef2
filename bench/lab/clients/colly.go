package clients

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gocolly/colly/v2"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
)

// collyStock is Colly as it comes: its own client, the default transport.
func collyStock(c crawl.Config) (crawl.Client, error) {
	t := defaultTransport(c)
	return newTimedCollector(t, c, t.CloseIdleConnections), nil
}

// collyDNSCache is Colly with the recipe of rs/dnscache.
func collyDNSCache(c crawl.Config) (crawl.Client, error) {
	t, stop := dnsCacheTransport(c)
	return newTimedCollector(t, c, func() {
		stop()
		t.CloseIdleConnections()
	}), nil
}

// newTimedCollector gives a collector a transport and takes the time at it.
func newTimedCollector(rt http.RoundTripper, c crawl.Config, stop func()) *collector {
	x := newCollector(c, crawl.ClassifyStd, stop)
	x.colly.WithTransport(roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		start := time.Now()
		resp, err := rt.RoundTrip(req)
		if err == nil {
			x.headers.Store(req.URL.String(), responseHeaders{time.Since(start), resp.StatusCode})
		}
		return resp, err
	}))
	return x
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// collector is a crawl.Client made of a Colly collector. The lab's frontier
// takes the place of Colly's queue: each Fetch is one synchronous Visit.
type collector struct {
	colly    *colly.Collector
	classify func(error) crawl.Kind
	stop     func()

	// What Colly tells its callbacks, by URL; each URL is visited once.
	headers sync.Map // responseHeaders
	errors  sync.Map // error
}

type responseHeaders struct {
	ttfb   time.Duration
	status int
}

func newCollector(c crawl.Config, classify func(error) crawl.Kind, stop func()) *collector {
	x := &collector{colly: colly.NewCollector(colly.AllowURLRevisit()), classify: classify, stop: stop}
	x.colly.SetRequestTimeout(c.Timeout)
	x.colly.OnHTML("a[href]", func(e *colly.HTMLElement) { _ = e.Attr("href") })
	x.colly.OnError(func(r *colly.Response, err error) {
		if r != nil && r.Request != nil {
			x.errors.Store(r.Request.URL.String(), err)
		}
	})
	return x
}

func (x *collector) Fetch(_ context.Context, url string) crawl.Outcome {
	o := crawl.Outcome{Err: x.colly.Visit(url)}
	if v, ok := x.headers.LoadAndDelete(url); ok {
		h := v.(responseHeaders)
		o.TTFB, o.Status = h.ttfb, h.status
	}
	if v, ok := x.errors.LoadAndDelete(url); ok {
		o.Err = v.(error)
	}
	return o
}

func (x *collector) Classify(err error) crawl.Kind { return x.classify(err) }

func (x *collector) Close() { x.stop() }
