package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocolly/colly/v2"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

func TestClassifyHostwise(t *testing.T) {
	inURL := func(err error) error { return &url.Error{Op: "Get", URL: "http://a.test/", Err: err} }
	tests := []struct {
		err  error
		want crawl.Kind
	}{
		{nil, crawl.OK},
		{inURL(&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSNXDomain}), crawl.NXDomain},
		{inURL(&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSNoData}), crawl.NXDomain},
		{inURL(&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSServFail}), crawl.ServFail},
		{inURL(&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSTimeout}), crawl.DNSTimeout},
		{inURL(&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSBogus}), crawl.DNSOther},
		{inURL(&hostwise.ConnectError{Host: "a.test:80", Kind: hostwise.ConnectRefused}), crawl.Refused},
		{inURL(&hostwise.ConnectError{Host: "a.test:80", Kind: hostwise.ConnectTimeout}), crawl.ConnectTimeout},
		{inURL(&hostwise.RequestError{Host: "a.test:80", Kind: hostwise.HTTPHeaderTimeout}), crawl.HTTPTimeout},
		{inURL(&hostwise.HostDownError{Host: "a.test:80", Kind: hostwise.HostDown}), crawl.CircuitOpen},
		{inURL(&hostwise.ConnectError{Host: "a.test:80", Kind: hostwise.LocalFDs}), crawl.Other},
		{errors.New("not of hostwise"), crawl.Other},
	}
	for _, tt := range tests {
		if got := classifyHostwise(tt.err); got != tt.want {
			t.Errorf("classifyHostwise(%v): got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// answers is a transport that takes 30 ms and knows one host.
var answers = roundTripperFunc(func(req *http.Request) (*http.Response, error) {
	time.Sleep(30 * time.Millisecond)
	if req.URL.Host != "a.test" {
		return nil, &net.DNSError{Err: "no such host", Name: req.URL.Host, IsNotFound: true}
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "text/html")
	fmt.Fprint(rec, `<a href="/next">next</a>`)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
})

func TestCollector_BothWaysToTakeTheTimeAgree(t *testing.T) {
	byTransport := func(c crawl.Config) *collector {
		return newTimedCollector(answers, c, func() {})
	}
	byCallbacks := func(c crawl.Config) *collector {
		x := newCollector(c, crawl.ClassifyStd, func() {})
		x.colly.WithTransport(answers)
		x.timeWithCallbacks()
		x.colly.OnResponse(func(*colly.Response) { time.Sleep(time.Second) }) // is not counted
		return x
	}
	for name, collect := range map[string]func(crawl.Config) *collector{"transport": byTransport, "callbacks": byCallbacks} {
		synctest.Test(t, func(t *testing.T) {
			x := collect(crawl.Config{Plan: &crawl.Plan{}, Timeout: 10 * time.Second})
			want := crawl.Outcome{TTFB: 30 * time.Millisecond, Status: 200}
			for i := range 2 {
				if got := x.Fetch(t.Context(), fmt.Sprintf("http://a.test/p/%d", i)); got != want {
					t.Errorf("%s: got %+v, want %+v", name, got, want)
				}
			}
			got := x.Fetch(t.Context(), "http://b.test/p/1")
			if got.TTFB != 0 || x.Classify(got.Err) != crawl.NXDomain {
				t.Errorf("%s: unknown host: got %+v", name, got)
			}
		})
	}
}

func TestBreaker_OpensAfterSixFailures(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	dials := 0
	base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dials++
		return nil, refused
	}}
	b := &breakerTransport{base: base}
	for i := range 10 {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "http://a.test/", nil)
		_, err := b.RoundTrip(req)
		if got, want := isOpen(err), i >= 6; got != want {
			t.Errorf("request %d: breaker open: got %v, want %v: %v", i, got, want, err)
		}
	}
	if dials != 6 {
		t.Errorf("dials: got %d, want 6", dials)
	}
}

func TestFloor_NearestAddressThatLives(t *testing.T) {
	addr := func(ip string, t world.Treatment) world.Addr {
		return world.Addr{IP: netip.MustParseAddr(ip), Treatment: t}
	}
	const near, far = 10 * time.Millisecond, 20 * time.Millisecond
	tests := []struct {
		what string
		host world.Host
		want string
	}{
		{"one address", world.Host{V4: []world.Addr{addr("198.18.4.0", world.Deliver)}}, "198.18.4.0"},
		{"first A is dead", world.Host{V4: []world.Addr{addr("198.18.4.0", world.Drop), addr("198.18.4.1", world.Deliver)}}, "198.18.4.1"},
		{"IPv6 is nearer", world.Host{RTT6: near, RTT4: far, V4: []world.Addr{addr("198.18.4.0", world.Deliver)},
			V6: []world.Addr{addr("2001:db8:1000::1", world.Deliver)}}, "2001:db8:1000::1"},
		{"IPv6 is farther", world.Host{RTT6: far, RTT4: near, V4: []world.Addr{addr("198.18.4.0", world.Deliver)},
			V6: []world.Addr{addr("2001:db8:1000::1", world.Deliver)}}, "198.18.4.0"},
		{"IPv6 is a black hole", world.Host{RTT6: near, RTT4: far, V4: []world.Addr{addr("198.18.4.0", world.Deliver)},
			V6: []world.Addr{addr("2001:db8:1000::1", world.Drop)}}, "198.18.4.0"},
	}
	f := &floor{w: &world.World{Work: make([]int32, 10)}, dispatched: func() int { return 5 }}
	for _, tt := range tests {
		if got := f.nearest(&tt.host); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.what, got, tt.want)
		}
	}
	moved := addr("198.18.4.7", world.Deliver)
	h := &world.Host{V4: []world.Addr{addr("198.18.4.0", world.Deliver)}, Moved: &moved}
	for share, want := range map[float64]string{0.5: "198.18.4.7", 0.6: "198.18.4.0"} {
		f.w.Scenario.MovedAt = share
		if got := f.nearest(h); got != want {
			t.Errorf("host that moves after %v of the URLs, of which half are dispatched: got %s, want %s", share, got, want)
		}
	}
}
