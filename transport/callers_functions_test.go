package transport_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/hostwise-go/hostwise/transport"
)

var callersFunctions = []struct {
	name  string
	leads consequence
	setup func(c *callersWorld)
}{
	{"Options.DialDone", none, func(c *callersWorld) { c.o.DialDone = func(r transport.DialReport) { c.toA(r.Host) } }},
	{"Resolver", anError, func(c *callersWorld) {
		c.o.Resolver = resolverFunc(func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			c.toA(host)
			return c.r.LookupNetIP(ctx, network, host)
		})
	}},
	{"DialContext", anError, func(c *callersWorld) {
		c.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c.toA(address)
			return c.net.DialContext(ctx, network, address)
		}
	}},
	{"DialContext to a proxy", anError, func(c *callersWorld) {
		c.viaProxy()
		c.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "192.0.2.8:80" {
				c.act()
			}
			return c.net.DialContext(ctx, network, address)
		}
	}},
	{"VerifyConnection", anError, func(c *callersWorld) {
		c.req = c.get("https://a.test/")
		c.base.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error { c.act(); return nil }
	}},
	{"VerifyConnection behind a proxy", anError, func(c *callersWorld) {
		c.viaProxy()
		c.base.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error { c.act(); return nil }
	}},
	{"Proxy", callers, func(c *callersWorld) {
		c.base.Proxy = func(r *http.Request) (*url.URL, error) { c.toA(r.URL.Host); return nil, nil }
	}},
	{"OnProxyConnectResponse", anError, func(c *callersWorld) {
		c.viaProxy()
		c.base.OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error { c.act(); return nil }
	}},
	{"GetProxyConnectHeader", anError, func(c *callersWorld) {
		c.viaProxy()
		c.base.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { c.act(); return nil, nil }
	}},
	{"Key, in RoundTrip", callers, func(c *callersWorld) { c.key(1) }},
	{"Key, in the dial", anError, func(c *callersWorld) { c.key(2) }},
	{"Key, in the dial again", anyOfThe, func(c *callersWorld) { c.key(3) }},
	{"Key, later", anyOfThe, func(c *callersWorld) { c.key(4) }},
	{"Key, when a proxy is dialled", anError, func(c *callersWorld) {
		c.viaProxy()
		c.o.Breaker.Key = func(k string) string {
			if k == "192.0.2.8:80" {
				c.act()
			}
			return k
		}
	}},
	{"Guard.Check", denial, func(c *callersWorld) {
		c.o.Guard.Check = func(host string, _ netip.AddrPort) error { c.toA(host); return nil }
	}},
	{"GetConn", callers, func(c *callersWorld) { c.trace(httptrace.ClientTrace{GetConn: func(string) { c.act() }}) }},
	{"GotConn", callers, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { c.act() }})
	}},
	{"DNSStart", anError, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{DNSStart: func(httptrace.DNSStartInfo) { c.act() }})
	}},
	{"DNSDone", anError, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{DNSDone: func(httptrace.DNSDoneInfo) { c.act() }})
	}},
	{"ConnectStart", anError, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{ConnectStart: func(string, string) { c.act() }})
	}},
	{"ConnectDone", anError, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{ConnectDone: func(string, string, error) { c.act() }})
	}},
	{"TLSHandshakeDone", none, func(c *callersWorld) { // net/http's own handshake, behind a proxy
		c.viaProxy()
		c.trace(httptrace.ClientTrace{TLSHandshakeDone: func(tls.ConnectionState, error) { c.act() }})
	}},
	{"WroteHeaderField", none, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{WroteHeaderField: func(string, []string) { c.act() }})
	}},
	{"WroteHeaders", none, func(c *callersWorld) { c.trace(httptrace.ClientTrace{WroteHeaders: func() { c.act() }}) }},
	{"WroteRequest", none, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { c.act() }})
	}},
	{"GotFirstResponseByte", none, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{GotFirstResponseByte: func() { c.act() }})
	}},
	{"PutIdleConn", none, func(c *callersWorld) {
		c.trace(httptrace.ClientTrace{PutIdleConn: func(error) { c.act() }})
	}},
	{"Got1xxResponse", anError, func(c *callersWorld) {
		c.req = c.get("http://a.test/hints")
		c.trace(httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { c.act(); return nil }})
	}},
	{"the body's Read", anError, func(c *callersWorld) {
		c.req = func() (*http.Request, error) {
			return http.NewRequestWithContext(c.ctx, "POST", "http://a.test/", readerFunc(func([]byte) (int, error) { c.act(); return 0, io.EOF }))
		}
	}},
	{"the body's Close", anError, func(c *callersWorld) {
		c.req = func() (*http.Request, error) {
			return http.NewRequestWithContext(c.ctx, "POST", "http://a.test/", closerFunc{strings.NewReader("x"), c.act})
		}
	}},
}
