package hostwisecolly_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gocolly/colly/v2/queue"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// A flaky site answers the requests for a path that have their turn, and
// hangs up on the others.
type flaky struct {
	fails func(path string) int // so many, before the first answer
	html  string                // of "/"

	mu       sync.Mutex // protects what follows
	attempts map[string]int
	bodies   []string
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	if f.attempts == nil {
		f.attempts = map[string]int{}
	}
	f.attempts[r.URL.Path]++
	n := f.attempts[r.URL.Path]
	f.bodies = append(f.bodies, string(body))
	f.mu.Unlock()
	if n <= f.fails(r.URL.Path) {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Connection", "close") // or net/http itself repeats what fails on a connection used before
	w.Header().Set("Content-Type", "text/html")
	if r.URL.Path == "/" {
		io.WriteString(w, f.html)
	}
}

func (f *flaky) total() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.attempts {
		n += k
	}
	return n
}

// accounted checks that each attempt is in the books, those of Colly and
// those of the wire.
func (w *world) accounted(served int) {
	w.t.Helper()
	s := w.h.Stats()
	var failures uint64
	for _, n := range s.Failures {
		failures += n
	}
	if s.Requests != s.Responses+failures || s.Requests != w.tr.Stats().Requests {
		w.t.Errorf("%d requests, %d of them at the transport; %d responses and %d failures", s.Requests, w.tr.Stats().Requests, s.Responses, failures)
	}
	if got := s.Requests - s.Failures[hostwise.HostDown]; got != uint64(served) {
		w.t.Errorf("%d requests were tried, the servers have seen %d", got, served)
	}
	if n := w.h.Held(); n != 0 {
		w.t.Errorf("%d requests are remembered after the end", n)
	}
}

// Three flaky pages that are linked from one, and so share its Ctx.
func TestRetry_ThreeFlakyPages(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails int
		o     hostwisecolly.RetryOptions
		run   func(w *world)
	}{
		{"sync", 2, hostwisecolly.RetryOptions{Max: 2}, func(w *world) { w.c.Visit("http://a.test/") }},
		{"async", 1, hostwisecolly.RetryOptions{Max: 2}, func(w *world) { w.c.Async = true; w.c.Visit("http://a.test/"); w.c.Wait() }},
		// Here the host fails six times in a row, which trips its breaker.
		{"async, to the breaker", 2, hostwisecolly.RetryOptions{Max: 2, MaxDelay: 3 * time.Minute}, func(w *world) { w.c.Async = true; w.c.Visit("http://a.test/"); w.c.Wait() }},
		{"queue", 2, hostwisecolly.RetryOptions{Max: 2}, func(w *world) {
			q, err := queue.New(2, nil)
			if err != nil {
				w.t.Fatal(err)
			}
			q.AddURL("http://a.test/")
			if err := q.Run(w.c); err != nil {
				w.t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				site := &flaky{html: `<a href="/1">1</a><a href="/2">2</a><a href="/3">3</a>`, fails: func(path string) int {
					if path == "/" {
						return 0
					}
					return tt.fails
				}}
				w.host("a.test", "192.0.2.1")
				w.net.SetLink(netip.MustParseAddr("192.0.2.1"), simnet.Link{RTT: rtt})
				w.serve("192.0.2.1:80", site.ServeHTTP)
				tt.o.GaveUp = func(r *colly.Response, err error) { t.Errorf("%s: %v", r.Request.URL, err) }
				w.h.Retry(&tt.o)
				var mu sync.Mutex
				var pages []string
				failures := 0
				w.c.OnHTML("a[href]", func(e *colly.HTMLElement) { e.Request.Visit(e.Attr("href")) })
				w.c.OnResponse(func(r *colly.Response) { mu.Lock(); defer mu.Unlock(); pages = append(pages, r.Request.URL.Path) })
				w.c.OnError(func(*colly.Response, error) { mu.Lock(); defer mu.Unlock(); failures++ })
				tt.run(w)
				slices.Sort(pages)
				if got, want := strings.Join(pages, " "), "/ /1 /2 /3"; got != want {
					t.Errorf("pages %s, want %s", got, want)
				}
				s := w.h.Stats()
				if s.Recovered != 3 || s.GaveUp != 0 || s.Retries != uint64(failures) {
					t.Errorf("%+v, want 3 pages recovered, and a retry for each of the %d failures that OnError saw", s, failures)
				}
				for _, path := range []string{"/1", "/2", "/3"} {
					if got := site.attempts[path]; got != tt.fails+1 {
						t.Errorf("%s was asked for %d times, want %d", path, got, tt.fails+1)
					}
				}
				w.accounted(site.total())
			})
		})
	}
}

