package hostwise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// failure is what the six error types have in common; errors.As finds the
// outermost.
type failure interface {
	net.Error
	kind() Kind
	phase() Phase
	elapsed() Elapsed
}

// KindOf returns the Kind of the outermost hostwise error in err's tree.
// Errors of other origin are Canceled, Deadline or BadURL where the standard
// library says so, and Other where it does not. KindOf(nil) is "".
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var f failure
	var u *url.Error
	switch {
	case errors.As(err, &f):
		return f.kind()
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Deadline
	case errors.As(err, &u) && u.Op == "parse":
		return BadURL
	}
	return Other
}

// PhaseOf returns the phase in which err ended the request, or "" when err
// is nil, is not a hostwise error, or the request was never tried.
func PhaseOf(err error) Phase {
	var f failure
	if errors.As(err, &f) {
		return f.phase()
	}
	return ""
}

// Retryable reports whether the same request may succeed on a later try:
// true for timeouts, refusals, resets, failing nameservers and local
// shortages, false for names that do not exist, certificates, policy and
// cancellation. It speaks of the failure, not of the request: whether a POST
// may be sent twice is for the caller to know. RetryAt says how long to wait.
func Retryable(err error) bool { return KindOf(err).Retryable() }

// RetryAt returns the time before which another try cannot do better, or is
// not worth it: the end of a host's cool-down, of a cached DNS failure, or of a
// while after a refusal because of an outage. It is the zero time when err
// names none.
func RetryAt(err error) time.Time {
	var d *DNSError
	var h *HostDownError
	var c *ConnectError
	switch {
	case errors.As(err, &h):
		return h.RetryAt
	case errors.As(err, &c) && !c.RetryAt.IsZero():
		return c.RetryAt
	case errors.As(err, &d):
		return d.RetryAt
	}
	return time.Time{}
}

// Elapsed is how long each phase of a failed request took, up to the failure.
// A phase that was not begun took no time. Package transport sets it.
type Elapsed struct {
	Wait    time.Duration // for a turn: the bounds on connections, a host's first contact
	Resolve time.Duration
	Connect time.Duration // from the first attempt on; through a proxy, until its tunnel stands
	TLS     time.Duration
	Request time.Duration // on a connection, until the response headers
	Body    time.Duration // from the headers on
}

// String returns the phases that took any time, such as "resolve 1ms,
// connect 10s".
func (e Elapsed) String() string {
	var parts []string
	for _, p := range [...]struct {
		name string
		took time.Duration
	}{
		{"wait", e.Wait}, {"resolve", e.Resolve}, {"connect", e.Connect}, {"tls", e.TLS}, {"request", e.Request}, {"body", e.Body},
	} {
		if p.took > 0 {
			parts = append(parts, p.name+" "+p.took.String())
		}
	}
	return strings.Join(parts, ", ")
}

// ElapsedOf returns the Elapsed of the outermost hostwise error in err's tree;
// that of a request that was not tried, and of any other error, is zero.
func ElapsedOf(err error) Elapsed {
	var f failure
	if errors.As(err, &f) {
		return f.elapsed()
	}
	return Elapsed{}
}

// EDE is an extended DNS error: RFC 8914.
type EDE struct {
	Code uint16
	Text string // the server's EXTRA-TEXT as it came, possibly empty
}

// DNSError says that a name did not resolve.
type DNSError struct {
	Host    string    // the name that was asked for
	Kind    Kind      // one of the DNS kinds, a local one, Canceled or Deadline
	Server  string    // the nameserver that gave the answer; "" when none did
	Asked   []string  // the nameservers asked, when none gave an answer
	Rcode   int       // the answer's RCODE (RFC 6895, section 2.3); 0 when none came
	EDE     []EDE     // the answer's extended errors
	Cached  bool      // remembered from an earlier query
	RetryAt time.Time // until then the cache repeats this error; zero: it was not cached
	Err     error     // the cause below: a socket's or a context's error; may be nil
	Elapsed Elapsed   // how long each phase took
}

func (e *DNSError) kind() Kind       { return e.Kind }
func (e *DNSError) phase() Phase     { return PhaseResolve }
func (e *DNSError) elapsed() Elapsed { return e.Elapsed }

