package transport

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime/debug"
	"slices"
	"testing"
)

func withRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// WithRaceDetector is for the tests from outside.
func WithRaceDetector() bool { return withRaceDetector() }

// What a Transport adds to the allocations of net/http: 10 a request over a
// kept-alive connection and 19 over a new one, by address or by a cached name,
// when this was written.
func TestAllocs_AddedToNetHTTP(t *testing.T) {
	if withRaceDetector() {
		t.Skip("the race detector has sync.Pool forget things")
	}
	site := httptest.NewServer(page)
	defer site.Close()
	_, port, err := net.SplitHostPort(site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := New(&http.Transport{}, &Options{Resolver: names{}})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	closing := cold(t)
	for _, tt := range []struct {
		name      string
		keepAlive bool
		tr        *Transport
		host      string
		most      float64
	}{
		{"kept alive", true, kept, "127.0.0.1", 11},
		{"new connection to an address", false, closing, "127.0.0.1", 19},
		{"new connection to a cached name", false, closing, "a.test", 19},
	} {
		stock := &http.Transport{DisableKeepAlives: !tt.keepAlive}
		defer stock.CloseIdleConnections()
		allocs := func(rt http.RoundTripper, host string) float64 {
			u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
			return testing.AllocsPerRun(500, func() { fetch(t, rt, u.String()) })
		}
		a, b := allocs(stock, "127.0.0.1"), allocs(tt.tr, tt.host)
		t.Logf("%s: %v allocations, net/http %v", tt.name, b, a)
		if b-a > tt.most {
			t.Errorf("%s: %v allocations, net/http %v: %v more, want %v at most", tt.name, b, a, b-a, tt.most)
		}
	}
}
