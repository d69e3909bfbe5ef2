package hostwisecolly_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/transport"
)

// breaksOff answers with half a page, which no breaker minds.
func breaksOff(rw http.ResponseWriter) {
	rw.Header().Set("Content-Type", "text/html")
	rw.Header().Set("Content-Length", "100")
	io.WriteString(rw, "half")
	rw.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// A requestLog is what a server was asked for.
type requestLog struct {
	mu    sync.Mutex // protects lines
	lines []string
}

func (l *requestLog) add(line string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return len(l.lines)
}

// What a redirect has answered is not sent again, unless it is safe; that
// starts at its first URL, as the first time.
func TestRetry_AfterARedirect(t *testing.T) {
	for _, tt := range []struct {
		name, method, target string
		status               int
		down                 bool // the target's host, from the start
		want                 string
	}{
		{"the list is not deleted", "DELETE", "/items", 303, false, "DELETE /items/7 GET /items"},
		{"POST, 303, the body breaks off", "POST", "/items", 303, false, "POST /items/7 GET /items"},
		{"POST, 302, refused", "POST", "http://refused.test/", 302, false, "POST /items/7"},
		{"POST, 303, refused", "POST", "http://refused.test/", 303, false, "POST /items/7"},
		{"POST, 307, refused", "POST", "http://refused.test/", 307, false, "POST /items/7"},
		{"POST, 303, down", "POST", "http://refused.test/", 303, true, "POST /items/7"},
		{"POST, 307, down", "POST", "http://refused.test/", 307, true, "POST /items/7"},
		{"PUT, 307, the body breaks off", "PUT", "/items", 307, false, "PUT /items/7 PUT /items"},
		{"GET, the body breaks off", "GET", "/items", 302, false, "GET /items/7 GET /items GET /items/7 GET /items"},
		{"GET, refused", "GET", "http://refused.test/", 302, false, "GET /items/7 GET /items/7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				var log requestLog
				w.host("a.test", "192.0.2.1")
				w.host("refused.test", "192.0.2.2")
				w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
					log.add(r.Method + " " + r.URL.Path)
					if r.URL.Path == "/items/7" {
						http.Redirect(rw, r, tt.target, tt.status)
						return
					}
					breaksOff(rw)
				})
				for range 3 {
					if tt.down {
						w.fails("http://refused.test/", hostwise.ConnectRefused)
					}
				}
				gaveUp := 0
				w.h.Retry(&hostwisecolly.RetryOptions{Max: 1, GaveUp: func(*colly.Response, error) { gaveUp++ }})
				w.c.Request(tt.method, "http://a.test/items/7", strings.NewReader("body"), nil, nil)
				if got := strings.Join(log.lines, " "); got != tt.want {
					t.Errorf("the server saw %s, want %s", got, tt.want)
				}
				if n := w.h.Held(); gaveUp != 1 || n != 0 {
					t.Errorf("GaveUp was called %d times, want 1; %d requests are remembered", gaveUp, n)
				}
			})
		})
	}
}

func TestAttachClone_RefusesOneThatItHas(t *testing.T) {
	inWorld(t, func(w *world) {
		var log requestLog
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			if log.add(r.URL.Path) < 100 {
				breaksOff(rw)
			}
		})
		w.h.Retry(nil)
		clone := w.c.Clone()
		if err := w.h.AttachClone(clone); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*colly.Collector{"a clone": clone, "the collector itself": w.c} {
			if err := w.h.AttachClone(c); err == nil {
				t.Errorf("AttachClone takes %s again", name)
			}
		}
		clone.Visit("http://a.test/")
		if len(log.lines) != 3 {
			t.Errorf("%d requests, want 3", len(log.lines))
		}
	})
}

