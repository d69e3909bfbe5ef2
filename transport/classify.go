package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// contextKind is the Kind of a failure that a context's end brought about;
// timeout is the phase's own word for running out of time.
func contextKind(err error, timeout hostwise.Kind) hostwise.Kind {
	if errors.Is(err, context.DeadlineExceeded) {
		return timeout
	}
	return hostwise.Canceled
}

// explain makes the error that RoundTrip returns of the inner transport's.
// cut says that the request's context ended it, not the other side.
func (j *journey) explain(err error, s snapshot) (_ error, cut bool) {
	if own := ours(err); own != nil && hostwise.KindOf(own) != hostwise.Canceled {
		return own, false
	}
	ctxErr := failure.Context(j.Context)
	if deadline, ok := j.Deadline(); ctxErr == nil && ok && (s.gaveUp || !time.Now().Before(deadline)) {
		ctxErr = context.DeadlineExceeded // http.Client's own timer may come before the context's
	}
	switch own := ours(err); {
	case ctxErr != nil:
		return j.interrupted(ctxErr, s), true
	case own != nil:
		return own, false
	case s.stalled:
		return &hostwise.RequestError{Host: j.key, Addr: s.addr, Kind: s.stallKind(), Phase: hostwise.PhaseRequest, Err: errStalled}, false
	case s.sending != nil: // the caller's doing, not the host's
		return &hostwise.RequestError{Host: j.key, Addr: s.addr, Kind: hostwise.Other, Phase: hostwise.PhaseRequest, Err: err}, false
	case s.connected && isForeign(err, s.reused):
		return &hostwise.RequestError{Host: j.key, Addr: s.addr, Kind: hostwise.HTTPReset, Phase: hostwise.PhaseRequest, Err: errForeign}, false
	case s.connected && !s.reused && isAlert(err): // TLS 1.3: RFC 8446, section 4.4.2.4
		return &hostwise.TLSError{Host: j.key, Addr: s.addr, Kind: hostwise.TLSAlert, Err: err}, false
	case s.connected:
		return &hostwise.RequestError{Host: j.key, Addr: s.addr, Kind: requestKind(err), Phase: hostwise.PhaseRequest, Err: err}, false
	case s.dial == nil: // net/http refused the request
		return err, false
	case j.proxy != nil:
		return j.proxyFailed(err, s), false
	}
	return &hostwise.RequestError{Host: j.key, Kind: requestKind(err), Phase: hostwise.PhaseRequest, Err: err}, false
}

// stallKind is what a server has done that had its time without an answer.
func (s *snapshot) stallKind() hostwise.Kind {
	switch {
	case s.refused:
		return hostwise.H2RefusedStream
	case !s.wrote:
		return hostwise.HTTPWriteTimeout
	}
	return hostwise.HTTPHeaderTimeout
}

// interrupted is the error of a request whose context ended: the type says
// in which phase, and it holds what was learned so far.
func (j *journey) interrupted(ctxErr error, s snapshot) error {
	switch {
	case s.connected:
		timeout := s.stallKind()
		if !s.wrote && !s.awaited { // the caller's body took the time
			timeout = hostwise.Deadline
		}
		return &hostwise.RequestError{Host: j.key, Addr: s.addr, Kind: contextKind(ctxErr, timeout), Phase: hostwise.PhaseRequest, Err: ctxErr}
	case s.dialing:
		return s.dial.interrupted(ctxErr)
	case s.dialErr != nil: // net/http prefers the context's error
		return s.dialErr
	case s.tunnel: // and so has the host
		return &hostwise.TLSError{Host: j.key, Kind: contextKind(ctxErr, hostwise.TLSTimeout), Err: ctxErr}
	case s.dial != nil && j.proxy != nil: // the proxy has been reached
		return &hostwise.ConnectError{Host: j.key, Proxy: failure.HostPort(j.proxy), Kind: contextKind(ctxErr, hostwise.ProxyTimeout), Err: ctxErr}
	}
	// It waited for its turn: MaxConnsPerHost.
	return &hostwise.ConnectError{Host: j.key, Kind: contextKind(ctxErr, hostwise.Deadline), Err: ctxErr}
}

// proxyFailed is the error of a request that failed between the connection
// to the proxy and the request itself: CONNECT, SOCKS, or TLS through them.
func (j *journey) proxyFailed(err error, s snapshot) error {
	if s.tunnel {
		return &hostwise.TLSError{Host: j.key, Kind: handshakeKind(err), Err: err}
	}
	kind := hostwise.ProxyGateway
	var op *net.OpError
	switch socks := errors.As(err, &op) && strings.HasPrefix(op.Op, "socks"); {
	case isTimeout(err):
		kind = hostwise.ProxyTimeout
	case socks && strings.Contains(err.Error(), "authentication"): // RFC 1928, section 3; RFC 1929
		kind = hostwise.ProxyAuth
	case socks, j.proxy.Scheme == "http", j.proxy.Scheme == "https":
	default: // through SOCKS, of which nothing tells when it has done its part
		if k := tlsKind(err); k != hostwise.Other {
			return &hostwise.TLSError{Host: j.key, Kind: k, Err: err}
		}
	}
	return &hostwise.ConnectError{Host: j.key, Proxy: failure.HostPort(j.proxy), Kind: kind, Err: err}
}