func TestRetry_NXDomainIsAskedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		gaveUp := 0
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 5, GaveUp: func(*colly.Response, error) { gaveUp++ }})
		start := time.Now()
		w.fails("http://gone.test/", hostwise.DNSNXDomain)
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v", d)
		}
		if a, aaaa := w.dns.Count("gone.test", dns.TypeA), w.dns.Count("gone.test", dns.TypeAAAA); a > 1 || aaaa != 1 {
			t.Errorf("%d and %d queries, want one of each type at the most", a, aaaa)
		}
		if s := w.h.Stats(); s.Requests != 1 || s.Retries != 0 || s.GaveUp != 1 || gaveUp != 1 {
			t.Errorf("%+v, want one request", s)
		}
	})
}

func TestRetry_QueueLosesNothing(t *testing.T) {
	const urls, hosts, share = 1000, 100, 20 // one page of 20 fails at first
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			inWorld(t, func(w *world) {
				q, err := queue.New(16, nil)
				if err != nil {
					t.Fatal(err)
				}
				site := &flaky{fails: func(path string) int {
					var i int
					fmt.Sscanf(path, "/%d", &i)
					if (i+i/hosts)%share != 0 { // of each host one at the most
						return 0
					}
					return 1 + i%2 // once or twice
				}}
				for i := range hosts {
					addr := fmt.Sprintf("192.0.2.%d", 100+i)
					w.host(fmt.Sprintf("h%d.test", i), addr)
					w.serve(addr+":80", site.ServeHTTP)
				}
				for i := range urls {
					q.AddURL(fmt.Sprintf("http://h%d.test/%d", i%hosts, i))
				}
				w.c.Async = async
				w.h.Retry(nil)
				var pages, failures atomic.Int64
				w.c.OnResponse(func(*colly.Response) { pages.Add(1) })
				w.c.OnError(func(*colly.Response, error) { failures.Add(1) })
				start := time.Now()
				if err := q.Run(w.c); err != nil {
					t.Error(err)
				}
				w.c.Wait()
				s := w.h.Stats()
				t.Logf("%d URLs: %d pages, %d lost; %d requests: %d responses, %v, %d retries, %d recovered, in %v",
					urls, pages.Load(), urls-pages.Load(), s.Requests, s.Responses, s.Failures, s.Retries, s.Recovered, time.Since(start).Round(ms))
				if pages.Load() != urls || s.Responses != urls || s.GaveUp != 0 || s.Recovered != urls/share {
					t.Errorf("%d pages, %+v, want all %d URLs, %d of them recovered", pages.Load(), s, urls, urls/share)
				}
				if want := uint64(urls / share * 3 / 2); s.Retries != want || failures.Load() != int64(want) {
					t.Errorf("%d retries of %d failures, want %d", s.Retries, failures.Load(), want)
				}
				w.accounted(site.total())
			})
		})
	}
}

