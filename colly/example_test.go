package hostwisecolly_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/transport"
)

func ExampleAttach() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a page") }))
	defer site.Close()
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	c := colly.NewCollector()
	h, err := hostwisecolly.Attach(c, t)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.OnResponse(func(r *colly.Response) { fmt.Println(string(r.Body)) })
	h.OnFailure(func(f hostwisecolly.Failure) { fmt.Println(f.Kind) })

	c.Visit(site.URL)
	c.Visit("http://no-such-name.invalid/")
	// Output:
	// a page
	// dns_nxdomain
}

func ExampleTransport() {
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	c := colly.NewCollector(hostwisecolly.Transport(t, func(h *hostwisecolly.Handle) { h.Retry(nil) }))
	fmt.Println(hostwise.KindOf(c.Visit("http://no-such-name.invalid/")))
	// Output: dns_nxdomain
}

func ExampleHandle_Retry() {
	var asked atomic.Int64
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler) // hangs up
		}
		fmt.Fprint(w, "a page")
	}))
	defer site.Close()
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	c := colly.NewCollector(colly.Async(true))
	h, err := hostwisecolly.Attach(c, t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	h.Retry(&hostwisecolly.RetryOptions{
		Delay:  10 * time.Millisecond,
		GaveUp: func(r *colly.Response, err error) { fmt.Println("gave up:", hostwisecolly.Kind(r, err)) },
	})
	c.OnError(func(r *colly.Response, err error) { fmt.Println("attempt failed:", hostwisecolly.Kind(r, err)) })
	c.OnResponse(func(r *colly.Response) { fmt.Println(string(r.Body)) })

	c.Visit(site.URL)
	c.Wait()
	c.Visit("http://no-such-name.invalid/") // may not pass
	c.Wait()
	// Output:
	// attempt failed: http_eof
	// a page
	// attempt failed: dns_nxdomain
	// gave up: dns_nxdomain
}

func ExampleHandle_SkipDeadHosts() {
	site := httptest.NewServer(nil)
	site.Close() // refuses connections from now on
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	c := colly.NewCollector()
	h, err := hostwisecolly.Attach(c, t)
	if err != nil {
		fmt.Println(err)
		return
	}
	h.SkipDeadHosts(func(r *colly.Request, down *hostwise.HostDownError) {
		fmt.Println(r.URL.Path, "skipped after", down.Failures, "failures, last:", hostwise.KindOf(down.Last))
	})
	for i := range 5 {
		c.Visit(fmt.Sprintf("%s/%d", site.URL, i))
	}
	// Output:
	// /3 skipped after 3 failures, last: connect_refused
	// /4 skipped after 3 failures, last: connect_refused
}

func ExampleHandle_Prewarm() {
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	h, err := hostwisecolly.Attach(colly.NewCollector(), t)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range h.Prewarm(context.Background(), []string{"http://127.0.0.1/a", "http://127.0.0.1/b", "http://no-such-name.invalid/"}) {
		fmt.Println(p.Host, p.Addrs, p.Err == nil)
	}
	// Output:
	// 127.0.0.1 1 true
	// no-such-name.invalid 0 false
}

func ExampleKind() {
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	c := colly.NewCollector(colly.AllowedDomains("no-such-name.invalid"), hostwisecolly.Transport(t))
	fmt.Println(hostwisecolly.Kind(nil, c.Visit("http://example.com/")))
	fmt.Println(hostwisecolly.Kind(nil, c.Visit("http://no-such-name.invalid/")))
	fmt.Println(hostwisecolly.Kind(nil, c.Visit("http://no-such-name.invalid/")))
	// Output:
	// colly_forbidden_domain
	// dns_nxdomain
	// colly_already_visited
}
