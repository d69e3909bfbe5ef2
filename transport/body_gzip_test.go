package transport_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// net/http has the Close of a body that it unzips wait while it reads the gzip
// header. IdleBodyTimeout holds there, too, with a deadline and without one.
func TestBounds_SilenceBeforeTheGzipHeader(t *testing.T) {
	for _, scheme := range []string{"http", "https"} { // HTTP/1.1, HTTP/2
		for _, prefix := range []string{"", "\x1f\x8b"} {
			for _, patience := range []time.Duration{0, time.Hour} {
				base, cert := lightCertificate(t)
				inWorld(t, base, transport.Options{}, func(w *world) {
					w.host("example.com", "192.0.2.1")
					silent := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						rw.Header().Set("Content-Encoding", "gzip")
						io.WriteString(rw, prefix)
						rw.(http.Flusher).Flush()
						<-r.Context().Done()
					})
					w.serve(silent, "192.0.2.1:80")
					w.serveTLS(silent, cert, "192.0.2.1:443")
					w.client.Timeout = patience
					start := time.Now()
					resp, err := w.client.Get(scheme + "://example.com/")
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					_, err = io.ReadAll(resp.Body)
					if got := time.Since(start); hostwise.KindOf(err) != hostwise.HTTPBodyTimeout || got != 30*time.Second || !resp.Uncompressed {
						t.Errorf("%s, %q, deadline %v: %v after %v, want http_body_timeout after 30s", scheme, prefix, patience, err, got)
					}
				})
			}
		}
	}
}
