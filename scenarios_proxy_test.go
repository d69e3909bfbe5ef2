package hostwise_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

// The proxy fails, or it says that the host does. The proxy has an account of
// its own; the host's is charged for nothing that a proxy says.
var proxyScenarios = []scenario{
	{"proxy with a closed port", proxied("http", closed), connectError, hostwise.ProxyConnect, connect, false, is(syscall.ECONNREFUSED), proxy},
	{"SOCKS proxy with a closed port", proxied("socks5", closed), connectError, hostwise.ProxyConnect, connect, false, is(syscall.ECONNREFUSED), proxy},
	{"proxy does not connect", proxied("http", full), connectError, hostwise.ProxyTimeout, connect, true, is(context.DeadlineExceeded), proxy},
	{"proxy's name does not exist", noProxy(rcode(dns.RcodeNameError)), connectError, hostwise.ProxyDNS, connect, false, notFound, nobody},
	{"proxy's name does not resolve", noProxy(rcode(dns.RcodeServerFailure)), connectError, hostwise.ProxyDNS, connect, false, as[*net.DNSError], nobody},
	{"proxy over TLS with an unknown authority", secureProxy, connectError, hostwise.ProxyConnect, connect, false, as[x509.UnknownAuthorityError], proxy},
	{"407 on CONNECT", tunnel("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), connectError, hostwise.ProxyAuth, connect, false, anything, nobody},
	{"403 on CONNECT", tunnel("HTTP/1.1 403 Forbidden\r\n\r\n"), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"502 on CONNECT", tunnel("HTTP/1.1 502 Bad Gateway\r\n\r\n"), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"503 on CONNECT", tunnel("HTTP/1.1 503 Service Unavailable\r\n\r\n"), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"504 on CONNECT", tunnel("HTTP/1.1 504 Gateway Timeout\r\n\r\n"), connectError, hostwise.ProxyTimeout, connect, true, anything, nobody},
	{"no answer to CONNECT", secure(proxied("http", mute)), connectError, hostwise.ProxyTimeout, connect, true, is(context.DeadlineExceeded), nobody},
	{"CONNECT, and closed", tunnel(""), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"no HTTP to CONNECT", tunnel("SSH-2.0-OpenSSH_9.6\r\n"), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"SOCKS: host unreachable", socks("\x05\x00", "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"SOCKS: connection refused", socks("\x05\x00", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"), connectError, hostwise.ProxyGateway, connect, false, anything, nobody},
	{"SOCKS: no method that is acceptable", socks("\x05\xff", ""), connectError, hostwise.ProxyAuth, connect, false, anything, nobody},
	{"SOCKS: silence", proxied("socks5", mute), connectError, hostwise.ProxyTimeout, connect, true, is(context.DeadlineExceeded), nobody},
	{"tunnel to an unknown authority", tunnelTo(newIssuer()), tlsError, hostwise.TLSUnknownCA, inTLS, false, as[x509.UnknownAuthorityError], nobody},
	{"proxy answers a request with nothing", proxied("http", closes), requestError, hostwise.HTTPEOF, request, false, is(io.EOF), nobody},
	{"proxy answers a request never", proxied("http", mute), requestError, hostwise.HTTPHeaderTimeout, request, true, is(context.DeadlineExceeded), nobody},
	{"a proxy, with PublicOnly", publicOnly(proxied("http", closed)), deniedError, hostwise.PolicyDenied, connect, false, anything, nobody},
}

// proxied sends a plain request through a proxy at a port.
func proxied(scheme string, port func(*lab) string) fixture {
	return func(l *lab) string {
		l.useProxy(scheme, port(l))
		return "http://" + hostName
	}
}

func closed(l *lab) string {
	l.kernel()
	return l.closedPort()
}

func full(l *lab) string {
	return portOf(addrOf(blackHole(l)))
}

// addrOf is the host:port of a URL.
type addrOf string

func (a addrOf) Network() string { return "tcp" }
func (a addrOf) String() string  { return string(a)[len("http://"):] }

func mute(l *lab) string {
	l.silent = true
	return l.serve(func(c net.Conn) {
		readSome(c)
		l.hang()
	})
}

func closes(l *lab) string {
	return l.serve(func(c net.Conn) {
		readSome(c)
		l.ready()
	})
}

func publicOnly(f fixture) fixture {
	return func(l *lab) string {
		l.atOnce, l.opt.PublicOnly = true, true
		return f(l)
	}
}

// noProxy has the nameserver not give the proxy's address.
func noProxy(changes ...func(*dns.Msg)) fixture {
	return func(l *lab) string {
		replies(changes...)(l)
		l.useProxy("http", "8080")
		return "http://" + hostName
	}
}

func secureProxy(l *lab) string {
	l.useProxy("https", l.serveTLS(&tls.Config{Certificates: []tls.Certificate{newIssuer().issue(nil)}}, nil))
	return "https://" + hostName
}

// tunnel answers CONNECT.
func tunnel(answer string) fixture {
	return secure(proxied("http", func(l *lab) string {
		return l.serve(func(c net.Conn) {
			if readRequest(c) {
				l.ready()
				fmt.Fprint(c, answer)
			}
		})
	}))
}

// socks chooses a method and answers the request: RFC 1928, sections 3 and 6.
func socks(method, reply string) fixture {
	return proxied("socks5", func(l *lab) string {
		return l.serve(func(c net.Conn) {
			readSome(c)
			if reply == "" {
				l.ready()
			}
			fmt.Fprint(c, method)
			readSome(c)
			l.ready()
			fmt.Fprint(c, reply)
		})
	})
}

// tunnelTo leads to a host with a certificate of by's.
func tunnelTo(by *issuer) fixture {
	return secure(proxied("http", func(l *lab) string {
		config := &tls.Config{Certificates: []tls.Certificate{by.issue(nil)}}
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			l.ready()
			return nil, nil
		}
		return l.serve(func(c net.Conn) {
			if readRequest(c) {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
				tls.Server(c, config).Handshake()
			}
		})
	}))
}