func (e *DNSError) Error() string {
	var b strings.Builder
	b.WriteString("lookup " + e.Host)
	if on := e.servers(); on != "" {
		b.WriteString(" on " + on)
	}
	b.WriteString(": " + text(e.Kind, e.Err) + suffix(e.Kind, e.Err))
	for _, x := range e.EDE {
		fmt.Fprintf(&b, " (EDE %d", x.Code)
		if x.Text != "" {
			b.WriteString(": " + foreign(x.Text))
		}
		b.WriteString(")")
	}
	if e.Cached {
		b.WriteString(" (cached)")
	}
	return b.String()
}

func (e *DNSError) servers() string {
	if e.Server != "" {
		return e.Server
	}
	return strings.Join(e.Asked, ", ")
}

// Timeout implements net.Error.
func (e *DNSError) Timeout() bool { return e.Kind.Timeout() }

// Temporary implements net.Error with the flag net.DNSError would carry.
func (e *DNSError) Temporary() bool { return e.std().IsTemporary }

// Unwrap returns the error as package net would have reported it, a
// *net.DNSError, and the cause.
func (e *DNSError) Unwrap() []error { return withCause(e.std(), e.Err) }

// std is the error of net's own resolver for the same outcome.
func (e *DNSError) std() *net.DNSError {
	d := &net.DNSError{Err: text(e.Kind, e.Err), Name: e.Host, Server: e.servers(), IsTimeout: e.Kind.Timeout()}
	switch e.Kind {
	case DNSNXDomain, DNSNoData, DNSBadName:
		d.Err, d.IsNotFound = "no such host", true
	case DNSServFail, DNSTimeout, DNSServerUnreachable, Deadline, LocalFDs, LocalPorts, LocalOutage:
		d.IsTemporary = true
	}
	if e.Kind == DNSServFail || e.Kind == DNSRefused || e.Kind == DNSFormErr {
		d.Err = "server misbehaving"
	}
	return d
}

// LogValue implements slog.LogValuer.
func (e *DNSError) LogValue() slog.Value {
	return logValue(e, e.Host, slog.String("server", e.servers()), slog.Bool("cached", e.Cached))
}

// An Attempt is one try to reach one address.
type Attempt struct {
	Addr    netip.AddrPort
	Start   time.Duration // since the dial's first query
	Elapsed time.Duration // how long it took to fail, or was given
	Phase   Phase         // how far it came: PhaseConnect or PhaseTLS
	Err     error
}

// String returns the address and the innermost reason.
func (a Attempt) String() string {
	host := a.Addr.Addr().String()
	if a.Addr.Addr().Is6() {
		host = "[" + host + "]"
	}
	return host + ": " + reason(a.Err)
}

// reason is an error without the operation and address that net.OpError
// puts in front.
func reason(err error) string {
	var errno syscall.Errno
	var ne net.Error
	switch {
	case err == nil:
		return "given up"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &ne) && ne.Timeout():
		return "i/o timeout"
	}
	return err.Error()
}

// ConnectError says that no address of a host, or of the proxy, could be
// reached.
type ConnectError struct {
	Host     string    // host:port of the request's URL
	Proxy    string    // host:port of the proxy, when it is the proxy that failed
	Kind     Kind      // one of the connect, proxy or local kinds, Canceled or Deadline
	Attempts []Attempt // every address tried, in the order of their start
	Err      error     // the cause beside the attempts: a context's or the proxy's error; may be nil
	Elapsed  Elapsed   // how long each phase took

	// Of LocalOutage, where the failures of many hosts have told of it:
	Since   time.Time // the local network seems to be down
	RetryAt time.Time // when to try again; zero: the request has waited
}

func (e *ConnectError) kind() Kind       { return e.Kind }
func (e *ConnectError) phase() Phase     { return PhaseConnect }
func (e *ConnectError) elapsed() Elapsed { return e.Elapsed }