// The slot of a limit rule is free while a retry waits, and Wait waits.
func TestRetry_WaitsOutsideOfTheLimits(t *testing.T) {
	inWorld(t, func(w *world) {
		site := &flaky{fails: func(path string) int {
			if path == "/flaky" {
				return 1
			}
			return 0
		}}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", site.ServeHTTP)
		w.c.Async = true
		w.c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: 1})
		w.h.Retry(&hostwisecolly.RetryOptions{Delay: 20 * time.Second})
		start := time.Now()
		var mu sync.Mutex
		at := map[string]time.Duration{}
		w.c.OnResponse(func(r *colly.Response) { mu.Lock(); defer mu.Unlock(); at[r.Request.URL.Path] = time.Since(start) })
		w.c.Visit("http://a.test/flaky")
		time.Sleep(time.Second)
		w.c.Visit("http://a.test/other")
		w.c.Wait()
		if at["/other"] != time.Second {
			t.Errorf("the other page came after %v, want 1s", at["/other"])
		}
		if d := at["/flaky"]; d < 10*time.Second || d > 20*time.Second {
			t.Errorf("the retry came after %v, want 10s to 20s", d)
		}
	})
}

// A host that is down is left alone until its cool-down ends, and such a wait
// is no attempt.
func TestRetry_RespectsRetryAt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		addr := netip.MustParseAddr("192.0.2.1")
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused)
		}
		start := time.Now()
		down := w.tr.HostDown("A.test:80")
		if down == nil {
			t.Fatal("the host is not down")
		}
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {})
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 1})
		dials := w.net.Stats().Hosts[addr].Dials
		var got time.Duration
		w.c.OnResponse(func(*colly.Response) { got = time.Since(start) })
		w.c.Visit("http://a.test/")
		if cool := down.RetryAt.Sub(start); got < cool || got > cool+time.Second {
			t.Errorf("fetched after %v, want %v and a second more at the most", got, cool)
		}
		if n := w.net.Stats().Hosts[addr].Dials - dials; n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

// Of those who wait for a host one finds out that it is back. The others wait
// for that, not for the end of the probe's time.
func TestRetry_OneProbeForAllWhoWait(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.net.SetLink(netip.MustParseAddr("192.0.2.1"), simnet.Link{RTT: rtt})
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused)
		}
		retryAt := w.tr.HostDown("a.test:80").RetryAt
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {})
		w.c.Async = true
		w.h.Retry(nil)
		var pages atomic.Int64
		w.c.OnResponse(func(*colly.Response) { pages.Add(1) })
		for i := range 20 {
			w.c.Visit(fmt.Sprintf("http://a.test/%d", i))
		}
		w.c.Wait()
		if d := time.Since(retryAt); pages.Load() != 20 || d > 5*time.Second {
			t.Errorf("%d pages of 20, the last %v after the cool-down", pages.Load(), d)
		}
	})
}

func TestRetry_NoLongerThanMaxDelay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused)
		}
		w.h.Retry(&hostwisecolly.RetryOptions{MaxDelay: 10 * time.Second})
		start := time.Now()
		w.fails("http://a.test/", hostwise.HostDown)
		if d := time.Since(start); d != 0 {
			t.Errorf("a host that is down for 30 s was waited for %v", d)
		}
	})
}

func TestRetry_EndsWithTheContext(t *testing.T) {
	for name, stop := range map[string]func(w *world, cancel func()){
		"context": func(_ *world, cancel func()) { cancel() },
		"Close":   func(w *world, _ func()) { w.h.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				w.c.Context = ctx
				w.c.Async = true
				w.host("a.test", "192.0.2.1")
				var last error
				w.h.Retry(&hostwisecolly.RetryOptions{Delay: time.Minute, GaveUp: func(_ *colly.Response, err error) { last = err }})
				w.c.Visit("http://a.test/")
				time.Sleep(time.Second)
				stop(w, cancel)
				start := time.Now()
				w.c.Wait()
				if d := time.Since(start); d != 0 {
					t.Errorf("Wait took %v after the end", d)
				}
				if hostwise.KindOf(last) != hostwise.ConnectRefused {
					t.Errorf("GaveUp got %v, want the refusal", last)
				}
				if s := w.h.Stats(); s.Requests != 1 || s.GaveUp != 1 {
					t.Errorf("%+v, want one request", s)
				}
			})
		})
	}
}