// ours returns err if it is one of the six types, without the *net.OpError
// that net/http puts around a failed dial to a proxy; else nil.
func ours(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		err = op.Err
	}
	switch err.(type) {
	case *hostwise.DNSError, *hostwise.ConnectError, *hostwise.TLSError, *hostwise.RequestError, *hostwise.HostDownError, *hostwise.DeniedError:
		return err
	}
	return nil
}

// withElapsed returns a copy of one of our errors, which others may look at as
// well, that says how long the phases took.
func withElapsed(err error, e hostwise.Elapsed) error {
	switch err := err.(type) {
	case *hostwise.DNSError:
		c := *err
		c.Elapsed = e
		return &c
	case *hostwise.ConnectError:
		c := *err
		c.Elapsed = e
		return &c
	case *hostwise.TLSError:
		c := *err
		c.Elapsed = e
		return &c
	case *hostwise.RequestError:
		c := *err
		c.Elapsed = e
		return &c
	}
	return err
}

// connectKind classifies a failed connect.
func connectKind(err error) hostwise.Kind {
	if k, local := failure.Local(err); local {
		return k
	}
	var denied *hostwise.DeniedError
	switch {
	case errors.As(err, &denied):
		return hostwise.PolicyDenied
	case errors.Is(err, syscall.ECONNREFUSED):
		return hostwise.ConnectRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED):
		return hostwise.ConnectReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EAFNOSUPPORT):
		return hostwise.ConnectUnreachable
	case isTimeout(err):
		return hostwise.ConnectTimeout
	}
	return hostwise.Other
}

// tlsKind classifies a failed handshake; Other means that err is not known
// to come from one.
func tlsKind(err error) hostwise.Kind {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		alert     tls.AlertError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return hostwise.TLSUnknownCA
	case errors.As(err, &hostname):
		return hostwise.TLSHostname
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hostwise.TLSExpired
	case errors.As(err, &invalid), errors.As(err, &verify):
		return hostwise.TLSInvalid
	case errors.As(err, &record):
		return hostwise.TLSNotTLS
	case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error", errors.As(err, &op) && op.Op == "local error":
		return hostwise.TLSAlert
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return hostwise.TLSReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return hostwise.TLSEOF
	case err.Error() == "net/http: TLS handshake timeout":
		return hostwise.TLSTimeout
	case strings.HasPrefix(err.Error(), "tls: "):
		return hostwise.TLSInvalid
	}
	return hostwise.Other
}

// handshakeKind is tlsKind for an error that does come from a handshake.
func handshakeKind(err error) hostwise.Kind {
	if k := tlsKind(err); k != hostwise.Other {
		return k
	}
	if isTimeout(err) {
		return hostwise.TLSTimeout
	}
	return hostwise.Other // our own: a failing callback of the tls.Config
}

// requestKind classifies the failure of a request over a connection. For
// HTTP/2, and for malformed responses, net/http has no types to ask for.
func requestKind(err error) hostwise.Kind {
	switch {
	case hook.IsFault(err): // of the caller's, whatever net/http says of the connection
		return hostwise.Other
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return hostwise.HTTPReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return hostwise.HTTPEOF
	case errors.Is(err, http.ErrSchemeMismatch):
		return hostwise.HTTPMalformed
	case isTimeout(err):
		return hostwise.HTTPHeaderTimeout
	}
	text := err.Error()
	for _, k := range [...]struct {
		words string
		kind  hostwise.Kind
	}{
		{"http: server closed idle connection", hostwise.HTTPEOF},
		{"http2: client connection lost", hostwise.HTTPHeaderTimeout},     // no answer to a PING
		{"http2: client conn could not be established", hostwise.HTTPEOF}, // it ended before the server's SETTINGS
		{"GOAWAY", hostwise.H2GoAway},
		{"REFUSED_STREAM", hostwise.H2RefusedStream},
		{"server response headers exceeded", hostwise.HTTPHeaderTooLarge},
		{"response header list larger", hostwise.HTTPHeaderTooLarge}, // HTTP/2
		{"malformed", hostwise.HTTPMalformed},
		{"transport connection broken", hostwise.HTTPMalformed}, // response headers that net/http does not accept
		{"chunk", hostwise.HTTPMalformed},
		{"header line too long", hostwise.HTTPMalformed}, // that of a chunk
		{"http2: frame too large", hostwise.HTTPMalformed},
		{"gzip: ", hostwise.HTTPMalformed},
		{"flate: ", hostwise.HTTPMalformed},
		{"received from peer", hostwise.HTTPReset}, // RST_STREAM: RFC 9113, section 6.4
		{"stream error: ", hostwise.HTTPMalformed}, // and this is our own word for what the server sent
		{"connection error: ", hostwise.HTTPMalformed},
	} {
		if strings.Contains(text, k.words) {
			return k.kind
		}
	}
	return hostwise.Other
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// isAlert reports whether err is an alert of the other side's: the last word
// of a server that finds the client's half of the handshake wanting, when the
// client has taken it for done.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