func (e *ConnectError) Error() string {
	op := "dial " + e.Host + ": "
	if e.Proxy != "" {
		op = "dial " + e.Host + " through proxy " + e.Proxy + ": "
	}
	if e.Kind == LocalOutage && !e.Since.IsZero() {
		op += "the local network seems to be down since " + e.Since.Format(time.TimeOnly)
		if e.Err != nil {
			op += " (" + e.Err.Error() + ")"
		}
		if len(e.Attempts) == 0 {
			return op
		}
		op += ": "
	}
	switch n := len(e.Attempts); {
	case n == 0 && e.Err != nil:
		return op + text(e.Kind, e.Err) + suffix(e.Kind, e.Err)
	case n == 0:
		return op + e.Kind.text()
	case n == 1 && !e.Kind.isContext():
		return op + e.Attempts[0].String()
	default:
		parts := make([]string, n)
		for i, a := range e.Attempts {
			parts[i] = a.String()
		}
		verb := "failed"
		if e.Kind.isContext() {
			verb = "tried, " + text(e.Kind, e.Err)
		}
		return fmt.Sprintf("%s%d %s %s: %s", op, n, plural(n, "address", "addresses"), verb, strings.Join(parts, "; "))
	}
}

// Timeout implements net.Error.
func (e *ConnectError) Timeout() bool {
	return e.Kind.Timeout() || e.Kind == LocalOutage && errors.Is(e.Err, context.DeadlineExceeded)
}

// Temporary implements net.Error.
func (e *ConnectError) Temporary() bool { return e.Kind.Retryable() }

// Is makes a connect timeout match context.DeadlineExceeded, as the
// timeouts of net.Dialer do.
func (e *ConnectError) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Kind.Timeout()
}

// Unwrap returns the cause and the attempts' errors.
func (e *ConnectError) Unwrap() []error { return attemptErrors(e.Err, e.Attempts) }

// LogValue implements slog.LogValuer.
func (e *ConnectError) LogValue() slog.Value {
	return logValue(e, e.Host, slog.Int("attempts", len(e.Attempts)), slog.String("proxy", e.Proxy))
}

// TLSError says that a connection was made and its TLS handshake failed.
type TLSError struct {
	Host     string         // host:port of the request's URL
	Addr     netip.AddrPort // the address that Err is about
	Kind     Kind           // one of the TLS kinds, Canceled or Deadline
	Attempts []Attempt      // every address tried, when there were several
	Err      error          // the error of crypto/tls, crypto/x509, the connection or the context
	Elapsed  Elapsed        // how long each phase took
}

func (e *TLSError) kind() Kind       { return e.Kind }
func (e *TLSError) phase() Phase     { return PhaseTLS }
func (e *TLSError) elapsed() Elapsed { return e.Elapsed }

func (e *TLSError) Error() string {
	return "tls handshake with " + e.Host + at(e.Addr) + ": " + text(e.Kind, e.Err) + suffix(e.Kind, e.Err)
}

// Timeout implements net.Error.
func (e *TLSError) Timeout() bool { return e.Kind.Timeout() }

// Temporary implements net.Error.
func (e *TLSError) Temporary() bool { return e.Kind.Retryable() }

// Is makes a handshake timeout match context.DeadlineExceeded.
func (e *TLSError) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Kind.Timeout()
}

// Unwrap returns the cause and the errors of the other attempts.
func (e *TLSError) Unwrap() []error { return attemptErrors(e.Err, e.Attempts) }

// LogValue implements slog.LogValuer.
func (e *TLSError) LogValue() slog.Value {
	return logValue(e, e.Host, slog.String("addr", addrString(e.Addr)))
}

// RequestError says that a connection was there, but no response headers
// came over it, or that the body broke off.
type RequestError struct {
	Host    string         // host:port of the request's URL
	Addr    netip.AddrPort // the server's address; zero when unknown (an idle connection, a proxy)
	Kind    Kind           // one of the HTTP kinds, Canceled or Deadline
	Phase   Phase          // PhaseRequest or PhaseBody; "" when nothing was begun
	Err     error          // the error of net/http, the connection or the context
	Elapsed Elapsed        // how long each phase took
}

func (e *RequestError) kind() Kind       { return e.Kind }
func (e *RequestError) phase() Phase     { return e.Phase }
func (e *RequestError) elapsed() Elapsed { return e.Elapsed }

func (e *RequestError) Error() string {
	op := "request to " + e.Host
	switch {
	case e.Host == "": // the URL has none
		op = "request"
	case e.Phase == PhaseBody:
		op = "reading the body from " + e.Host
	}
	return op + at(e.Addr) + ": " + text(e.Kind, e.Err) + suffix(e.Kind, e.Err)
}

