package hostwise_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise"
)

// The host is connected to, and there is no TLS session.
var tlsScenarios = []scenario{
	{"an unknown authority", stranger, tlsError, hostwise.TLSUnknownCA, inTLS, false, as[x509.UnknownAuthorityError], host},
	{"a certificate signed by itself", signedByItself, tlsError, hostwise.TLSUnknownCA, inTLS, false, as[*tls.CertificateVerificationError], host},
	{"another name", certified(func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }), tlsError, hostwise.TLSHostname, inTLS, false, as[x509.HostnameError], host},
	{"no name", certified(func(c *x509.Certificate) { c.DNSNames = nil }), tlsError, hostwise.TLSHostname, inTLS, false, as[x509.HostnameError], host},
	{"expired", certified(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = hours(-3), hours(-2) }), tlsError, hostwise.TLSExpired, inTLS, false, as[x509.CertificateInvalidError], host},
	{"not yet valid", certified(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = hours(2), hours(3) }), tlsError, hostwise.TLSExpired, inTLS, false, as[x509.CertificateInvalidError], host},
	{"a certificate for clients", certified(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), tlsError, hostwise.TLSInvalid, inTLS, false, as[x509.CertificateInvalidError], host},
	{"a critical extension that nobody knows", certified(unknownExtension), tlsError, hostwise.TLSInvalid, inTLS, false, as[x509.UnhandledCriticalExtension], host},
	{"refused by the base transport's VerifyConnection", unwanted, tlsError, hostwise.Other, inTLS, false, is(errUnwanted), nobody},
	{"no version in common", configured(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), tlsError, hostwise.TLSAlert, inTLS, false, as[*net.OpError], host},
	{"no such name here", configured(func(c *tls.Config) { c.Certificates = nil }), tlsError, hostwise.TLSAlert, inTLS, false, as[*net.OpError], host},
	{"a client's certificate is wanted, TLS 1.2", configured(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, tls.VersionTLS12), tlsError, hostwise.TLSAlert, inTLS, false, as[*net.OpError], host},
	{"an HTTP server", speaks("HTTP/1.1 400 Bad Request\r\n\r\n"), tlsError, hostwise.TLSNotTLS, inTLS, false, all(is(http.ErrSchemeMismatch), as[tls.RecordHeaderError]), host},
	{"an SSH server", speaks("SSH-2.0-OpenSSH_9.6\r\n"), tlsError, hostwise.TLSNotTLS, inTLS, false, as[tls.RecordHeaderError], host},
	{"an unexpected message", speaks("\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), tlsError, hostwise.TLSInvalid, inTLS, false, anything, host},
	{"an alert instead of a hello", speaks("\x15\x03\x03\x00\x02\x02\x28"), tlsError, hostwise.TLSAlert, inTLS, false, as[*net.OpError], host},
	{"silence after the hello", speaksNot, tlsError, hostwise.TLSTimeout, inTLS, true, is(context.DeadlineExceeded), host},
	{"half a hello, and silence", halfHello, tlsError, hostwise.TLSTimeout, inTLS, true, is(context.DeadlineExceeded), host},
	{"closed after the hello", speaks(""), tlsError, hostwise.TLSEOF, inTLS, false, is(io.EOF), host},
	{"half a hello, and closed", speaks("\x16\x03\x03\x00\x50\x02"), tlsError, hostwise.TLSEOF, inTLS, false, is(io.ErrUnexpectedEOF), host},
	{"reset after the hello", resets, tlsError, hostwise.TLSReset, inTLS, false, is(syscall.ECONNRESET), host},
	{"silence on one address, a bad certificate on the other", mixed, tlsError, hostwise.TLSUnknownCA, inTLS, false, as[x509.UnknownAuthorityError], host},
}

func hours(n int) time.Time { return time.Now().Add(time.Duration(n) * time.Hour) }

func httpsURL(port string) string { return "https://" + net.JoinHostPort(hostName, port) }

// serveTLS shakes hands with a configuration, and then calls f; the handshake
// is what fails if f is nil.
func (l *lab) serveTLS(c *tls.Config, f func(*tls.Conn)) string {
	if f == nil {
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			l.ready()
			return nil, nil
		}
	}
	return l.serve(func(raw net.Conn) {
		conn := tls.Server(raw, c)
		if conn.Handshake() != nil {
			return
		}
		if f != nil {
			f(conn)
		}
		conn.Close()
	})
}

func presents(cert tls.Certificate) fixture {
	return func(l *lab) string {
		return httpsURL(l.serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}}, nil))
	}
}

func certified(change func(*x509.Certificate)) fixture {
	return func(l *lab) string { return presents(authority().issue(change))(l) }
}

func stranger(l *lab) string { return presents(newIssuer().issue(nil))(l) }

func signedByItself(l *lab) string {
	cert, key := certificate(&x509.Certificate{DNSNames: []string{hostName}}, nil)
	return presents(tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key})(l)
}

func unknownExtension(c *x509.Certificate) {
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999}, Critical: true, Value: []byte{5, 0}}}
}

var errUnwanted = errors.New("not the host that was here yesterday")

func unwanted(l *lab) string {
	l.base.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error { return errUnwanted }
	return certified(nil)(l)
}

// configured has a server that differs in its configuration, and a client of
// one version of TLS, 1.3 if none is given.
func configured(change func(*tls.Config), version ...uint16) fixture {
	return func(l *lab) string {
		client := l.base.TLSClientConfig
		client.MinVersion = tls.VersionTLS13
		if version != nil {
			client.MinVersion, client.MaxVersion = version[0], version[0]
		}
		c := &tls.Config{Certificates: []tls.Certificate{authority().issue(nil)}}
		change(c)
		return httpsURL(l.serveTLS(c, nil))
	}
}

// speaks reads a little and answers with bytes.
func speaks(answer string) fixture {
	return func(l *lab) string {
		return httpsURL(l.serve(func(c net.Conn) {
			readSome(c)
			l.ready()
			fmt.Fprint(c, answer)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}))
	}
}

// readSome reads what has come, the whole of a short message.
func readSome(c net.Conn) { c.Read(make([]byte, 64<<10)) }

func speaksNot(l *lab) string {
	l.silent = true
	return httpsURL(l.serve(func(c net.Conn) {
		readSome(c)
		l.hang()
	}))
}

func halfHello(l *lab) string {
	l.silent = true
	return httpsURL(l.serve(func(c net.Conn) {
		readSome(c)
		fmt.Fprint(c, "\x16\x03\x03\x00\x50\x02")
		l.hang()
	}))
}

func resets(l *lab) string {
	return httpsURL(l.serve(func(c net.Conn) {
		readSome(c)
		l.ready()
		reset(c)
	}))
}

// mixed has two addresses, of which only one has a certificate to show.
func mixed(l *lab) string {
	u := stranger(l)
	_, port, _ := net.SplitHostPort(u[len("https://"):])
	ln, err := net.Listen("tcp4", "127.0.0.2:"+port)
	if err != nil {
		l.t.Skip("no second loopback address here:", err)
	}
	l.keep(ln) // and accept nothing
	l.hostAt(port, "127.0.0.2", localhost)
	return u
}