// Callbacks registered before Attach may change whatever a retry is known by.
// It ends for all that.
func TestRetry_EndsWithCallbacksBeforeAttach(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(r *colly.Request)
		max  int
	}{
		{"another map of headers", func(r *colly.Request) { *r.Headers = http.Header{"X": {"y"}} }, 3},
		{"no headers", func(r *colly.Request) { *r.Headers = nil }, 3},
		{"other headers", func(r *colly.Request) { r.Headers = &http.Header{"X": {"y"}} }, 3},
		{"another Ctx", func(r *colly.Request) { r.Ctx = colly.NewContext() }, 101},
		{"another method", func(r *colly.Request) { r.Method = "HEAD" }, 1},
		{"another URL", func(r *colly.Request) { r.URL = &url.URL{Scheme: "http", Host: "a.test", Path: "/other"} }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				var log requestLog
				w.host("a.test", "192.0.2.1")
				w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
					if log.add(r.URL.Path) <= 2*tt.max {
						breaksOff(rw)
					}
				})
				c := colly.NewCollector(colly.AllowURLRevisit())
				c.OnRequest(tt.f)
				h := w.attach(c)
				h.Retry(&hostwisecolly.RetryOptions{Delay: ms})
				c.Visit("http://a.test/")
				if len(log.lines) > tt.max {
					t.Errorf("%d requests, want %d at the most", len(log.lines), tt.max)
				}
			})
		})
	}
}

// A callback after Attach's may do with the headers what it likes.
func TestRetry_KnowsARequestWithoutHeaders(t *testing.T) {
	inWorld(t, func(w *world) {
		site := &flaky{fails: func(string) int { return 10 }}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", site.ServeHTTP)
		w.h.Retry(&hostwisecolly.RetryOptions{MaxDelay: time.Second})
		w.c.OnRequest(func(r *colly.Request) { *r.Headers = nil })
		w.c.Visit("http://a.test/")
		if s := w.h.Stats(); site.total() != 3 || s.Retries != 2 || s.GaveUp != 1 {
			t.Errorf("%d requests, %+v, want 3", site.total(), s)
		}
	})
}

// Requests that share one map of headers do not share their attempts.
func TestRetry_SharedHeaders(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { breaksOff(rw) })
		w.c.Async = true
		w.h.Retry(&hostwisecolly.RetryOptions{Delay: 1}) // all at the same moment
		shared := http.Header{"User-Agent": {"x"}, "Accept": {"*/*"}}
		for i := range 50 {
			w.c.Request("GET", fmt.Sprintf("http://a.test/%d", i), nil, nil, shared)
		}
		w.c.Wait()
		if s := w.h.Stats(); s.Requests != 150 || s.Retries != 100 || s.GaveUp != 50 || w.h.Held() != 0 {
			t.Errorf("%+v, want 3 attempts at each of 50 pages", s)
		}
	})
}

// Colly's Retry takes out the header Cookie, for the cookie jar's sake.
func TestRetry_KeepsCookies(t *testing.T) {
	inWorld(t, func(w *world) {
		var log requestLog
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			if n := log.add(r.Header.Get("Cookie")); n == 2 || n == 3 {
				breaksOff(rw)
			}
			http.SetCookie(rw, &http.Cookie{Name: "jar", Value: "1"})
		})
		w.h.Retry(nil)
		w.c.Visit("http://a.test/")
		w.c.Request("GET", "http://a.test/", nil, nil, http.Header{"Cookie": {"mine=2"}})
		want := []string{"", "mine=2; jar=1", "mine=2; jar=1", "mine=2; jar=1"}
		if !slices.Equal(log.lines, want) {
			t.Errorf("cookies %q, want %q", log.lines, want)
		}
	})
}

// A retry that an OnRequest callback aborts is none, and its request has
// failed. Of an Async collector's, only the garbage collector tells.
func TestRetry_AbortedByTheProgram(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { breaksOff(rw) })
				w.c.Async = async
				gaveUp := 0
				w.h.Retry(&hostwisecolly.RetryOptions{GaveUp: func(*colly.Response, error) { gaveUp++ }})
				w.c.OnRequest(func(r *colly.Request) {
					if r.Ctx.GetAny("seen") != nil {
						r.Abort()
					}
					r.Ctx.Put("seen", true)
				})
				w.c.Visit("http://a.test/")
				w.c.Wait()
				for i := 0; i < 1000 && w.h.Stats().GaveUp == 0; i++ {
					runtime.GC()
				}
				if s := w.h.Stats(); s.Requests != 1 || s.Retries != 0 || s.GaveUp != 1 || w.h.Held() != 0 || !async && gaveUp != 1 {
					t.Errorf("%+v, GaveUp was called %d times, %d remembered; want one request given up", s, gaveUp, w.h.Held())
				}
			})
		})
	}
}