// Timeout implements net.Error.
func (e *RequestError) Timeout() bool { return e.Kind.Timeout() }

// Temporary implements net.Error.
func (e *RequestError) Temporary() bool { return e.Kind.Retryable() }

// Is makes a timeout match context.DeadlineExceeded, as those of net/http do.
func (e *RequestError) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Kind.Timeout()
}

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// LogValue implements slog.LogValuer.
func (e *RequestError) LogValue() slog.Value {
	return logValue(e, e.Host, slog.String("addr", addrString(e.Addr)))
}

// HostDownError says that a request was not tried, because the host failed
// repeatedly and its cool-down is not over, or because it has asked for a
// pause.
type HostDownError struct {
	Host     string    // host:port
	Kind     Kind      // HostDown, or HostPaused: a Retry-After, if transport.BreakerOptions.HonorRetryAfter is set
	Since    time.Time // when the host was declared down, or paused
	RetryAt  time.Time // when the next request will be let through; while one is on its way to find out, when to ask again
	Failures int       // failures in a row so far
	Last     error     // the failure that it was declared down for, or that its last probe met, without its attempts and causes but for a syscall.Errno; not part of the error's tree, so that errors.As does not find it
	Err      error     // gobreaker.ErrOpenState, as set by package transport
}

func (e *HostDownError) kind() Kind       { return e.Kind }
func (e *HostDownError) phase() Phase     { return "" }
func (e *HostDownError) elapsed() Elapsed { return Elapsed{} }

func (e *HostDownError) Error() string {
	s := fmt.Sprintf("dial %s: %s since %s, retry in %s", e.Host, e.Kind.text(),
		e.Since.Format(time.TimeOnly), max(0, time.Until(e.RetryAt)).Round(time.Second))
	if e.Last != nil {
		s += " (last: " + lastReason(e.Last) + ")"
	}
	return s
}

// lastReason is err in two or three words.
func lastReason(err error) string {
	var r *RequestError
	if errors.As(err, &r) && r.Kind == HTTPStatus && r.Err != nil {
		return foreign(r.Err.Error()) // "503 Service Unavailable"
	}
	if k := KindOf(err); k != Other {
		return k.text()
	}
	return reason(err)
}

// Timeout implements net.Error: false, since nothing was waited for.
func (e *HostDownError) Timeout() bool { return false }

// Temporary implements net.Error: true, since hosts are tried again.
func (e *HostDownError) Temporary() bool { return true }

// Unwrap returns Err, and never Last.
func (e *HostDownError) Unwrap() error { return e.Err }

// LogValue implements slog.LogValuer.
func (e *HostDownError) LogValue() slog.Value {
	return logValue(e, e.Host, slog.Time("since", e.Since), slog.Time("retry_at", e.RetryAt), slog.Int("failures", e.Failures))
}

// DeniedError says that the address guard refused to connect.
type DeniedError struct {
	Host string     // host:port of the request's URL, or what a URL of a scheme other than http and https has in its place
	Addr netip.Addr // the refused address; zero when no address was looked at
	Rule string     // the rule that refused it, such as "private use (RFC 1918)"
	Err  error      // what the program's own rule said; may be nil
}

func (e *DeniedError) kind() Kind       { return PolicyDenied }
func (e *DeniedError) phase() Phase     { return PhaseConnect }
func (e *DeniedError) elapsed() Elapsed { return Elapsed{} }

func (e *DeniedError) Error() string {
	switch {
	case e.Host == "": // the URL has none
		return "denied: " + e.Rule
	case !e.Addr.IsValid():
		return fmt.Sprintf("dial %s: denied: %s", e.Host, e.Rule)
	}
	return fmt.Sprintf("dial %s: address %s denied: %s", e.Host, e.Addr, e.Rule)
}

// Unwrap returns Err.
func (e *DeniedError) Unwrap() error { return e.Err }

// Timeout implements net.Error: false.
func (e *DeniedError) Timeout() bool { return false }

// Temporary implements net.Error: false.
func (e *DeniedError) Temporary() bool { return false }

// LogValue implements slog.LogValuer.
func (e *DeniedError) LogValue() slog.Value {
	addr := ""
	if e.Addr.IsValid() {
		addr = e.Addr.String()
	}
	return logValue(e, e.Host, slog.String("addr", addr), slog.String("rule", e.Rule))
}
