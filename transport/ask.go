package transport

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise"
)

// HostDown returns the error that a request to a host:port would get at the
// moment, without one: for those who would rather do something else first. It
// is nil for a host that is not down, and when the next request is the one to
// find out. Asking costs a map look-up, begins no probe and is not counted in
// Stats. It says nothing of requests through a proxy, of addresses that do not
// answer for any name, which only a dial gets to know, or of outages.
func (t *Transport) HostDown(hostPort string) *hostwise.HostDownError {
	hostPort = strings.ToLower(hostPort)
	key, s := t.breaker.of(hostPort)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.hosts[key]; h != nil {
		return h.refusal(hostPort, time.Now())
	}
	return nil
}

// Proxy returns the proxy that base's Proxy chooses for a request: nil if it
// is to go to its host. It asks that function once more, which a switcher of
// proxies counts. It does not look at WithProxy.
func (t *Transport) Proxy(req *http.Request) (*url.URL, error) {
	if t.proxy == nil {
		return nil, nil
	}
	return t.proxy(req)
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
	addrs, err := t.lookup(ctx, network, host)
	if err != nil {
		return nil, asDNSError(host, err)
	}
	return addrs, nil
}
