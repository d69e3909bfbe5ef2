package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptrace"
	"net/textproto"

	"github.com/hostwise-go/hostwise/internal/hook"
)

// user is the trace of the request's own context; nil if it has none.
func (j *journey) user() *httptrace.ClientTrace { return httptrace.ContextClientTrace(j.Context) }

// withTrace returns j as a context with a trace that calls gotConn and
// wroteRequest, and the user's hooks. Of those, net/http calls all but GetConn
// and GotConn on goroutines of its own, which they must not end, nor the
// process with them; what they do in dials, dialJourney sees to.
func (j *journey) withTrace(user *httptrace.ClientTrace) context.Context {
	j.hooks = make(chan struct{}, 1)
	j.trace = *user
	t := &j.trace
	j.getConn, t.GetConn = user.GetConn, nil // net/http calls it under a lock of HTTP/2's
	t.GotConn = func(i httptrace.GotConnInfo) {
		j.gotConn(i)
		if user.GotConn != nil {
			user.GotConn(i)
		}
	}
	told := guarded1(j.calls, user.WroteRequest)
	t.WroteRequest = func(i httptrace.WroteRequestInfo) {
		j.wroteRequest(i)
		if told != nil {
			told(i)
		}
	}
	if f := user.PutIdleConn; f != nil { // for which net/http has the end of the body wait, under a lock
		t.PutIdleConn = func(err error) { j.calls.Go(func() { f(err) }) }
	}
	t.GotFirstResponseByte = guarded0(j.calls, user.GotFirstResponseByte)
	t.Got100Continue = guarded0(j.calls, user.Got100Continue)
	t.TLSHandshakeStart = guarded0(j.calls, user.TLSHandshakeStart)
	t.WroteHeaders = guarded0(j.calls, user.WroteHeaders)
	t.Wait100Continue = guarded0(j.calls, user.Wait100Continue)
	if f := user.TLSHandshakeDone; f != nil {
		t.TLSHandshakeDone = func(s tls.ConnectionState, err error) { _ = j.calls.Call(func() { f(s, err) }) }
	}
	if f := user.WroteHeaderField; f != nil {
		t.WroteHeaderField = func(key string, value []string) { _ = j.calls.Call(func() { f(key, value) }) }
	}
	if f := user.Got1xxResponse; f != nil {
		t.Got1xxResponse = func(code int, header textproto.MIMEHeader) (err error) {
			if fault := j.calls.Call(func() { err = f(code, header) }); fault != nil {
				return fault
			}
			return err
		}
	}
	return httptrace.WithClientTrace(withoutTrace{j}, t)
}

func guarded0(calls *hook.Group, f func()) func() {
	if f == nil {
		return nil
	}
	return func() { _ = calls.Call(f) }
}

func guarded1[T any](calls *hook.Group, f func(T)) func(T) {
	if f == nil {
		return nil
	}
	return func(x T) { _ = calls.Call(func() { f(x) }) }
}

// guardTLS has a panic of c's functions be an error of the handshake, which
// behind a proxy is on a goroutine of net/http's.
func guardTLS(calls *hook.Group, c *tls.Config) {
	if c == nil {
		return
	}
	guard := func(f func() error) (err error) {
		if fault := calls.Call(func() { err = f() }); fault != nil {
			return fault
		}
		return err
	}
	if f := c.VerifyConnection; f != nil {
		c.VerifyConnection = func(s tls.ConnectionState) error { return guard(func() error { return f(s) }) }
	}
	if f := c.EncryptedClientHelloRejectionVerify; f != nil {
		c.EncryptedClientHelloRejectionVerify = func(s tls.ConnectionState) error { return guard(func() error { return f(s) }) }
	}
	if f := c.VerifyPeerCertificate; f != nil {
		c.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			return guard(func() error { return f(raw, chains) })
		}
	}
	if f := c.GetClientCertificate; f != nil {
		c.GetClientCertificate = func(i *tls.CertificateRequestInfo) (cert *tls.Certificate, err error) {
			err = guard(func() (err error) { cert, err = f(i); return err })
			return cert, err
		}
	}
}
