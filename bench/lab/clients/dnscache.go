package clients

import (
	"context"
	"net"
	"net/http"
	"time"

	ncrucesdns "github.com/ncruces/go-dns"
	"github.com/rs/dnscache"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
)

// dnsCache is rs/dnscache.
func dnsCache(c crawl.Config) (crawl.Client, error) {
	t, stop := dnsCacheTransport(c)
	return crawl.HTTP(t, c, crawl.ClassifyStd, stop), nil
}

// dnsCacheTransport has the DialContext and the refresh loop of the README of
// rs/dnscache, word for word.
func dnsCacheTransport(c crawl.Config) (t *http.Transport, stop func()) {
	r := &dnscache.Resolver{}
	t = c.BaseTransport()
	t.DialContext = func(ctx context.Context, network string, addr string) (conn net.Conn, err error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ips, err := r.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		for _, ip := range ips {
			var dialer net.Dialer
			conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(ip, port))
			if err == nil {
				break
			}
		}
		return
	}
	done := make(chan struct{})
	go func() {
		t := time.NewTicker(5 * time.Minute)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				r.Refresh(true)
			case <-done:
				return
			}
		}
	}()
	return t, func() { close(done) }
}

// ncruces is ncruces/go-dns, a net.Resolver whose Dial caches messages. Its
// default of 150 entries would thrash with 1,000 hosts, so the cache is sized.
func ncruces(c crawl.Config) (crawl.Client, error) {
	return ncrucesClient(c, ncrucesdns.NewCachingResolver(nil, ncrucesdns.MaxCacheEntries(100_000))), nil
}

// ncrucesDefault is ncruces/go-dns as it comes.
func ncrucesDefault(c crawl.Config) (crawl.Client, error) {
	return ncrucesClient(c, ncrucesdns.NewCachingResolver(nil)), nil
}

func ncrucesClient(c crawl.Config, r *net.Resolver) crawl.Client {
	t := c.BaseTransport()
	t.DialContext = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Resolver: r}).DialContext
	return crawl.HTTP(t, c, crawl.ClassifyStd, nil)
}
