package clients

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/sony/gobreaker/v2"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
)

// stockBreaker is what a team writes by hand today: stockBest and one
// sony/gobreaker per host, with gobreaker's defaults (open after 6 failures in
// a row, for 60 s).
func stockBreaker(c crawl.Config) (crawl.Client, error) {
	return crawl.HTTP(&breakerTransport{base: bestTransport(c)}, c, func(err error) crawl.Kind {
		if isOpen(err) {
			return crawl.CircuitOpen
		}
		return crawl.ClassifyStd(err)
	}, nil), nil
}

type breakerTransport struct {
	base   *http.Transport
	byHost sync.Map // *gobreaker.CircuitBreaker[*http.Response]
}

func (t *breakerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	v, ok := t.byHost.Load(host)
	if !ok {
		v, _ = t.byHost.LoadOrStore(host, gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{Name: host}))
	}
	resp, err := v.(*gobreaker.CircuitBreaker[*http.Response]).Execute(func() (*http.Response, error) {
		return t.base.RoundTrip(req)
	})
	if isOpen(err) {
		return nil, fmt.Errorf("%s: %w", host, err)
	}
	return resp, err
}

func (t *breakerTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }

func isOpen(err error) bool {
	return errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}
