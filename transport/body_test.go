package transport

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

type countingConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// net/http sends a body that is in memory together with the headers.
func TestRoundTrip_InMemoryBodyTakesOneWrite(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	defer site.Close()
	var writes atomic.Int32
	base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return countingConn{c, &writes}, err
	}}
	tr, err := New(base, &Options{Resolver: names{}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for _, tt := range []struct {
		name string
		body func() io.Reader
		want int32
	}{
		{"bytes.Reader", func() io.Reader { return bytes.NewReader([]byte("page")) }, 1},
		{"bytes.Buffer", func() io.Reader { return bytes.NewBufferString("page") }, 1},
		{"strings.Reader", func() io.Reader { return strings.NewReader("page") }, 1},
		{"one that may block", func() io.Reader { return io.LimitReader(strings.NewReader("page"), 4) }, 2},
	} {
		for _, rt := range []http.RoundTripper{base, tr} {
			req, err := http.NewRequest("POST", site.URL, tt.body())
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = 4
			writes.Store(0)
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if n := writes.Load(); n != tt.want || string(got) != "page" {
				t.Errorf("%s, %T: %d writes, want %d; echo %q", tt.name, rt, n, tt.want, got)
			}
		}
	}
	base.CloseIdleConnections()
}
