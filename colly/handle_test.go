package hostwisecolly_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/gocolly/colly/v2/proxy"
	"github.com/gocolly/colly/v2/queue"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/transport"
)

func TestAttach_RefusesWhatItCannotKeep(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, tt := range []struct {
			name, want string
			prepare    func(c *colly.Collector)
		}{
			{"a round tripper", "failing", func(c *colly.Collector) { c.WithTransport(failing{}) }},
			{"a transport", "give it to transport.New", func(c *colly.Collector) { c.WithTransport(&http.Transport{}) }},
			{"a proxy", "call SetProxy and SetProxyFunc after it", func(c *colly.Collector) { c.SetProxy("http://proxy.test") }},
			{"an adapter", "for a clone use AttachClone", func(c *colly.Collector) { w.attach(c) }},
			{"an adapter with a proxy", "for a clone use AttachClone", func(c *colly.Collector) { w.attach(c); c.SetProxy("http://proxy.test") }},
			{"nothing", "", func(*colly.Collector) {}},
			{"nothing any more", "", func(c *colly.Collector) { c.WithTransport(failing{}); c.WithTransport(nil) }},
			{"everybody's client", "http.DefaultClient", func(c *colly.Collector) { c.SetClient(http.DefaultClient) }},
			{"another client", "", func(c *colly.Collector) { c.SetClient(&http.Client{}) }},
		} {
			c := colly.NewCollector()
			tt.prepare(c)
			_, err := hostwisecolly.Attach(c, w.tr)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		}
	})
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func TestTransport_IsAnOption(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		var h *hostwisecolly.Handle
		w.c = colly.NewCollector(colly.AllowURLRevisit(), hostwisecolly.Transport(w.tr, func(handle *hostwisecolly.Handle) { h = handle }))
		w.visits("http://a.test/", "page", 0)
		if s := h.Stats(); s.Responses != 1 {
			t.Errorf("%+v, want one response", s)
		}
	})
}

func TestTransport_OfNothingFailsEachRequest(t *testing.T) {
	c := colly.NewCollector(hostwisecolly.Transport((*transport.Transport)(nil)))
	if err := c.Visit("http://a.test/"); err == nil || !strings.Contains(err.Error(), "needs a collector and a transport") {
		t.Errorf("Visit = %v", err)
	}
}

func TestAttachClone(t *testing.T) {
	inWorld(t, func(w *world) {
		site := &flaky{fails: func(string) int { return 1 }}
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", site.ServeHTTP)
		w.h.Retry(nil)
		clone := w.c.Clone()
		if err := w.h.AttachClone(clone); err != nil {
			t.Fatal(err)
		}
		clone.Visit("http://a.test/1")
		w.c.Clone().Visit("http://a.test/2") // without the features
		if s := w.h.Stats(); s.Recovered != 1 || s.Responses != 1 || s.Failures[hostwise.HTTPEOF] != 2 {
			t.Errorf("%+v, want one page recovered, and one lost", s)
		}
		w.page("http://b.test/")
		w.h.PrefetchLinks(nil)
		third := w.c.Clone()
		if err := w.h.AttachClone(third); err != nil {
			t.Fatal(err)
		}
		third.Visit("http://page.test/")
		time.Sleep(time.Second)
		if !slices.Contains(w.asked(), "b.test") {
			t.Errorf("asked for %q, want the link of the clone's page, too", w.asked())
		}
		if err := w.h.AttachClone(colly.NewCollector()); err == nil {
			t.Error("AttachClone accepts any collector")
		}
		if err := w.h.AttachClone(nil); err == nil {
			t.Error("AttachClone accepts nil")
		}
	})
}

// OnError is silent about robots.txt, and nobody looks at a queue's errors.
// Whatever failed is told once, with the hop that failed.
func TestOnFailure_IsComplete(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/robots.txt":
				http.NotFound(rw, r)
			case "/moved":
				http.Redirect(rw, r, "http://gone.test/there", http.StatusFound)
			default:
				panic(http.ErrAbortHandler)
			}
		})
		w.host("refused.test", "192.0.2.2")
		w.c.IgnoreRobotsTxt = false
		var seen []string
		w.h.OnFailure(func(f hostwisecolly.Failure) { seen = append(seen, f.Request.URL.String()+" "+string(f.Kind)) })
		w.h.Retry(&hostwisecolly.RetryOptions{Max: 1})
		q, err := queue.New(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.AddURL("http://a.test/moved")
		q.AddURL("http://a.test/closed")
		q.AddURL("http://refused.test/page")
		if err := q.Run(w.c); err != nil {
			t.Error(err)
		}
		want := []string{
			"http://gone.test/there dns_nxdomain",
			"http://a.test/closed http_eof", "http://a.test/closed http_eof",
			"http://refused.test/robots.txt connect_refused", "http://refused.test/robots.txt connect_refused",
		}
		if !slices.Equal(seen, want) {
			t.Errorf("OnFailure saw\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
	})
}

