package hostwisecolly_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/transport"
)

// A host that is down again whenever its turn comes is waited for Max times.
func TestRetry_WaitsNoMoreThanMaxTimes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		other := &http.Client{Transport: w.tr}
		w.c.OnRequest(func(*colly.Request) {
			for w.tr.HostDown("a.test:80") == nil {
				other.Get("http://a.test/") // refused
			}
		})
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 3, MaxDelay: 24 * time.Hour})
		w.c.Visit("http://a.test/")
		if s := w.h.Stats(); s.Failures[hostwise.HostDown] != 4 || s.Retries != 3 || s.GaveUp != 1 {
			t.Errorf("%+v, want 4 refusals of the breaker", s)
		}
	})
}

// The waits are half of the delay or more, at random, which doubles up to
// MaxDelay.
func TestRetry_BacksOff(t *testing.T) {
	inWorld(t, func(w *world) {
		const pages = 40
		var mu sync.Mutex
		at := map[string][]time.Time{}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			at[r.URL.Path] = append(at[r.URL.Path], time.Now())
			mu.Unlock()
			breaksOff(rw)
		})
		w.c.Async = true
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 4, Delay: 10 * time.Second, MaxDelay: 30 * time.Second})
		for i := range pages {
			w.c.Visit(fmt.Sprintf("http://a.test/%d", i))
		}
		w.c.Wait()
		for n, most := range []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 30 * time.Second} {
			waits := map[time.Duration]bool{}
			for path, times := range at {
				if len(times) != 5 {
					t.Fatalf("%s was asked for %d times, want 5", path, len(times))
				}
				d := times[n+1].Sub(times[n])
				if d < most/2 || d > most {
					t.Errorf("%s: wait %d was %v, want %v to %v", path, n+1, d, most/2, most)
				}
				waits[d] = true
			}
			if len(waits) < pages/2 {
				t.Errorf("wait %d of %d pages had %d lengths, want them at random", n+1, pages, len(waits))
			}
		}
	})
}

// A host that is down directly may be up for the proxy.
func TestSkipDeadHosts_LeavesProxiesAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.page()
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused)
		}
		w.h.SkipDeadHosts(nil)
		w.c.SetProxy("http://page.test")
		for range 3 {
			w.c.Visit("http://a.test/")
		}
		if s := w.h.Stats(); s.Skipped != 0 || s.Requests != 6 {
			t.Errorf("%+v, want nothing skipped", s)
		}
	})
}

// A robots.txt is not waited for longer than the HTTP client would.
func TestRetry_RobotsTxtWithinTheTimeout(t *testing.T) {
	inWorld(t, func(w *world) {
		site := &flaky{fails: func(string) int { return 1 }}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", site.ServeHTTP)
		w.c.IgnoreRobotsTxt = false
		w.c.SetRequestTimeout(4 * time.Second)
		w.h.Retry(&hostwisecolly.RetryOptions{Delay: 10 * time.Second})
		start := time.Now()
		err := w.c.Visit("http://a.test/")
		if d := time.Since(start); d != 0 || hostwise.KindOf(err) != hostwise.HTTPEOF || site.total() != 1 {
			t.Errorf("%v after %v and %d requests, want the server's hang-up at once", err, d, site.total())
		}
	})
}

func TestRetry_EndsWithTheContextOfAClone(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w.host("a.test", "192.0.2.1")
		w.c.Async = true
		w.h.Retry(&hostwisecolly.RetryOptions{Delay: time.Hour, MaxDelay: time.Hour})
		clone := w.c.Clone()
		clone.Context = ctx
		if err := w.h.AttachClone(clone); err != nil {
			t.Fatal(err)
		}
		clone.Visit("http://a.test/")
		time.Sleep(time.Second)
		cancel()
		start := time.Now()
		clone.Wait()
		if d := time.Since(start); d != 0 || w.h.Stats().GaveUp != 1 {
			t.Errorf("Wait took %v after the end, %+v", d, w.h.Stats())
		}
	})
}

type closing struct {
	*strings.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

func TestTransport_OfNothingClosesTheBody(t *testing.T) {
	body := &closing{Reader: strings.NewReader("body")}
	c := colly.NewCollector(hostwisecolly.Transport((*transport.Transport)(nil)))
	if err := c.Request("POST", "http://a.test/", body, nil, nil); err == nil || body.closed == 0 {
		t.Errorf("%v, the body was closed %d times", err, body.closed)
	}
}

// After Close no links are queued, and none are left out for want of room.
func TestPrefetchLinks_NothingAfterClose(t *testing.T) {
	inWorld(t, func(w *world) {
		w.page("http://a.test/", "http://b.test/", "http://c.test/")
		w.h.PrefetchLinks(&hostwisecolly.PrefetchOptions{Queue: 1})
		w.h.Close()
		w.c.Visit("http://page.test/")
		if s := w.h.Stats(); s.Responses != 1 || s.Prefetched != 0 || s.PrefetchDropped != 0 {
			t.Errorf("%+v, want the page and no names", s)
		}
	})
}
