package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

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
