package hostwisecolly_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// What a stock collector does, an attached one does, and at the same time.
// Each case ends with what must be in the transcript, so that two empty ones
// do not pass.
func TestAttach_ChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		crawl func(w *world, c *colly.Collector, log *transcript)
		want  map[string]int
	}{
		{"CheckHead", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/gone" {
					rw.WriteHeader(http.StatusGone)
				}
				io.WriteString(rw, "page")
			})
			c.CheckHead = true
			log.add("%v", c.Visit("http://a.test/"))
			log.add("%v", c.Visit("http://a.test/gone")) // is not asked for again with GET
		}, map[string]int{"server: HEAD": 2, "server: GET": 1, `OnResponse GET http://a.test/ 200 text/plain; charset=utf-8 "page"`: 1}},

		{"robots.txt", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/robots.txt" {
					io.WriteString(rw, "User-agent: *\nDisallow: /private\n")
				}
			})
			w.site(log, "none.test", "192.0.2.2", http.NotFound)
			w.host("refused.test", "192.0.2.3")
			c.IgnoreRobotsTxt = false
			for _, u := range []string{"http://a.test/", "http://a.test/private", "http://none.test/", "http://refused.test/"} {
				log.add("Visit: %s", reason(c.Visit(u)))
			}
			w.site(log, "refused.test", "192.0.2.3", http.NotFound) // a failure is not remembered
			log.add("Visit: %s", reason(c.Visit("http://refused.test/")))
		}, map[string]int{"/robots.txt": 3, "blocked by robots.txt": 1, "Visit: connection refused": 1, "Visit: Not Found": 2}},

		{"redirects", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/loop":
					http.Redirect(rw, r, "/loop?"+r.URL.RawQuery+"x", http.StatusFound)
				case "/gone", "/refused":
					http.Redirect(rw, r, "http://"+r.URL.Path[1:]+".test/", http.StatusFound)
				default:
					http.Redirect(rw, r, "http://b.test/b?"+r.URL.Path[1:], http.StatusTemporaryRedirect)
				}
			})
			w.site(log, "b.test", "192.0.2.2", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "b") })
			w.host("refused.test", "192.0.2.3")
			secret := http.Header{"Authorization": {"Basic c2VjcmV0"}}
			log.add("Request: %s", reason(c.Request("GET", "http://a.test/get", nil, nil, secret)))
			log.add("Post: %s", reason(c.Post("http://a.test/post", map[string]string{"k": "v"})))
			log.add("Visit: %s", reason(c.Visit("http://a.test/get"))) // visited
			log.add("Visit: %s", reason(c.Visit("http://a.test/loop")))
			for _, host := range []string{"gone", "refused"} {
				err := c.Visit("http://a.test/" + host)
				var u *url.Error
				log.add("Visit: %s: %v", reason(err), errors.As(err, &u) && u.URL == "http://"+host+".test/")
			}
			c.AllowedDomains = []string{"a.test"}
			log.add("Visit: %s", reason(c.Visit("http://a.test/other")))
			c.SetRedirectHandler(func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })
			log.add("Visit: %s", reason(c.Visit("http://a.test/another")))
		}, map[string]int{
			"server: GET b.test": 1, "server: POST b.test": 1, `"k=v"`: 2, "Authorization": 1, "already visited": 1,
			"server: GET a.test/loop": 10, "connection refused: true": 1, "net.Error, timeout false: true": 1, "Forbidden domain": 4,
		}},

		{"cookies", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) {
				http.SetCookie(rw, &http.Cookie{Name: "visits", Value: fmt.Sprint(len(r.Cookies()))})
				if r.URL.Path == "/login" {
					http.Redirect(rw, r, "/in", http.StatusFound)
				}
			})
			c.SetCookies("http://a.test/", []*http.Cookie{{Name: "mine", Value: "1"}})
			c.Visit("http://a.test/login")
			c.Clone().Visit("http://a.test/clone")
			log.add("Cookies: %v", c.Cookies("http://a.test/"))
			jar, err := cookiejar.New(nil)
			if err != nil {
				w.t.Fatal(err)
			}
			c.SetCookieJar(jar)
			c.Visit("http://a.test/new")
			c.DisableCookies()
			c.Visit("http://a.test/none")
		}, map[string]int{"Cookie: mine=1": 3, "Cookie: mine=1; visits=1": 1, "Cookie: mine=1; visits=2": 1, "Cookies: [mine=1 visits=2]": 1, "/new HTTP/1.1": 1}},

		{"gzip", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/sitemap.xml.gz":
					rw.Header().Set("Content-Type", "application/xml")
					rw.Write(zipped("<urlset><url><loc>http://a.test/1</loc></url></urlset>"))
				case "/type":
					rw.Header().Set("Content-Type", "application/gzip")
					rw.Write(zipped("by type"))
				case "/broken":
					rw.Header().Set("Content-Encoding", "gzip")
					io.WriteString(rw, "this is not gzip")
				default:
					rw.Header().Set("Content-Type", "text/plain")
					rw.Header().Set("Content-Encoding", "gzip")
					rw.Write(zipped("zipped"))
				}
			})
			c.OnXML("//loc", func(e *colly.XMLElement) { log.add("OnXML %s", e.Text) })
			for _, p := range []string{"sitemap.xml.gz", "type", "encoding"} {
				log.add("Visit: %v", c.Visit("http://a.test/"+p))
			}
			log.add("Visit: %v", c.Visit("http://a.test/broken") != nil)
			log.add("Request: %v", c.Request("GET", "http://a.test/own", nil, nil, http.Header{"Accept-Encoding": {"gzip"}})) // Colly unzips
		}, map[string]int{"OnXML http://a.test/1": 1, `"by type"`: 1, `"zipped"`: 2, "Visit: true": 1, "Accept-Encoding: gzip": 5}},

		{"POST", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "taken") })
			log.add("Post: %v", c.Post("http://a.test/form", map[string]string{"name": "value"}))
			log.add("PostRaw: %v", c.PostRaw("http://a.test/raw", bytes.Repeat([]byte("raw"), 50_000)))
			log.add("PostMultipart: %v", c.PostMultipart("http://a.test/parts", map[string][]byte{"file": []byte("content")}))
			log.add("Request: %v", c.Request("PUT", "http://a.test/put", io.MultiReader(strings.NewReader("unknown length")), nil, nil))
			log.add("Post: %s", reason(c.Post("http://a.test/form", map[string]string{"name": "value"}))) // once is enough
		}, map[string]int{`"name=value"`: 1, "rawrawraw": 1, "content": 1, "unknown length": 1, "OnResponse POST": 3, "OnResponse PUT": 1, "Post: already visited": 1}},

		{"body read error", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/length" {
					rw.Header().Set("Content-Length", "100")
				}
				io.WriteString(rw, "half")
				rw.(http.Flusher).Flush()
				time.Sleep(ms)
				panic(http.ErrAbortHandler)
			})
			log.add("Visit: %s", reason(c.Visit("http://a.test/length")))
			log.add("Visit: %s", reason(c.Visit("http://a.test/chunked")))
		}, map[string]int{"OnResponseHeaders": 2, "OnError": 2, "Visit: unexpected EOF": 2}},

		{"MaxBodySize", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", endless)
			c.MaxBodySize = 10
			for i := range 6 {
				log.add("Visit: %v", c.Visit(fmt.Sprint("http://a.test/", i)))
			}
		}, map[string]int{`"aaaaaaaaaa"`: 6, "Visit: <nil>": 6}},

		{"Abort", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", endless)
			c.OnResponseHeaders(func(r *colly.Response) { r.Request.Abort() })
			for i := range 6 {
				log.add("Visit: %s", reason(c.Visit(fmt.Sprint("http://a.test/", i))))
			}
			c = c.Clone()
			observe(c, log)
			c.OnRequest(func(r *colly.Request) { r.Abort() })
			log.add("Visit: %v", c.Visit("http://a.test/no"))
		}, map[string]int{"Visit: Aborted after": 6, "OnError": 6, "server: GET": 6, "Visit: <nil>": 1}},

		{"DisableKeepAlives", func(w *world, c *colly.Collector, log *transcript) {
			w.site(log, "a.test", "192.0.2.1", func(rw http.ResponseWriter, r *http.Request) { log.add("%v", r.Close) })
			c.AllowURLRevisit = true
			c.SetProxyFunc(func(*http.Request) (*url.URL, error) { return nil, nil }) // Colly's way to switch them off
			for range 3 {
				c.Visit("http://a.test/")
			}
			log.add("dials: %d", w.net.Stats().Hosts[netip.MustParseAddr("192.0.2.1")].Dials)
		}, map[string]int{"dials: 3": 1, "Connection: close": 3}},

		{"failures", func(w *world, c *colly.Collector, log *transcript) {
			w.host("refused.test", "192.0.2.1")
			w.host("reset.test", "192.0.2.2")
			w.serve("192.0.2.2:80", endless)
			w.net.SetLink(netip.MustParseAddr("192.0.2.2"), simnet.Link{Fault: simnet.ResetData, RTT: 10 * ms})
			w.site(log, "error.test", "192.0.2.3", func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(500); io.WriteString(rw, "sorry") })
			for _, host := range []string{"refused", "reset", "error", "no-such-name"} {
				log.add("Visit: %s", reason(c.Visit("http://"+host+".test/")))
			}
			c.AllowURLRevisit, c.ParseHTTPErrorResponse = true, true
			log.add("Visit: %s", reason(c.Visit("http://error.test/")))
			log.add("Visit: %s", reason(c.Visit("gopher://a.test/")))
		}, map[string]int{"Visit: connection refused": 1, "Visit: connection reset by peer": 1, "Visit: Internal Server Error": 1, "OnResponse GET": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines := sameAsStock(t, func(w *world, c *colly.Collector, log *transcript) {
				observe(c, log)
				tt.crawl(w, c, log)
			})
			wants(t, lines, tt.want)
		})
	}
}

// endless answers with more than anybody reads.
func endless(rw http.ResponseWriter, r *http.Request) {
	for ; ; time.Sleep(ms) { // else the clock of the bubble would stand still
		if _, err := io.WriteString(rw, strings.Repeat("a", 1000)); err != nil {
			return
		}
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}
