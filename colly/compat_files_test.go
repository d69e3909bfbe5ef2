package hostwisecolly_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/transport"
)

// A handler of file:// works where net/http has it, registered with the base
// transport.
func TestAttach_FilesAreReadByTheBaseTransport(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1.html": `<a href="2.html">`, "2.html": "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	crawl := func(install func(*colly.Collector, *http.Transport)) []string {
		files := &http.Transport{}
		files.RegisterProtocol("file", http.NewFileTransport(http.Dir(dir)))
		c := colly.NewCollector()
		install(c, files)
		log := transcript{start: time.Now()}
		observe(c, &log)
		c.OnHTML("a[href]", func(e *colly.HTMLElement) { e.Request.Visit(e.Attr("href")) })
		log.add("Visit: %v", c.Visit("file:///1.html"))
		log.add("Visit: %v", c.Visit("file:///3.html"))
		for i, l := range log.lines {
			_, log.lines[i], _ = strings.Cut(l, " ") // the time is not virtual
		}
		return log.lines
	}
	stock := crawl(func(c *colly.Collector, files *http.Transport) { c.WithTransport(files) })
	attached := crawl(func(c *colly.Collector, files *http.Transport) {
		tr, err := transport.New(files, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		if _, err := hostwisecolly.Attach(c, tr); err != nil {
			t.Fatal(err)
		}
	})
	if got, want := strings.Join(attached, "\n"), strings.Join(stock, "\n"); got != want {
		t.Errorf("attached:\n%s\nstock:\n%s", got, want)
	}
	wants(t, attached, map[string]int{"OnResponse GET file:///": 2, "Visit: <nil>": 1, "Visit: Not Found": 1})
}

// Attach takes the place of a transport with handlers: an error says so, of
// Attach or of the visit.
func TestAttach_FilesOfAReplacedTransportAreAnError(t *testing.T) {
	inWorld(t, func(w *world) {
		files := &http.Transport{}
		files.RegisterProtocol("file", http.NewFileTransport(http.Dir(w.t.TempDir())))
		c := colly.NewCollector()
		c.WithTransport(files)
		_, err := hostwisecolly.Attach(c, w.tr)
		if err == nil {
			err = c.Visit("file:///1.html")
		}
		if err == nil || !strings.Contains(err.Error(), "transport") && !strings.Contains(err.Error(), `unsupported protocol scheme "file"`) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestAttach_CacheDirHitNeedsNoTransport(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		w.c.CacheDir = w.t.TempDir()
		w.visits("http://a.test/", "page", 0)
		w.tr.Close()

		c := colly.NewCollector(colly.CacheDir(w.c.CacheDir))
		h := w.attach(c)
		var got string
		c.OnResponse(func(r *colly.Response) { got = string(r.Body) })
		if err := c.Visit("http://a.test/"); err != nil || got != "page" {
			t.Errorf("Visit of a cached page = %q, %v", got, err)
		}
		if s := h.Stats(); s.Requests != 0 {
			t.Errorf("%d requests for a cached page", s.Requests)
		}
		if err := c.Visit("http://a.test/other"); err == nil || h.Stats().Requests != 1 {
			t.Errorf("Visit of a page that is not cached, with a closed transport = %v", err)
		}
	})
}
