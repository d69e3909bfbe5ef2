package transport

import (
	"context"
	"net/netip"
	"net/url"
	"time"

	"github.com/hostwise-go/hostwise"
)

// HostDown returns the error that a request for u would get without being
// tried, and nil if it would be tried. Asking costs a map look-up and begins no
// probe. It says nothing of requests through a proxy.
func (t *Transport) HostDown(u *url.URL) *hostwise.HostDownError {
	return t.breaker.refuses(hostPort(u), time.Now())
}

// Lookup resolves host as a dial would: by the same Resolver, and only the
// families that a dial would ask for, so that a later dial finds the answer
// in the Resolver's cache, if it has one. It takes Options.DialTimeout at the
// most. Errors are *hostwise.DNSError, and net.ErrClosed after Close.
func (t *Transport) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := t.closed(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(withoutTrace{ctx}, t.opt.DialTimeout)
	defer cancel()
	network := "ip"
	for f, left := range t.routes.without(t.without("tcp"), time.Now()) {
		if left {
			network = networks[1-f]
		}
	}
	addrs, err := t.resolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, asDNSError(host, err)
	}
	return addrs, nil
}