func TestSkipDeadHosts_ASkippedRetryIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("down.test", "192.0.2.1")
		w.h.SkipDeadHosts(nil)
		failures := 0
		var last []hostwise.Kind
		w.c.OnError(func(*colly.Response, error) { failures++ })
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 5, GaveUp: func(r *colly.Response, err error) {
			last = append(last, hostwisecolly.Kind(r, err))
			if r.Request.URL.Path != "/page" {
				t.Errorf("GaveUp got %v", r.Request.URL)
			}
		}})
		w.c.Visit("http://down.test/page")
		if want := []hostwise.Kind{hostwise.HostDown}; !slices.Equal(last, want) {
			t.Errorf("GaveUp got %v, want %v", last, want)
		}
		if s := w.h.Stats(); failures != 3 || s.Retries != 2 || s.GaveUp != 1 || s.Skipped != 1 || w.h.Held() != 0 {
			t.Errorf("%d failures, %+v, want 2 retries, and the third skipped; %d remembered", failures, s, w.h.Held())
		}
	})
}

// A page that came and cannot be read as XML is no request that failed.
func TestRetry_MalformedXML(t *testing.T) {
	inWorld(t, func(w *world) {
		var log requestLog
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			if log.add(r.URL.Path) == 1 {
				breaksOff(rw)
			}
			rw.Header().Set("Content-Type", "application/xml")
			io.WriteString(rw, "<a><b>")
		})
		w.h.Retry(&hostwisecolly.RetryOptions{GaveUp: func(_ *colly.Response, err error) { t.Error(err) }})
		w.c.OnXML("//a", func(*colly.XMLElement) {})
		failures := 0
		w.c.OnError(func(*colly.Response, error) { failures++ })
		w.c.Visit("http://a.test/")
		if s := w.h.Stats(); failures != 2 || s.Retries != 1 || s.Recovered != 1 || s.GaveUp != 0 || w.h.Held() != 0 {
			t.Errorf("%d failures, %+v, want one page recovered", failures, s)
		}
	})
}

// A retry that finds its page in the cache is one, too.
func TestRetry_FromTheCache(t *testing.T) {
	inWorld(t, func(w *world) {
		var log requestLog
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			if log.add(r.URL.Path) == 1 {
				breaksOff(rw)
			}
		})
		w.h.Retry(nil)
		w.c.CacheDir = t.TempDir()
		other := w.c.Clone()
		w.c.OnError(func(*colly.Response, error) { other.Visit("http://a.test/") })
		w.c.Visit("http://a.test/")
		if s := w.h.Stats(); len(log.lines) != 2 || s.Retries != 1 || s.Recovered != 1 || s.GaveUp != 0 || w.h.Held() != 0 {
			t.Errorf("%d requests, %+v, want one page recovered; %d remembered", len(log.lines), s, w.h.Held())
		}
	})
}

// The proxy of the base, of which Colly knows nothing, resolves names, too.
func TestAttach_ProxyOfTheBase(t *testing.T) {
	inWorld(t, func(w *world) {
		w.page("http://b.test/", "http://c.test/")
		w.host("direct.test", "192.0.2.3")
		proxy := &url.URL{Scheme: "http", Host: "page.test"}
		w.use(&http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "https" || r.URL.Hostname() == "direct.test" {
				return nil, nil
			}
			return proxy, nil
		}}, transport.Options{})
		for range 3 {
			w.fails("http://direct.test/", hostwise.ConnectRefused)
		}
		w.h.PrefetchLinks(nil)
		w.h.SkipDeadHosts(nil)
		var proxies []string
		w.c.OnResponse(func(r *colly.Response) { proxies = append(proxies, r.Request.ProxyURL) })
		w.c.Visit("http://a.test/")
		w.c.Visit("http://direct.test/")
		got := w.h.Prewarm(w.c.Context, []string{"http://d.test/", "http://e.test/", "https://e.test/"})
		time.Sleep(time.Second)
		if asked, want := w.asked(), []string{"direct.test", "e.test", "page.test"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
		if !slices.Equal(proxies, []string{"http://page.test"}) || w.h.Stats().Skipped != 1 {
			t.Errorf("ProxyURL %q, want that of the base; %+v, want the direct page skipped", proxies, w.h.Stats())
		}
		if len(got) != 2 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "proxy") || hostwise.KindOf(got[1].Err) != hostwise.DNSNXDomain {
			t.Errorf("Prewarm reports %v, want one name that a proxy has to resolve, and one that does not exist", got)
		}
	})
}
