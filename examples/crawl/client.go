package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gocolly/colly/v2"

	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
)

// A client is what carries a collector's requests.
type client struct {
	name    string
	kind    func(error) string // what failed, as far as its user can tell
	queries func() int64       // DNS queries so far
	close   func() error
}

// A connector gives a collector its client.
type connector func(*world, *colly.Collector) (*client, error)

// base is http.DefaultTransport, trusting the certificates of the world.
func (w *world) base() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if w.net != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: w.net.RootCAs()}
		t.Proxy = nil // no proxy knows these names
	}
	return t
}

// counted returns the queries the world has seen or, where nobody counts
// there, those sent.
func (w *world) counted(sent func() int64) func() int64 {
	if w.net == nil {
		return sent
	}
	return func() int64 { return w.net.Stats().Queries }
}

// stock is what Colly's users have: Go's transport with its own dialer and
// resolver. The resolver is Go's on every system, and asks the world's
// nameserver; nothing else is changed.
func stock(w *world, c *colly.Collector) (*client, error) {
	var sent atomic.Int64
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		sent.Add(1) // one connection a query
		if w.net != nil {
			addr = w.net.DNSAddr()
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}
	t := w.base()
	t.DialContext = (&net.Dialer{
		Timeout:   30 * time.Second, // as in http.DefaultTransport
		KeepAlive: 30 * time.Second,
		Resolver:  resolver,
	}).DialContext
	c.WithTransport(t)
	return &client{
		name:    "stock",
		kind:    stdKind,
		queries: w.counted(sent.Load),
		close:   func() error { t.CloseIdleConnections(); return nil },
	}, nil
}

// wise is the same collector on hostwise.
func wise(w *world, c *colly.Collector) (*client, error) {
	var opt dnscache.Options
	if w.net != nil {
		opt.Servers = []string{w.net.DNSAddr()}
		opt.HostsFile = os.DevNull
	}
	r, err := dnscache.New(&opt)
	if err != nil {
		return nil, err
	}
	t, err := transport.New(w.base(), &transport.Options{Resolver: r})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	stop := func() error { return errors.Join(t.Close(), r.Close()) }
	if _, err := hostwisecolly.Attach(c, t); err != nil {
		return nil, errors.Join(err, stop())
	}
	return &client{
		name:    "hostwise",
		kind:    func(err error) string { return string(hostwise.KindOf(err)) },
		queries: w.counted(func() int64 { return int64(r.Stats().Queries) }),
		close:   stop,
	}, nil
}
