package crawl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestClassifyStd(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Get", URL: "http://a.test/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}}
	}
	tests := []struct {
		err  error
		want Kind
	}{
		{nil, OK},
		{dial(&net.DNSError{Err: "no such host", IsNotFound: true}), NXDomain},
		{dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), DNSTimeout},
		{dial(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), ServFail},
		{dial(&net.DNSError{Err: "lame referral"}), DNSOther},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), Refused},
		{dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), Unreachable},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), Unreachable},
		{dial(os.ErrDeadlineExceeded), ConnectTimeout},
		{&url.Error{Op: "Get", Err: context.DeadlineExceeded}, Timeout},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Timeout},
		{fmt.Errorf("body: %w", io.ErrUnexpectedEOF), Other},
	}
	for _, tt := range tests {
		if got := ClassifyStd(tt.err); got != tt.want {
			t.Errorf("ClassifyStd(%v): got %q, want %q", tt.err, got, tt.want)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// slowBody takes a second to read.
type slowBody struct{ io.Reader }

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return b.Reader.Read(p)
}

func (slowBody) Close() error { return nil }

func TestHTTP_TTFBEndsWithTheHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(120 * time.Millisecond)
			if req.URL.Path == "/fail" {
				return nil, errors.New("no luck")
			}
			return &http.Response{StatusCode: 200, Body: slowBody{strings.NewReader("")}, Request: req}, nil
		})
		stopped := false
		c := HTTP(rt, Config{Plan: &Plan{}, Timeout: 10 * time.Second}, ClassifyStd, func() { stopped = true })
		if got := c.Fetch(t.Context(), "http://a.test/"); got != (Outcome{TTFB: 120 * time.Millisecond, Status: 200}) {
			t.Errorf("got %+v", got)
		}
		if got := c.Fetch(t.Context(), "http://a.test/fail"); got.Err == nil || got.TTFB != 0 {
			t.Errorf("failed fetch: got %+v", got)
		}
		c.Close()
		if !stopped {
			t.Error("Close did not call stop")
		}
	})
}