// A POST that the server may have seen is not repeated; one that it cannot
// have seen is, with its body.
func TestRetry_Post(t *testing.T) {
	inWorld(t, func(w *world) {
		seen := &flaky{fails: func(string) int { return 1 }}
		w.host("seen.test", "192.0.2.1")
		w.serve("192.0.2.1:80", seen.ServeHTTP)
		late := &flaky{fails: func(string) int { return 0 }}
		w.host("late.test", "192.0.2.2")
		w.h.Retry(nil)
		if err := w.c.Post("http://seen.test/", map[string]string{"k": "v"}); hostwise.KindOf(err) != hostwise.HTTPEOF || seen.total() != 1 {
			t.Errorf("%v after %d attempts, want the server's hang-up after one", err, seen.total())
		}
		w.net.SetLink(netip.MustParseAddr("192.0.2.2"), simnet.Link{Fault: simnet.Refuse})
		time.AfterFunc(200*ms, func() {
			w.net.SetLink(netip.MustParseAddr("192.0.2.2"), simnet.Link{})
			w.serve("192.0.2.2:80", late.ServeHTTP)
		})
		w.c.Post("http://late.test/", map[string]string{"k": "v"})
		if !slices.Equal(late.bodies, []string{"k=v"}) {
			t.Errorf("the server got %q, want the form once", late.bodies)
		}
	})
}

// A site that redirects each time to another URL, whose body breaks off, is
// tried no more often than any other.
func TestRetry_CountsAcrossRedirects(t *testing.T) {
	inWorld(t, func(w *world) {
		var mu sync.Mutex
		used := map[string]bool{"/": true}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			again := used[r.URL.Path]
			used[r.URL.Path] = true
			next := fmt.Sprintf("/%d", len(used))
			mu.Unlock()
			if again {
				http.Redirect(rw, r, next, http.StatusFound)
				return
			}
			rw.Header().Set("Content-Length", "100")
			io.WriteString(rw, "half")
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 2})
		failures := 0
		w.c.OnError(func(_ *colly.Response, err error) {
			if failures++; hostwise.PhaseOf(err) != hostwise.PhaseBody {
				t.Errorf("%v, want a failure of the body", err)
			}
		})
		w.c.Visit("http://a.test/")
		if failures != 3 || len(used) != 4 {
			t.Errorf("%d failures of %d pages, want 3 of 3", failures, len(used)-1)
		}
		if s := w.h.Stats(); s.Retries != 2 || s.GaveUp != 1 || w.h.Held() != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Colly tells nobody that a robots.txt did not come.
func TestRetry_RobotsTxt(t *testing.T) {
	inWorld(t, func(w *world) {
		site := &flaky{fails: func(path string) int {
			if path == "/robots.txt" {
				return 2
			}
			return 0
		}}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", site.ServeHTTP)
		w.c.IgnoreRobotsTxt = false
		w.h.Retry(nil)
		if err := w.c.Visit("http://a.test/"); err != nil {
			t.Error(err)
		}
		if s := w.h.Stats(); s.Retries != 2 || s.Failures[hostwise.HTTPEOF] != 2 || s.Responses != 2 {
			t.Errorf("%+v, want two retries", s)
		}
		w.accounted(site.total())
	})
}

func TestRetry_OnErrorComesBeforeTheWait(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		var events []string
		start := time.Now()
		note := func(what string) {
			events = append(events, fmt.Sprint(what, " ", time.Since(start) == 0))
		}
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 1, GaveUp: func(*colly.Response, error) { note("gave up") }})
		w.c.OnRequest(func(*colly.Request) { note("request") })
		w.c.OnError(func(*colly.Response, error) { note("error") })
		w.c.Visit("http://a.test/")
		if want := []string{"request true", "error true", "request false", "error false", "gave up false"}; !slices.Equal(events, want) {
			t.Errorf("%q, want %q", events, want)
		}
	})
}
