package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
)

func opError(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, errno)}
}

func TestConnectKind(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want hostwise.Kind
	}{
		{opError("connect", syscall.ECONNREFUSED), hostwise.ConnectRefused},
		{opError("connect", syscall.ECONNRESET), hostwise.ConnectReset},
		{opError("connect", syscall.ECONNABORTED), hostwise.ConnectReset},
		{opError("connect", syscall.EHOSTUNREACH), hostwise.ConnectUnreachable},
		{opError("connect", syscall.ENETUNREACH), hostwise.ConnectUnreachable},
		{opError("connect", syscall.EAFNOSUPPORT), hostwise.ConnectUnreachable},
		{opError("connect", syscall.ETIMEDOUT), hostwise.ConnectTimeout},
		{&net.OpError{Op: "dial", Err: errTimeout{}}, hostwise.ConnectTimeout},
		{context.DeadlineExceeded, hostwise.ConnectTimeout},
		{os.ErrDeadlineExceeded, hostwise.ConnectTimeout},
		{opError("socket", syscall.EMFILE), hostwise.LocalFDs},
		{opError("socket", syscall.ENFILE), hostwise.LocalFDs},
		{opError("socket", syscall.ENOBUFS), hostwise.LocalFDs},
		{opError("connect", syscall.EADDRNOTAVAIL), hostwise.LocalPorts},
		{opError("connect", syscall.EADDRINUSE), hostwise.LocalPorts},
		{opError("connect", syscall.EACCES), hostwise.LocalDenied},
		{opError("connect", syscall.EPERM), hostwise.LocalDenied},
		{opError("connect", syscall.ENETDOWN), hostwise.LocalOutage},
		{context.Canceled, hostwise.Other},
		{errors.New("strange"), hostwise.Other},
	} {
		if got := connectKind(tt.err); got != tt.want {
			t.Errorf("connectKind(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestConnectKinds(t *testing.T) {
	refused, timeout, reset := opError("connect", syscall.ECONNREFUSED), opError("connect", syscall.ETIMEDOUT), opError("connect", syscall.ECONNRESET)
	noRoute, noFile, denied := opError("connect", syscall.ENETUNREACH), opError("socket", syscall.EMFILE), opError("connect", syscall.EPERM)
	for _, tt := range []struct {
		errs []error
		want hostwise.Kind
	}{
		{[]error{timeout, refused}, hostwise.ConnectRefused},
		{[]error{timeout, reset}, hostwise.ConnectReset},
		{[]error{noRoute, timeout}, hostwise.ConnectTimeout},
		{[]error{denied, noRoute}, hostwise.ConnectUnreachable},
		{[]error{refused, timeout, noFile}, hostwise.LocalFDs},
		{[]error{denied, errors.New("strange")}, hostwise.LocalDenied},
		{[]error{errors.New("strange")}, hostwise.Other},
	} {
		var attempts []hostwise.Attempt
		for _, err := range tt.errs {
			attempts = append(attempts, hostwise.Attempt{Err: err})
		}
		if got := connectKinds(attempts); got != tt.want {
			t.Errorf("connectKinds(%v) = %s, want %s", tt.errs, got, tt.want)
		}
	}
}

func TestTLSKind(t *testing.T) {
	verification := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, tt := range []struct {
		err         error
		want        hostwise.Kind
		certificate bool
	}{
		{verification(x509.UnknownAuthorityError{}), hostwise.TLSUnknownCA, true},
		{x509.UnknownAuthorityError{}, hostwise.TLSUnknownCA, true},
		{verification(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a.test"}), hostwise.TLSHostname, true},
		{verification(x509.CertificateInvalidError{Reason: x509.Expired}), hostwise.TLSExpired, true},
		{verification(x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}), hostwise.TLSInvalid, true},
		{verification(errors.New("a check of the user's own")), hostwise.TLSInvalid, true},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, hostwise.TLSNotTLS, false},
		{plainHTTP(tls.RecordHeaderError{Msg: "x", RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}), hostwise.TLSNotTLS, false},
		{tls.AlertError(40), hostwise.TLSAlert, false},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}, hostwise.TLSAlert, false},
		{&net.OpError{Op: "local error", Err: errors.New("tls: protocol version not supported")}, hostwise.TLSAlert, false},
		{opError("read", syscall.ECONNRESET), hostwise.TLSReset, false},
		{opError("write", syscall.EPIPE), hostwise.TLSReset, false},
		{io.EOF, hostwise.TLSEOF, false},
		{io.ErrUnexpectedEOF, hostwise.TLSEOF, false},
		{errors.New("net/http: TLS handshake timeout"), hostwise.TLSTimeout, false},
		{errors.New("tls: server selected unsupported protocol version 301"), hostwise.TLSInvalid, false},
		{errors.New("strange"), hostwise.Other, false},
	} {
		if got := tlsKind(tt.err); got != tt.want {
			t.Errorf("tlsKind(%v) = %s, want %s", tt.err, got, tt.want)
		}
		if got := isCertificate(tt.err); got != tt.certificate {
			t.Errorf("isCertificate(%v) = %v, want %v", tt.err, got, tt.certificate)
		}
	}
	for err, want := range map[error]hostwise.Kind{
		context.DeadlineExceeded: hostwise.TLSTimeout, io.EOF: hostwise.TLSEOF, x509.UnknownAuthorityError{}: hostwise.TLSUnknownCA,
		errors.New("strange"): hostwise.Other, // a failing callback of the caller's tls.Config
	} {
		if got := handshakeKind(err); got != want {
			t.Errorf("handshakeKind(%v) = %s, want %s", err, got, want)
		}
	}
}