// Colly fills in ProxyURL only for its own proxy switchers, and not where the
// HTTP client has a time-out, as it has by default.
func TestProxyURL(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"time-out": 10 * time.Second, "no time-out": 0} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.host("p1.test", "192.0.2.1")
				w.host("p2.test", "192.0.2.2")
				for i := range 2 {
					w.serve(fmt.Sprintf("192.0.2.%d:80", i+1), func(rw http.ResponseWriter, r *http.Request) {
						switch r.URL.Path {
						case "/moved":
							http.Redirect(rw, r, "/", http.StatusFound)
						case "/loop":
							http.Redirect(rw, r, "/loop", http.StatusFound)
						case "/closed":
							panic(http.ErrAbortHandler)
						}
					})
				}
				f, err := proxy.RoundRobinProxySwitcher("http://p1.test", "http://p2.test")
				if err != nil {
					t.Fatal(err)
				}
				w.c.SetRequestTimeout(timeout)
				w.c.SetProxyFunc(f)
				var got []string
				w.c.OnResponse(func(r *colly.Response) { got = append(got, r.Request.ProxyURL) })
				w.c.OnError(func(r *colly.Response, err error) {
					got = append(got, r.Request.ProxyURL+" "+string(hostwisecolly.Kind(r, err)))
				})
				w.c.Visit("http://a.test/")
				w.c.Visit("http://a.test/")
				w.c.Visit("http://a.test/moved")
				w.c.Visit("http://a.test/closed")
				w.c.Visit("http://a.test/loop") // 10 hops
				w.c.DisallowedDomains = []string{"b.test"}
				w.c.SetProxy("http://p2.test")
				w.c.Visit("http://a.test/")
				want := []string{"http://p1.test", "http://p2.test", "http://p2.test", "http://p1.test http_eof", "http://p1.test http_status", "http://p2.test"}
				if !slices.Equal(got, want) {
					t.Errorf("ProxyURL %q, want %q", got, want)
				}
				if n := w.h.Held(); n != 0 {
					t.Errorf("%d requests are remembered after the end", n)
				}
			})
		})
	}
}

// The pages of a dead host neither take a slot nor wait for a delay.
func TestSkipDeadHosts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("down.test", "192.0.2.1")
		for range 3 {
			w.fails("http://down.test/", hostwise.ConnectRefused)
		}
		w.host("up.test", "192.0.2.2")
		w.serve("192.0.2.2:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		w.c.Limit(&colly.LimitRule{DomainGlob: "*", Delay: time.Hour})
		var skipped []string
		w.h.SkipDeadHosts(func(r *colly.Request, down *hostwise.HostDownError) {
			skipped = append(skipped, fmt.Sprint(r.URL, " ", down.Host, " ", r.IsAbort()))
		})
		before := w.h.Stats().Requests
		start := time.Now()
		for i := range 100 {
			if err := w.c.Visit(fmt.Sprintf("http://down.test/%d", i)); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("skipping took %v", d)
		}
		if s := w.h.Stats(); len(skipped) != 100 || s.Skipped != 100 || s.Requests != before || skipped[7] != "http://down.test/7 down.test:80 true" {
			t.Errorf("%d skipped, such as %q; %+v", len(skipped), skipped[min(7, len(skipped)-1)], s)
		}
		w.c.Visit("http://up.test/")
		if s := w.h.Stats(); s.Responses != 1 {
			t.Errorf("%+v, want the page of the host that is up", s)
		}
		time.Sleep(time.Minute) // the cool-down has ended: it is tried again
		if w.c.Visit("http://down.test/"); w.h.Stats().Skipped != 100 {
			t.Error("skipped after the cool-down")
		}
	})
}

