package transport

import (
	"io"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/internal/simnet"
)

func TestPools_AHostIsInOneOnly(t *testing.T) {
	p := newPools(&http.Transport{}, 200)
	p.most = 2
	first := p.enter("a:80")
	if p.enter("b:80") != first {
		t.Error("there is room for two hosts, and the second is in another pool")
	}
	first.leave("b:80")
	second := p.enter("b:80") // for the third time that a host has come
	if second == first {
		t.Fatal("three hosts came to a pool for two")
	}
	if p.enter("a:80") != first {
		t.Error("the second request to a host is in another pool than the first")
	}
	first.enter("a:80") // a dial
	first.leave("a:80")
	first.leave("a:80")
	if len(p.old) != 1 || p.enter("a:80") != first {
		t.Error("the pool was left while there was a connection to the host")
	}
	first.leave("a:80")
	first.leave("a:80")
	if len(p.old) != 0 {
		t.Error("a pool without hosts is kept")
	}
	if p.enter("a:80") != second {
		t.Error("a host that has left its pool comes to another than the present one")
	}
	second.leave("a:80")
	second.leave("b:80")
	if len(second.hosts) != 0 {
		t.Errorf("%d hosts left, want none", len(second.hosts))
	}
}

func TestPools_Size(t *testing.T) {
	for _, tt := range []struct{ maxConns, want int }{{1, 4096}, {200, 4096}, {1000, 8000}, {1_000_000, 32768}, {0, 32768}} {
		if got := newPools(&http.Transport{}, tt.maxConns).most; got != tt.want {
			t.Errorf("%d connections: %d hosts, want %d", tt.maxConns, got, tt.want)
		}
	}
}

// Whatever becomes of the pools, a host has as many connections as it may
// have, idle ones are used and closed, and none is left after Close.
func TestPools_BoundsHoldFromOneToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(1)
		addr := netip.MustParseAddr("192.0.2.1")
		listener, err := network.Listen("192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(10 * time.Second)
			}
		})}
		go server.Serve(listener)
		defer server.Close()
		hosts := names{}
		for _, host := range []string{"a.test", "b.test", "c.test", "d.test"} {
			hosts[host] = []netip.Addr{addr}
		}
		tr, err := New(&http.Transport{DialContext: network.DialContext}, &Options{Resolver: hosts, MaxConnsPerHost: 2})
		if err != nil {
			t.Fatal(err)
		}
		tr.pools.most = 1
		dials := func() int { return network.Stats().Hosts[addr].Dials }
		fetch := func(url string) {
			req, err := http.NewRequest("GET", url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		get := func(url string) {
			fetch(url)
			synctest.Wait() // until the connection is idle
		}

		start := time.Now()
		go fetch("http://a.test/slow")
		go fetch("http://a.test/slow")
		time.Sleep(time.Second)
		get("http://b.test/")
		get("http://c.test/")
		if got := dials(); got != 4 {
			t.Errorf("%d dials, want 4: two to one host, one each to the others", got)
		}
		get("http://a.test/")
		if took := time.Since(start); took != 10*time.Second || dials() != 4 {
			t.Errorf("a third request to a host with two connections ends after %v and %d dials, want 10s and 4", took, dials())
		}
		get("http://c.test/")
		if got := dials(); got != 4 {
			t.Errorf("%d dials: the idle connection was not used", got)
		}
		// b's went as c came, and with the next host those of a and c will go.
		if got := tr.Stats().Conns; got != 3 {
			t.Errorf("%d connections, want those of a and c", got)
		}
		get("http://d.test/")
		if got := tr.Stats().Conns; got != 1 {
			t.Errorf("%d connections, want that of d", got)
		}
		if len(tr.pools.old) != 0 {
			t.Errorf("%d old pools, want none", len(tr.pools.old))
		}

		go fetch("http://a.test/slow")
		time.Sleep(time.Second)
		get("http://b.test/")
		go fetch("http://a.test/slow")
		time.Sleep(9 * time.Second)
		synctest.Wait() // one of them is idle, in an old pool
		if got := tr.Stats().Conns; got != 3 {
			t.Errorf("%d connections, want two of a and that of b", got)
		}
		tr.CloseIdleConnections()
		if got := tr.Stats().Conns; got != 1 {
			t.Errorf("%d connections after CloseIdleConnections, want the one in use", got)
		}
		tr.Close()
		time.Sleep(time.Minute)
		if got := tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections left after Close", got)
		}
	})
}
