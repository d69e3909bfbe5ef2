package crawl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"time"
)

// Client is a program's way to fetch URLs.
type Client interface {
	// Fetch fetches a URL and reads the whole body.
	Fetch(ctx context.Context, url string) Outcome

	// Classify may use nothing but what the client tells all its users. It
	// must not look at the world.
	Classify(err error) Kind

	// Close ends all that the client started.
	Close()
}

// Outcome is what became of one URL.
type Outcome struct {
	TTFB   time.Duration // from the call to the response headers
	Status int
	Err    error
	Phases Phases // only when tracing, and not from every client
}

// Factory makes a client.
type Factory func(Config) (Client, error)

// Config is what every client gets.
type Config struct {
	Plan        *Plan
	PerHost     int           // requests to one host at a time
	Timeout     time.Duration // for a whole request
	Nameservers []string      // host:port, the same as in /etc/resolv.conf
	RootCAs     *x509.CertPool

	// Dispatched says how many URLs were handed out so far.
	Dispatched func() int
}

// BaseTransport is the stock transport that the clients share, so that what
// differs between two of them is only the thing under test: idle connections
// are not capped below what the crawl uses.
func (c Config) BaseTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = c.PerHost
	t.TLSClientConfig = &tls.Config{RootCAs: c.RootCAs}
	t.ForceAttemptHTTP2 = false
	return t
}

// HTTP makes a Client of a RoundTripper. When it is closed, idle connections
// are, and then stop is called if it is not nil.
func HTTP(rt http.RoundTripper, c Config, classify func(error) Kind, stop func()) Client {
	return &httpClient{
		client:   &http.Client{Transport: rt, Timeout: c.Timeout},
		classify: classify,
		stop:     stop,
		trace:    c.Plan.Trace,
	}
}

type httpClient struct {
	client   *http.Client
	classify func(error) Kind
	stop     func()
	trace    bool
}

func (h *httpClient) Fetch(ctx context.Context, url string) (o Outcome) {
	if h.trace {
		var t tracer
		ctx = t.with(ctx)
		defer func() { o.Phases = t.phases() }()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Outcome{Err: err}
	}
	start := time.Now()
	resp, err := h.client.Do(req)
	if err != nil {
		return Outcome{Err: err}
	}
	ttfb := time.Since(start)
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return Outcome{TTFB: ttfb, Status: resp.StatusCode, Err: err}
}

func (h *httpClient) Classify(err error) Kind { return h.classify(err) }

func (h *httpClient) Close() {
	h.client.CloseIdleConnections()
	if h.stop != nil {
		h.stop()
	}
}
