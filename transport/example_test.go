package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

func ExampleWrap() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a page") }))
	defer site.Close()

	client := &http.Client{}
	t, err := transport.Wrap(client, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	resp, err := client.Get(site.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	fmt.Println(string(page), err)
	// Output: a page <nil>
}

func ExampleNew() {
	base := &http.Transport{ForceAttemptHTTP2: true} // your own proxy, TLS configuration and so on
	t, err := transport.New(base, &transport.Options{PublicOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	_, err = (&http.Client{Transport: t}).Get("http://127.0.0.1/")
	var denied *hostwise.DeniedError
	if errors.As(err, &denied) {
		fmt.Println(denied.Addr, "is", denied.Rule)
	}
	// Output: 127.0.0.1 is loopback (RFC 1122)
}

// A crawler of the public web, of one's own intranet, and of nothing that is
// not a web server.
func ExampleGuardOptions() {
	t, err := transport.New(nil, &transport.Options{
		PublicOnly: true,
		Guard: transport.GuardOptions{
			Allow: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")},
			Deny:  []netip.Prefix{netip.MustParsePrefix("10.20.30.0/24")},
			Ports: []uint16{80, 443, 8080},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	client := &http.Client{Transport: t}
	for _, url := range []string{"http://10.20.30.40/", "http://10.30.0.1/", "http://169.254.169.254/latest/meta-data/", "http://10.20.0.1:6379/"} {
		_, err := client.Get(url)
		var denied *hostwise.DeniedError
		if errors.As(err, &denied) {
			fmt.Println(denied.Host, "-", denied.Rule)
		}
	}
	// Output:
	// 10.20.30.40:80 - Options.Guard.Deny: 10.20.30.0/24
	// 10.30.0.1:80 - private use (RFC 1918)
	// 169.254.169.254:80 - cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)
	// 10.20.0.1:6379 - Options.Guard.Ports: port 6379 is not among them
}

// The local network goes down when 40 hosts have been reached.
// A page of a crawl need not be larger than what its parser is given, and a
// server that trickles need not be waited for.
func ExampleOptions_maxBodyBytes() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 10<<20))
	}))
	defer site.Close()

	t, err := transport.New(nil, &transport.Options{
		MaxBodyBytes:    1 << 20,
		IdleBodyTimeout: 10 * time.Second,
		MinBodyRate:     1 << 10, // bytes a second
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	resp, err := (&http.Client{Transport: t}).Get(site.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	fmt.Println(len(page), hostwise.KindOf(err))
	// Output: 1048576 http_body_too_large
}

func ExampleOptions_onOutage() {
	var down atomic.Bool
	base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if down.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
		}
		client, server := net.Pipe()
		server.Close()
		return client, nil
	}}
	t, err := transport.New(base, &transport.Options{OnOutage: func(c transport.OutageChange) {
		fmt.Printf("down: %v, after %d hosts have failed\n", c.Down, c.Hosts)
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	dial := func(host int) error {
		c, err := t.DialContext(context.Background(), "tcp", fmt.Sprintf("192.0.2.%d:80", host))
		if err == nil {
			c.Close()
		}
		return err
	}
	for i := range 40 {
		dial(i)
	}
	time.Sleep(200 * time.Millisecond)
	down.Store(true)
	for i := range 32 {
		dial(i)
	}
	dial(32) // let through, to see
	err = dial(33)
	fmt.Println(hostwise.KindOf(err), t.Stats().HostsDown, t.Stats().LocalRefused)
	// Output:
	// down: true, after 32 hosts have failed
	// local_outage 0 1
}

func ExampleTransport_DialContext() {
	site := httptest.NewServer(http.NotFoundHandler())
	defer site.Close()
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	conn, err := t.DialContext(context.Background(), "tcp", strings.Replace(site.Listener.Addr().String(), "127.0.0.1", "localhost", 1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println("connected:", conn.RemoteAddr().String() == site.Listener.Addr().String())
	// Output: connected: true
}

func ExampleWithProxy() {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "asked for ", r.URL) }))
	defer proxy.Close()
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	req, err := http.NewRequestWithContext(transport.WithProxy(context.Background(), http.ProxyURL(u)), "GET", "http://a.test/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	fmt.Println(string(answer), err)
	// Output: asked for http://a.test/ <nil>
}

// A crawl that goes on where the last one ended does not begin by waiting for
// dead hosts.
func ExampleTransport_SnapshotBreakers() {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	yesterday, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer yesterday.Close()
	client := &http.Client{Transport: yesterday}
	for range 3 {
		_, err = client.Get(dead.URL)
	}
	fmt.Println(hostwise.KindOf(err))
	var file bytes.Buffer
	if err := yesterday.SnapshotBreakers(&file); err != nil {
		fmt.Println(err)
		return
	}

	today, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer today.Close()
	if err := today.RestoreBreakers(&file); err != nil {
		fmt.Println(err)
		return
	}
	_, err = (&http.Client{Transport: today}).Get(dead.URL)
	var down *hostwise.HostDownError
	if errors.As(err, &down) {
		fmt.Println(down.Kind, "after", down.Failures, "failures, the last:", hostwise.KindOf(down.Last))
	}
	// Output:
	// connect_refused
	// host_down after 3 failures, the last: connect_refused
}

// Hosts of one site go down together, and a busy server is left alone for as
// long as it asks.
func ExampleBreakerOptions() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer site.Close()
	t, err := transport.New(nil, &transport.Options{Breaker: transport.BreakerOptions{
		Key: func(hostPort string) string { // or publicsuffix.EffectiveTLDPlusOne
			host, _, _ := net.SplitHostPort(hostPort)
			return host
		},
		HonorRetryAfter: true,
		OnChange:        func(c transport.HostChange) { fmt.Println(c.Host, "was", c.From, "and is", c.To) },
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	client := &http.Client{Transport: t}
	resp, err := client.Get(site.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	_, err = client.Get(site.URL)
	fmt.Println(hostwise.KindOf(err), "for", time.Until(hostwise.RetryAt(err)).Round(time.Minute))
	// Output:
	// 127.0.0.1 was up and is paused
	// 429 Too Many Requests
	// host_paused for 2m0s
}
