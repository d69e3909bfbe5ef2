package clients

import (
	"net"
	"net/http"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
)

// stock is http.Client as most programs use it: the default transport (100
// idle connections, 2 per host) and a total time-out.
func stock(c crawl.Config) (crawl.Client, error) {
	return crawl.HTTP(defaultTransport(c), c, crawl.ClassifyStd, nil), nil
}

// stockTuned is stock with idle connections sized for the crawl.
func stockTuned(c crawl.Config) (crawl.Client, error) {
	return crawl.HTTP(c.BaseTransport(), c, crawl.ClassifyStd, nil), nil
}

// stockBest is the best hand-tuning of the standard library alone.
func stockBest(c crawl.Config) (crawl.Client, error) {
	return crawl.HTTP(bestTransport(c), c, crawl.ClassifyStd, nil), nil
}

// defaultTransport is http.DefaultTransport but for the lab's certificates.
func defaultTransport(c crawl.Config) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	if c.RootCAs != nil {
		t.TLSClientConfig = c.BaseTransport().TLSClientConfig
	}
	return t
}

// bestTransport has idle connections sized for the crawl, and time-outs for
// the parts of a request.
func bestTransport(c crawl.Config) *http.Transport {
	t := c.BaseTransport()
	t.DialContext = (&net.Dialer{Timeout: 3 * time.Second, FallbackDelay: 250 * time.Millisecond}).DialContext
	t.ResponseHeaderTimeout = 5 * time.Second
	return t
}