func TestRequestKind(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want hostwise.Kind
	}{
		{opError("read", syscall.ECONNRESET), hostwise.HTTPReset},
		{opError("write", syscall.EPIPE), hostwise.HTTPReset},
		{opError("read", syscall.ECONNABORTED), hostwise.HTTPReset},
		{io.EOF, hostwise.HTTPEOF},
		{io.ErrUnexpectedEOF, hostwise.HTTPEOF},
		{fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", io.EOF), hostwise.HTTPEOF},
		{errors.New("http: server closed idle connection"), hostwise.HTTPEOF},
		{http.ErrSchemeMismatch, hostwise.HTTPMalformed},
		{os.ErrDeadlineExceeded, hostwise.HTTPHeaderTimeout},
		{&net.OpError{Op: "read", Err: errTimeout{}}, hostwise.HTTPHeaderTimeout},
		{errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"), hostwise.H2GoAway},
		{errors.New("stream error: stream ID 1; REFUSED_STREAM; received from peer"), hostwise.H2RefusedStream},
		{errors.New("net/http: server response headers exceeded 262144 bytes; aborted"), hostwise.HTTPHeaderTooLarge},
		{errors.New(`malformed HTTP response "SSH-2.0"`), hostwise.HTTPMalformed},
		{errors.New("net/http: HTTP/1.x transport connection broken: malformed MIME header line: x"), hostwise.HTTPMalformed},
		{errors.New("http2: frame too large"), hostwise.HTTPMalformed},
		{errors.New("header line too long"), hostwise.HTTPMalformed},
		{fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", hook.ErrGoexit), hostwise.Other},
		{errors.New("strange"), hostwise.Other},
	} {
		if got := requestKind(tt.err); got != tt.want {
			t.Errorf("requestKind(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestAsDNSError(t *testing.T) {
	own := &hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSBogus}
	for _, tt := range []struct {
		err  error
		kind hostwise.Kind
	}{
		{own, hostwise.DNSBogus},
		{fmt.Errorf("x: %w", own), hostwise.DNSBogus},
		{&net.DNSError{IsNotFound: true}, hostwise.DNSNXDomain},
		{&net.DNSError{IsTimeout: true}, hostwise.DNSTimeout},
		{&net.DNSError{IsTemporary: true, Server: "192.0.2.53:53"}, hostwise.DNSServFail},
		{context.DeadlineExceeded, hostwise.DNSTimeout},
		{context.Canceled, hostwise.Canceled},
		{&net.AddrError{Err: "no suitable address found", Addr: "a.test"}, hostwise.DNSNoData},
		{errors.New("strange"), hostwise.DNSServFail},
	} {
		got := asDNSError("a.test", tt.err)
		if got.Kind != tt.kind || got.Host != "a.test" {
			t.Errorf("asDNSError(%v) = %+v, want %s for a.test", tt.err, got, tt.kind)
		}
		if got != own && !errors.Is(got, tt.err) {
			t.Errorf("asDNSError(%v) does not lead back to it", tt.err)
		}
	}
	if got := asDNSError("a.test", nil); got != nil {
		t.Errorf("asDNSError(nil) = %v", got)
	}
}

// A connection without TLS that comes too late has shaken no hands.
func TestDialState_PlainConnectionHasNoTLSPhase(t *testing.T) {
	now := time.Now()
	s := &dialState{host: "a.test:80", start: now}
	s.wait()
	i := s.started(attemptState{Attempt: hostwise.Attempt{Addr: netip.MustParseAddrPort("192.0.2.1:80")}}, now)
	s.connected(i, false, now)
	if err := s.interrupted(context.DeadlineExceeded); hostwise.PhaseOf(err) != hostwise.PhaseConnect {
		t.Errorf("%v, in phase %s", err, hostwise.PhaseOf(err))
	}
	if e, _ := s.elapsed(); e.TLS != 0 {
		t.Errorf("elapsed: %v", e)
	}
}
