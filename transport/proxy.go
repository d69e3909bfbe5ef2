package transport

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

type proxyKey struct{}

// WithProxy returns a context whose requests choose their proxy with the
// given function, in the place of the Transport's own; see
// http.Transport.Proxy. It is called once for each round trip, with a
// shallow copy of the request, whose context it may replace.
func WithProxy(ctx context.Context, proxy func(*http.Request) (*url.URL, error)) context.Context {
	return context.WithValue(ctx, proxyKey{}, proxy)
}

// chooseProxy asks once for the proxy of a request, of which r is a copy.
func (t *Transport) chooseProxy(j *journey, r *http.Request) (err error) {
	proxy := t.proxy
	if p, ok := j.Context.Value(proxyKey{}).(func(*http.Request) (*url.URL, error)); ok {
		proxy = p
	}
	if proxy == nil {
		return nil
	}
	if j.proxy, err = proxy(r); err == nil && j.proxy != nil && t.guard.decides() {
		err = &hostwise.DeniedError{Host: j.key, Rule: "PublicOnly and Guard cannot vouch for a host that proxy " + j.proxy.Host + " resolves; do without the proxy or the rules for addresses"}
	}
	return err
}

// proxyAnswer turns a proxy's refusal to CONNECT into a typed error, after
// next, the user's own hook.
func (t *Transport) proxyAnswer(next func(context.Context, *url.URL, *http.Request, *http.Response) error) func(context.Context, *url.URL, *http.Request, *http.Response) error {
	return func(ctx context.Context, proxy *url.URL, connect *http.Request, resp *http.Response) error {
		if next != nil {
			var err error
			if fault := t.calls.Call(func() { err = next(ctx, proxy, connect, resp) }); fault != nil {
				err = &hostwise.ConnectError{Host: connect.Host, Proxy: failure.HostPort(proxy), Kind: hostwise.Other, Err: fault}
			}
			if err != nil {
				return err
			}
		}
		if resp.StatusCode == http.StatusOK {
			if j := journeyOf(ctx); j != nil {
				j.tunnelled()
			}
			return nil
		}
		kind := hostwise.ProxyGateway
		switch resp.StatusCode {
		case http.StatusProxyAuthRequired:
			kind = hostwise.ProxyAuth
		case http.StatusGatewayTimeout:
			kind = hostwise.ProxyTimeout
		}
		return &hostwise.ConnectError{Host: connect.Host, Proxy: failure.HostPort(proxy), Kind: kind, Err: errors.New(resp.Status)}
	}
}

// proxyHeader is next, the user's own function for the headers of CONNECT,
// whose panic is an error of the dial.
func (t *Transport) proxyHeader(next func(context.Context, *url.URL, string) (http.Header, error)) func(context.Context, *url.URL, string) (http.Header, error) {
	if next == nil {
		return nil
	}
	return func(ctx context.Context, proxy *url.URL, target string) (h http.Header, err error) {
		if fault := t.calls.Call(func() { h, err = next(ctx, proxy, target) }); fault != nil {
			return nil, &hostwise.ConnectError{Host: target, Proxy: failure.HostPort(proxy), Kind: hostwise.Other, Err: fault}
		}
		return h, err
	}
}
