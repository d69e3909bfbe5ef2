package transport_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/transport"
)

// net/http calls GetConn under the lock of its HTTP/2 connections, if there is
// one: a hook that does not return would hold it for ever.
func TestCallers_GetConnOnAWarmHTTP2Connection(t *testing.T) {
	for name, f := range map[string]func(w *world){
		"panic":  func(*world) { panic("boom") },
		"Goexit": func(*world) { runtime.Goexit() },
		"calls back": func(w *world) {
			w.tr.CloseIdleConnections()
			if _, err := w.get("https://example.com/"); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			base, cert := lightCertificate(t)
			inWorld(t, base, transport.Options{}, func(w *world) {
				w.host("example.com", "192.0.2.1")
				w.serveTLS(ok, cert, "192.0.2.1:443")
				w.takesAny("https://example.com/")
				var got string
				ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GetConn: func(hostPort string) { got = hostPort; f(w) }})
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { recover() }()
					req, err := http.NewRequestWithContext(ctx, "GET", "https://example.com/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					if resp, err := w.client.Do(req); err == nil {
						resp.Body.Close()
					}
				}()
				<-done
				if got != "example.com:443" {
					t.Errorf("GetConn was told %q", got)
				}
				w.takesAny("https://example.com/")
			})
		})
	}
}

// takesAny checks that url is fetched.
func (w *world) takesAny(url string) {
	w.t.Helper()
	if _, err := w.get(url); err != nil {
		w.t.Error(err)
	}
}

// Where there is no body over HTTP/2, either, its announced size is no fault,
// and the connection is free without a Close.
func TestBounds_NoBodyOverHTTP2(t *testing.T) {
	base, cert := lightCertificate(t)
	inWorld(t, base, transport.Options{MaxBodyBytes: 100, MaxConns: 1}, func(w *world) {
		w.host("example.com", "192.0.2.1")
		w.host("other.test", "192.0.2.2")
		w.serveTLS(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			io.WriteString(rw, strings.Repeat("x", 1000))
		}), cert, "192.0.2.1:443")
		w.serve(ok, "192.0.2.2:80")
		resp, err := w.client.Head("https://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 0 || resp.ProtoMajor != 2 {
			t.Errorf("%s: %d bytes, err %v, want none", resp.Proto, len(b), err)
		}
		w.takesAny("http://other.test/")
	})
}
