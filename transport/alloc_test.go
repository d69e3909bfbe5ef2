package transport

import (
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"testing"
)

// What a Transport adds to the allocations of net/http: 10 a request over a
// kept-alive connection and 23 over a new one, when this was written.
func TestAllocs_AddedToNetHTTP(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector has sync.Pool forget things")
	}
	site := httptest.NewServer(page)
	defer site.Close()
	for _, tt := range []struct {
		name string
		base *http.Transport
		most float64
	}{
		{"kept alive", &http.Transport{}, 12},
		{"new connection", &http.Transport{DisableKeepAlives: true}, 25},
	} {
		tr, err := New(tt.base, &Options{Resolver: names{}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		stock := tt.base.Clone()
		defer stock.CloseIdleConnections()
		allocs := func(rt http.RoundTripper) float64 {
			return testing.AllocsPerRun(500, func() { fetch(t, rt, site.URL) })
		}
		a, b := allocs(stock), allocs(tr)
		t.Logf("%s: %v allocations, net/http %v", tt.name, b, a)
		if b-a > tt.most {
			t.Errorf("%s: %v allocations, net/http %v: %v more, want %v at most", tt.name, b, a, b-a, tt.most)
		}
	}
}
