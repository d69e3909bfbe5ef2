package hostwisecolly_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
)

// What Colly refuses to send again has failed.
func TestRetry_RefusedByColly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		var last []hostwise.Kind
		w.h.Retry(&hostwisecolly.RetryOptions{GaveUp: func(r *colly.Response, err error) { last = append(last, hostwisecolly.Kind(r, err)) }})
		w.c.MaxRequests = 1
		w.c.Visit("http://a.test/")
		w.c.MaxRequests = 0
		w.c.Request("PUT", "http://a.test/", io.MultiReader(strings.NewReader("not to be read twice")), nil, nil)
		if want := []hostwise.Kind{hostwise.ConnectRefused, hostwise.ConnectRefused}; !slices.Equal(last, want) {
			t.Errorf("GaveUp got %v, want %v", last, want)
		}
		if n := w.h.Held(); n != 0 {
			t.Errorf("%d requests are remembered", n)
		}
	})
}

// A status is an answer: OnError gets it, and so does GaveUp, once.
func TestRetry_StatusIsFinal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
		var got []hostwise.Kind
		w.h.Retry(&hostwisecolly.RetryOptions{GaveUp: func(r *colly.Response, err error) { got = append(got, hostwisecolly.Kind(r, err)) }})
		w.c.Visit("http://a.test/")
		if !slices.Equal(got, []hostwise.Kind{hostwise.HTTPStatus}) {
			t.Errorf("GaveUp got %v", got)
		}
	})
}

// Colly gives a page that it cannot write to its cache to nobody: it is lost.
func TestRetry_PageThatCannotBeCached(t *testing.T) {
	inWorld(t, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve("192.0.2.1:80", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "page") })
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.c.CacheDir = filepath.Join(file, "cache")
		var gaveUp error
		w.h.Retry(&hostwisecolly.RetryOptions{GaveUp: func(_ *colly.Response, err error) { gaveUp = err }})
		w.c.OnResponse(func(*colly.Response) { t.Error("the page came") })
		err := w.c.Visit("http://a.test/")
		if err == nil || !errors.Is(gaveUp, err) {
			t.Errorf("Visit: %v, GaveUp: %v, want the same", err, gaveUp)
		}
		if s := w.h.Stats(); s.Requests != 1 || s.Responses != 1 || s.Retries != 0 || s.GaveUp != 1 {
			t.Errorf("%+v, want one request, answered, and given up", s)
		}
	})
}