func TestKind(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/robots.txt":
				io.WriteString(rw, "User-agent: *\nDisallow: /private")
			case "/404":
				http.NotFound(rw, r)
			case "/moved":
				http.Redirect(rw, r, "http://b.test/", http.StatusFound)
			case "/again":
				http.Redirect(rw, r, "/", http.StatusFound)
			case "/page.xml.gz":
				io.WriteString(rw, "not gzip at all")
			}
		})
		full, err := queue.New(1, &queue.InMemoryQueueStorage{MaxSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		full.AddURL("http://a.test/")
		for _, tt := range []struct {
			want hostwise.Kind
			run  func(c *colly.Collector) error
		}{
			{"", func(c *colly.Collector) error { return c.Visit("http://a.test/") }},
			{hostwise.DNSNXDomain, func(c *colly.Collector) error { return c.Visit("http://gone.test/") }},
			{hostwise.BadURL, func(c *colly.Collector) error { return c.Visit("http://a.test:port/") }},
			{hostwise.BadURL, func(c *colly.Collector) error { return c.Visit("") }},
			{hostwisecolly.ForbiddenDomain, func(c *colly.Collector) error {
				c.DisallowedDomains = []string{"a.test"}
				return c.Visit("http://a.test/")
			}},
			{hostwisecolly.ForbiddenDomain, func(c *colly.Collector) error {
				c.AllowedDomains = []string{"a.test"}
				return c.Visit("http://a.test/moved")
			}},
			{hostwisecolly.ForbiddenURL, func(c *colly.Collector) error {
				c.URLFilters = append(c.URLFilters, regexp.MustCompile("b"))
				return c.Visit("http://a.test/")
			}},
			{hostwisecolly.ForbiddenURL, func(c *colly.Collector) error {
				c.DisallowedURLFilters = append(c.DisallowedURLFilters, regexp.MustCompile("a"))
				return c.Visit("http://a.test/")
			}},
			{hostwisecolly.RobotsBlocked, func(c *colly.Collector) error {
				c.IgnoreRobotsTxt = false
				return c.Visit("http://a.test/private")
			}},
			{hostwisecolly.AlreadyVisited, func(c *colly.Collector) error {
				return errors.Join(c.Visit("http://a.test/"), c.Visit("http://a.test/"))
			}},
			{hostwisecolly.AlreadyVisited, func(c *colly.Collector) error {
				return errors.Join(c.Visit("http://a.test/"), c.Visit("http://a.test/again"))
			}},
			{hostwisecolly.MaxDepth, func(c *colly.Collector) (err error) {
				c.MaxDepth = 1
				c.OnResponse(func(r *colly.Response) { err = r.Request.Visit("/deeper") })
				c.Visit("http://a.test/")
				return err
			}},
			{hostwisecolly.MaxRequests, func(c *colly.Collector) error {
				c.MaxRequests = 1
				c.Visit("http://a.test/")
				return c.Visit("http://a.test/2")
			}},
			{hostwisecolly.Aborted, func(c *colly.Collector) error {
				c.OnRequestHeaders(func(r *colly.Request) { r.Abort() })
				return c.Visit("http://a.test/")
			}},
			{hostwisecolly.Aborted, func(c *colly.Collector) error {
				c.OnResponseHeaders(func(r *colly.Response) { r.Request.Abort() })
				return c.Visit("http://a.test/")
			}},
			{"", func(c *colly.Collector) error {
				c.OnRequest(func(r *colly.Request) { r.Abort() })
				return c.Visit("http://a.test/")
			}},
			{hostwisecolly.QueueFull, func(*colly.Collector) error { return full.AddURL("http://a.test/") }},
			{hostwise.HTTPStatus, func(c *colly.Collector) error { return c.Visit("http://a.test/404") }},
			{hostwise.HTTPMalformed, func(c *colly.Collector) error { return c.Visit("http://a.test/page.xml.gz") }},
		} {
			c := colly.NewCollector()
			w.attach(c)
			var last *colly.Response
			c.OnError(func(r *colly.Response, _ error) { last = r })
			err := tt.run(c)
			if got := hostwisecolly.Kind(last, err); got != tt.want {
				t.Errorf("Kind(%v) = %q, want %q", err, got, tt.want)
			}
			if tt.want.Retryable() {
				t.Errorf("%s is retryable", tt.want)
			}
		}
		if got := hostwisecolly.Kind(nil, errors.New("Not Found")); got != hostwise.Other {
			t.Errorf("Kind of a foreign error is %q", got)
		}
	})
}
