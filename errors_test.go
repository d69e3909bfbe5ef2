package hostwise_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
)

var (
	server = netip.MustParseAddrPort("192.0.2.1:443")
	since  = time.Date(2026, 1, 2, 12, 0, 3, 0, time.UTC)
)

func dialError(errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(server), Err: os.NewSyscallError("connect", errno)}
}

// timeoutError is what package net returns for a dial whose time is up.
type timeoutError struct{}

func (timeoutError) Error() string   { return "dial tcp 192.0.2.1:443: i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func attempt(addr string, err error) hostwise.Attempt {
	return hostwise.Attempt{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 443), Phase: hostwise.PhaseConnect, Err: err}
}

// The texts are API: people search logs for them.
func TestError_Text(t *testing.T) {
	three := []hostwise.Attempt{
		attempt("2001:db8::1", dialError(syscall.ENETUNREACH)),
		attempt("192.0.2.1", dialError(syscall.ECONNREFUSED)),
		attempt("192.0.2.2", timeoutError{}),
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSNXDomain, Server: "192.0.2.53:53", Rcode: 3}, "lookup a.test on 192.0.2.53:53: no such host"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSNXDomain, Server: "192.0.2.53:53", Cached: true}, "lookup a.test on 192.0.2.53:53: no such host (cached)"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSNoData, Server: "192.0.2.53:53"}, "lookup a.test on 192.0.2.53:53: no such host (no address records)"},
		{&hostwise.DNSError{Host: "a..b", Kind: hostwise.DNSBadName, Err: errors.New("empty label")}, "lookup a..b: no such host: not a domain name (empty label)"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSServFail, Server: "192.0.2.53:53", EDE: []hostwise.EDE{{Code: 22, Text: "no reachable authority"}, {Code: 23}}},
			"lookup a.test on 192.0.2.53:53: server misbehaving (SERVFAIL) (EDE 22: no reachable authority) (EDE 23)"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSServFail, EDE: []hostwise.EDE{{Code: 22, Text: "down\nok \x1b[2J\xff"}, {Code: 0, Text: "défaut"}, {Code: 1, Text: strings.Repeat("é", 101)}}},
			`lookup a.test: server misbehaving (SERVFAIL) (EDE 22: "down\nok \x1b[2J\xff") (EDE 0: défaut) (EDE 1: ` + strings.Repeat("é", 100) + "...)"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSServFail, EDE: []hostwise.EDE{{Code: 22, Text: "x" + strings.Repeat("é", 30_000)}}},
			"lookup a.test: server misbehaving (SERVFAIL) (EDE 22: x" + strings.Repeat("é", 99) + "...)"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSTimeout, Asked: []string{"192.0.2.53:53", "[2001:db8::53]:53"}}, "lookup a.test on 192.0.2.53:53, [2001:db8::53]:53: i/o timeout"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSTimeout, Err: context.DeadlineExceeded}, "lookup a.test: i/o timeout"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.Canceled, Err: context.Canceled}, "lookup a.test: context canceled"},
		{&hostwise.DNSError{Host: "a.test", Kind: hostwise.LocalFDs, Err: syscall.EMFILE}, "lookup a.test: too many open files"},

		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.ConnectRefused, Attempts: three},
			"dial a.test:443: 3 addresses failed: [2001:db8::1]: network is unreachable; 192.0.2.1: connection refused; 192.0.2.2: i/o timeout"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.ConnectRefused, Attempts: three[1:2]}, "dial a.test:443: 192.0.2.1: connection refused"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.ConnectTimeout, Attempts: three[2:], Err: context.DeadlineExceeded}, "dial a.test:443: 192.0.2.2: i/o timeout"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.Canceled, Attempts: []hostwise.Attempt{attempt("192.0.2.1", nil)}, Err: context.Canceled},
			"dial a.test:443: 1 address tried, context canceled: 192.0.2.1: given up"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.Deadline, Err: context.DeadlineExceeded}, "dial a.test:443: deadline exceeded"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.LocalOutage, Err: errors.New("no route to any address family")},
			"dial a.test:443: local network is down (no route to any address family)"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.LocalOutage, Since: since},
			"dial a.test:443: the local network seems to be down since 12:00:03"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.LocalOutage, Since: since, Err: context.DeadlineExceeded},
			"dial a.test:443: the local network seems to be down since 12:00:03 (context deadline exceeded)"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.LocalOutage, Since: since, Attempts: three[2:]},
			"dial a.test:443: the local network seems to be down since 12:00:03: 192.0.2.2: i/o timeout"},
		{&hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.ConnectUnreachable}, "dial a.test:443: host unreachable"},
		{&hostwise.ConnectError{Host: "a.test:443", Proxy: "proxy.test:3128", Kind: hostwise.ProxyAuth, Err: errors.New("407 Proxy Authentication Required")},
			"dial a.test:443 through proxy proxy.test:3128: proxy authentication required (407 Proxy Authentication Required)"},
		{&hostwise.ConnectError{Host: "a.test:443", Proxy: "proxy.test:3128", Kind: hostwise.ProxyConnect, Attempts: three[1:2]},
			"dial a.test:443 through proxy proxy.test:3128: 192.0.2.1: connection refused"},

		{&hostwise.TLSError{Host: "a.test:443", Addr: server, Kind: hostwise.TLSUnknownCA, Err: x509.UnknownAuthorityError{}},
			"tls handshake with a.test:443 at 192.0.2.1:443: certificate signed by unknown authority (x509: certificate signed by unknown authority)"},
		{&hostwise.TLSError{Host: "a.test:443", Addr: server, Kind: hostwise.TLSTimeout, Err: context.DeadlineExceeded}, "tls handshake with a.test:443 at 192.0.2.1:443: i/o timeout"},
		{&hostwise.TLSError{Host: "a.test:443", Kind: hostwise.TLSEOF, Err: io.EOF}, "tls handshake with a.test:443: EOF"},
		{&hostwise.TLSError{Host: "a.test:443", Addr: server, Kind: hostwise.TLSReset, Err: dialError(syscall.ECONNRESET)},
			"tls handshake with a.test:443 at 192.0.2.1:443: connection reset by peer (dial tcp 192.0.2.1:443: connect: connection reset by peer)"},

		{&hostwise.RequestError{Host: "a.test:443", Addr: server, Kind: hostwise.HTTPEOF, Phase: hostwise.PhaseRequest, Err: io.EOF}, "request to a.test:443 at 192.0.2.1:443: EOF"},
		{&hostwise.RequestError{Host: "a.test:443", Addr: server, Kind: hostwise.HTTPHeaderTimeout, Phase: hostwise.PhaseRequest, Err: timeoutError{}},
			"request to a.test:443 at 192.0.2.1:443: i/o timeout awaiting response headers"},
		{&hostwise.RequestError{Host: "a.test:443", Kind: hostwise.TooManyDials, Phase: hostwise.PhaseRequest}, "request to a.test:443: too many connections for one request"},
		{&hostwise.RequestError{Host: "a.test:443", Addr: server, Kind: hostwise.HTTPEOF, Phase: hostwise.PhaseBody, Err: io.ErrUnexpectedEOF},
			"reading the body from a.test:443 at 192.0.2.1:443: EOF (unexpected EOF)"},
		{&hostwise.RequestError{Host: "a.test:443", Kind: hostwise.Canceled, Err: context.Canceled}, "request to a.test:443: context canceled"},
		{&hostwise.RequestError{Host: "a.test:443", Kind: hostwise.Other, Phase: hostwise.PhaseRequest, Err: errors.New("strange")}, "request to a.test:443: strange"},

		{&hostwise.DeniedError{Host: "a.test:80", Addr: netip.MustParseAddr("10.0.0.1"), Rule: "private use (RFC 1918)"}, "dial a.test:80: address 10.0.0.1 denied: private use (RFC 1918)"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%T:\n%s\nwant:\n%s", tt.err, got, tt.want)
		}
	}
}

// The text of a HostDownError says how long from now.
func TestHostDownError_Text(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := hostwise.HostDownError{Host: "a.test:443", Kind: hostwise.HostDown, Since: since, RetryAt: time.Now().Add(27*time.Second + 400*time.Millisecond), Failures: 5}
		for _, tt := range []struct {
			last error
			want string
		}{
			{&hostwise.ConnectError{Kind: hostwise.ConnectRefused}, "dial a.test:443: host down since 12:00:03, retry in 27s (last: connection refused)"},
			{dialError(syscall.ECONNREFUSED), "dial a.test:443: host down since 12:00:03, retry in 27s (last: connection refused)"},
			{errors.New("strange"), "dial a.test:443: host down since 12:00:03, retry in 27s (last: strange)"},
			{&hostwise.RequestError{Kind: hostwise.HTTPStatus, Err: errors.New("503 Service Unavailable")}, "dial a.test:443: host down since 12:00:03, retry in 27s (last: 503 Service Unavailable)"},
			{&hostwise.RequestError{Kind: hostwise.HTTPStatus, Err: errors.New("503 \n")}, `dial a.test:443: host down since 12:00:03, retry in 27s (last: "503 \n")`},
			{&hostwise.RequestError{Kind: hostwise.HTTPStatus}, "dial a.test:443: host down since 12:00:03, retry in 27s (last: status taken for a failure)"},
			{nil, "dial a.test:443: host down since 12:00:03, retry in 27s"},
		} {
			e := down
			e.Last = tt.last
			if got := e.Error(); got != tt.want {
				t.Errorf("text:\n%s\nwant:\n%s", got, tt.want)
			}
		}
		time.Sleep(time.Minute)
		if got, want := down.Error(), "dial a.test:443: host down since 12:00:03, retry in 0s"; got != want {
			t.Errorf("after the cool-down:\n%s\nwant:\n%s", got, want)
		}
		down.Kind = hostwise.HostPaused
		if got, want := down.Error(), "dial a.test:443: host paused since 12:00:03, retry in 0s"; got != want {
			t.Errorf("paused:\n%s\nwant:\n%s", got, want)
		}
	})
}

// The flags are those that package net sets for the same outcome.
func TestDNSError_UnwrapsToNetDNSError(t *testing.T) {
	for _, tt := range []struct {
		kind                         hostwise.Kind
		text                         string
		timeout, temporary, notFound bool
	}{
		{hostwise.DNSNXDomain, "no such host", false, false, true},
		{hostwise.DNSNoData, "no such host", false, false, true},
		{hostwise.DNSBadName, "no such host", false, false, true},
		{hostwise.DNSServFail, "server misbehaving", false, true, false},
		{hostwise.DNSRefused, "server misbehaving", false, false, false},
		{hostwise.DNSFormErr, "server misbehaving", false, false, false},
		{hostwise.DNSLame, "lame referral", false, false, false},
		{hostwise.DNSTimeout, "i/o timeout", true, true, false},
		{hostwise.DNSServerUnreachable, "nameserver unreachable", false, true, false},
		{hostwise.DNSMalformed, "cannot unmarshal DNS message", false, false, false},
		{hostwise.LocalFDs, "too many open files", false, true, false},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			e := &hostwise.DNSError{Host: "a.test", Kind: tt.kind, Server: "192.0.2.53:53"}
			var got *net.DNSError
			if !errors.As(wrapped(e), &got) {
				t.Fatal("errors.As does not find a *net.DNSError")
			}
			want := net.DNSError{Err: tt.text, Name: "a.test", Server: "192.0.2.53:53", IsTimeout: tt.timeout, IsTemporary: tt.temporary, IsNotFound: tt.notFound}
			if got.Err != want.Err || got.Name != want.Name || got.Server != want.Server ||
				got.IsTimeout != want.IsTimeout || got.IsTemporary != want.IsTemporary || got.IsNotFound != want.IsNotFound {
				t.Errorf("*net.DNSError = %+v, want %+v", *got, want)
			}
			if e.Timeout() != got.Timeout() || e.Temporary() != got.Temporary() {
				t.Errorf("Timeout, Temporary = %v, %v, want those of *net.DNSError: %v, %v", e.Timeout(), e.Temporary(), got.Timeout(), got.Temporary())
			}
		})
	}
}

// wrapped is err as http.Client returns it.
func wrapped(err error) error { return &url.Error{Op: "Get", URL: "http://a.test/", Err: err} }

func TestUnwrap(t *testing.T) {
	cause := errors.New("cause")
	refused, reset := dialError(syscall.ECONNREFUSED), dialError(syscall.ECONNRESET)
	connect := &hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.ConnectRefused, Err: cause,
		Attempts: []hostwise.Attempt{attempt("192.0.2.1", refused), attempt("192.0.2.2", nil), attempt("192.0.2.3", reset)}}
	if got, want := connect.Unwrap(), []error{cause, refused, reset}; !slices.Equal(got, want) {
		t.Errorf("ConnectError.Unwrap() = %v, want %v", got, want)
	}
	unknown := x509.UnknownAuthorityError{}
	verification := &tls.CertificateVerificationError{Err: unknown}
	down := &hostwise.HostDownError{Host: "a.test:443", Kind: hostwise.HostDown, Err: cause,
		Last: &hostwise.DNSError{Kind: hostwise.DNSTimeout, Err: syscall.ECONNREFUSED}}
	timeout := &hostwise.ConnectError{Kind: hostwise.ConnectTimeout, Attempts: []hostwise.Attempt{attempt("192.0.2.1", timeoutError{})}}

	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	isNot := func(target error) func(error) bool { return func(err error) bool { return !errors.Is(err, target) } }
	for _, tt := range []struct {
		name string
		err  error
		ok   func(error) bool
	}{
		{"ConnectError is the errno of an attempt", connect, is(syscall.ECONNREFUSED)},
		{"ConnectError is the errno of every attempt", connect, is(syscall.ECONNRESET)},
		{"ConnectError is its cause", connect, is(cause)},
		{"ConnectError holds a *net.OpError", connect, holds[*net.OpError]},
		{"ConnectError is not what it is not", connect, isNot(syscall.ETIMEDOUT)},
		{"a refusal is no deadline", connect, isNot(context.DeadlineExceeded)},
		{"a connect time-out is a deadline, as net.Dialer's is", timeout, is(context.DeadlineExceeded)},
		{"DNSError is its cause", &hostwise.DNSError{Kind: hostwise.DNSServerUnreachable, Err: refused}, is(syscall.ECONNREFUSED)},
		{"DNSError of a proxy is found in its ConnectError", &hostwise.ConnectError{Kind: hostwise.ProxyDNS, Err: &hostwise.DNSError{Kind: hostwise.DNSNXDomain}}, holds[*net.DNSError]},
		{"TLSError holds the x509 error", &hostwise.TLSError{Kind: hostwise.TLSUnknownCA, Err: verification}, holds[x509.UnknownAuthorityError]},
		{"TLSError holds the tls error", &hostwise.TLSError{Kind: hostwise.TLSUnknownCA, Err: verification}, holds[*tls.CertificateVerificationError]},
		{"TLSError holds a tls.RecordHeaderError", &hostwise.TLSError{Kind: hostwise.TLSNotTLS, Err: tls.RecordHeaderError{Msg: "x"}}, holds[tls.RecordHeaderError]},
		{"TLSError is the errno of another attempt", &hostwise.TLSError{Kind: hostwise.TLSEOF, Err: io.EOF, Attempts: connect.Attempts}, is(syscall.ECONNREFUSED)},
		{"TLSError of a time-out is a deadline", &hostwise.TLSError{Kind: hostwise.TLSTimeout, Err: timeoutError{}}, is(context.DeadlineExceeded)},
		{"TLSError of another kind is none", &hostwise.TLSError{Kind: hostwise.TLSEOF, Err: io.EOF}, isNot(context.DeadlineExceeded)},
		{"RequestError is its cause", &hostwise.RequestError{Kind: hostwise.HTTPEOF, Err: io.EOF}, is(io.EOF)},
		{"HostDownError is its cause", down, is(cause)},
		{"HostDownError is not its last failure", down, isNot(syscall.ECONNREFUSED)},
		{"HostDownError does not hold a *net.DNSError", down, func(err error) bool { return !holds[*net.DNSError](err) }},
		{"HostDownError does not hold a *DNSError", down, func(err error) bool { return !holds[*hostwise.DNSError](err) }},
	} {
		if !tt.ok(wrapped(tt.err)) {
			t.Errorf("%s: it does not hold for %v", tt.name, tt.err)
		}
	}
}

func holds[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// one returns one error of each type, of the given Kind where the type has
// one.
func one(k hostwise.Kind) []error {
	return []error{
		&hostwise.DNSError{Host: "a.test", Kind: k, Server: "192.0.2.53:53", Cached: true},
		&hostwise.ConnectError{Host: "a.test:443", Kind: k, Proxy: "proxy.test:3128", Attempts: []hostwise.Attempt{attempt("192.0.2.1", timeoutError{})}},
		&hostwise.TLSError{Host: "a.test:443", Addr: server, Kind: k},
		&hostwise.RequestError{Host: "a.test:443", Addr: server, Kind: k, Phase: hostwise.PhaseRequest},
		&hostwise.HostDownError{Host: "a.test:443", Kind: k, Since: since, RetryAt: since.Add(time.Minute), Failures: 5},
		&hostwise.DeniedError{Host: "a.test:443", Addr: server.Addr(), Rule: "loopback"},
	}
}

// net/url and net/http look at the interface, and one level deep only.
func TestTypes_AreNetErrorsAlsoThroughURLError(t *testing.T) {
	for _, kind := range []hostwise.Kind{hostwise.ConnectTimeout, hostwise.ConnectRefused, hostwise.DNSTimeout, hostwise.TLSTimeout, hostwise.HTTPHeaderTimeout, hostwise.Deadline, hostwise.Canceled} {
		for _, err := range one(kind) {
			ne, ok := err.(net.Error)
			if !ok {
				t.Errorf("%T is not a net.Error", err)
				continue
			}
			want := kind.Timeout()
			switch err.(type) {
			case *hostwise.HostDownError, *hostwise.DeniedError: // nothing was waited for
				want = false
			}
			if ne.Timeout() != want {
				t.Errorf("%T of kind %s: Timeout() = %v, want %v", err, kind, ne.Timeout(), want)
			}
			if got := wrapped(err).(*url.Error).Timeout(); got != want {
				t.Errorf("url.Error around a %T of kind %s: Timeout() = %v, want %v", err, kind, got, want)
			}
		}
	}
}

func TestTypes_Temporary(t *testing.T) {
	for _, tt := range []struct {
		kind hostwise.Kind
		want []bool // by type, in the order of one
	}{
		{hostwise.ConnectRefused, []bool{false, true, true, true, true, false}},
		{hostwise.TLSHostname, []bool{false, false, false, false, true, false}},
		{hostwise.DNSServFail, []bool{true, true, true, true, true, false}},
	} {
		for i, err := range one(tt.kind) {
			if got := err.(interface{ Temporary() bool }).Temporary(); got != tt.want[i] {
				t.Errorf("%T of kind %s: Temporary() = %v, want %v", err, tt.kind, got, tt.want[i])
			}
		}
	}
}

func TestTypes_AreLogValuers(t *testing.T) {
	const more = " kind=connect_refused phase=%s host=a.test:443"
	want := []string{
		" kind=connect_refused phase=resolve host=a.test server=192.0.2.53:53 cached=true",
		fmt.Sprintf(more, "connect") + " attempts=1 proxy=proxy.test:3128",
		fmt.Sprintf(more, "tls") + " addr=192.0.2.1:443",
		fmt.Sprintf(more, "request") + " addr=192.0.2.1:443",
		fmt.Sprintf(more, `""`) + " since=2026-01-02T12:00:03.000Z retry_at=2026-01-02T12:01:03.000Z failures=5",
		" kind=policy_denied phase=connect host=a.test:443 addr=192.0.2.1 rule=loopback",
	}
	for i, err := range one(hostwise.ConnectRefused) {
		if _, ok := err.(slog.LogValuer); !ok {
			t.Errorf("%T is not a slog.LogValuer", err)
		}
		var b bytes.Buffer
		h := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key != "err" {
				return slog.Attr{} // time, level and msg of the line
			}
			return a
		}})
		slog.New(h).Error("", "err", err)
		line := strings.ReplaceAll(strings.TrimSpace(b.String()), "err.", "")
		msg := "msg=" + strconv.Quote(err.Error())
		if line != msg+want[i] {
			t.Errorf("%T logs\n%s\nwant\n%s", err, line, msg+want[i])
		}
	}
}

func TestLogValue_SaysWhatThePhasesTook(t *testing.T) {
	e := &hostwise.ConnectError{Host: "a.test:443", Kind: hostwise.ConnectTimeout, Elapsed: hostwise.Elapsed{Resolve: time.Millisecond, Connect: time.Second}}
	for _, a := range e.LogValue().Group() {
		if a.Key == "elapsed" {
			if got, want := a.Value.String(), "resolve 1ms, connect 1s"; got != want {
				t.Errorf("elapsed = %q, want %q", got, want)
			}
			return
		}
	}
	t.Errorf("%v has no elapsed", e.LogValue())
}

func TestKindOf_PhaseOf_Retryable(t *testing.T) {
	_, parse := url.Parse(fmt.Sprintf("http://%s/", "a b"))
	inner := &hostwise.DNSError{Kind: hostwise.DNSNXDomain}
	for _, tt := range []struct {
		name      string
		err       error
		kind      hostwise.Kind
		phase     hostwise.Phase
		retryable bool
	}{
		{"nil", nil, "", "", false},
		{"foreign", fs.ErrNotExist, hostwise.Other, "", false},
		{"foreign, in a url.Error", wrapped(io.EOF), hostwise.Other, "", false},
		{"foreign net.DNSError", &net.DNSError{IsNotFound: true}, hostwise.Other, "", false},
		{"canceled", context.Canceled, hostwise.Canceled, "", false},
		{"canceled, wrapped", fmt.Errorf("x: %w", context.Canceled), hostwise.Canceled, "", false},
		{"deadline", context.DeadlineExceeded, hostwise.Deadline, "", true},
		{"deadline, in a url.Error", wrapped(context.DeadlineExceeded), hostwise.Deadline, "", true},
		{"bad URL", parse, hostwise.BadURL, "", false},
		{"DNSError", inner, hostwise.DNSNXDomain, hostwise.PhaseResolve, false},
		{"DNSError, in a url.Error", wrapped(inner), hostwise.DNSNXDomain, hostwise.PhaseResolve, false},
		{"ConnectError", &hostwise.ConnectError{Kind: hostwise.ConnectRefused}, hostwise.ConnectRefused, hostwise.PhaseConnect, true},
		{"the outermost", &hostwise.ConnectError{Kind: hostwise.ProxyDNS, Err: inner}, hostwise.ProxyDNS, hostwise.PhaseConnect, false},
		{"a context's error inside does not hide the type", &hostwise.ConnectError{Kind: hostwise.ConnectTimeout, Err: context.DeadlineExceeded}, hostwise.ConnectTimeout, hostwise.PhaseConnect, true},
		{"TLSError", &hostwise.TLSError{Kind: hostwise.TLSExpired}, hostwise.TLSExpired, hostwise.PhaseTLS, false},
		{"RequestError", &hostwise.RequestError{Kind: hostwise.HTTPEOF, Phase: hostwise.PhaseRequest}, hostwise.HTTPEOF, hostwise.PhaseRequest, true},
		{"RequestError of a body", &hostwise.RequestError{Kind: hostwise.HTTPReset, Phase: hostwise.PhaseBody}, hostwise.HTTPReset, hostwise.PhaseBody, true},
		{"HostDownError", &hostwise.HostDownError{Kind: hostwise.HostDown, Last: inner}, hostwise.HostDown, "", true},
		{"DeniedError", &hostwise.DeniedError{}, hostwise.PolicyDenied, hostwise.PhaseConnect, false},
	} {
		if got := hostwise.KindOf(tt.err); got != tt.kind {
			t.Errorf("%s: KindOf = %q, want %q", tt.name, got, tt.kind)
		}
		if got := hostwise.PhaseOf(tt.err); got != tt.phase {
			t.Errorf("%s: PhaseOf = %q, want %q", tt.name, got, tt.phase)
		}
		if got := hostwise.Retryable(tt.err); got != tt.retryable {
			t.Errorf("%s: Retryable = %v, want %v", tt.name, got, tt.retryable)
		}
	}
}

func TestRetryAt(t *testing.T) {
	dns := &hostwise.DNSError{Kind: hostwise.DNSServFail, RetryAt: since}
	for _, tt := range []struct {
		name string
		err  error
		want time.Time
	}{
		{"nil", nil, time.Time{}},
		{"foreign", io.EOF, time.Time{}},
		{"a type without a time", &hostwise.ConnectError{Kind: hostwise.ConnectRefused}, time.Time{}},
		{"an uncached DNSError", &hostwise.DNSError{Kind: hostwise.DNSServFail}, time.Time{}},
		{"a cached DNSError", wrapped(dns), since},
		{"a proxy's DNSError", &hostwise.ConnectError{Kind: hostwise.ProxyDNS, Err: dns}, since},
		{"HostDownError", wrapped(&hostwise.HostDownError{RetryAt: since.Add(1), Last: dns}), since.Add(1)},
	} {
		if got := hostwise.RetryAt(tt.err); !got.Equal(tt.want) {
			t.Errorf("%s: RetryAt = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// kindTable lists every Kind with what follows from it: the words are API,
// and so is which of them are timeouts (t) and worth another try (r).
const kindTable = `
dns_nxdomain dns_nodata dns_servfail:r dns_refused dns_formerr dns_lame dns_bogus dns_blocked dns_timeout:tr
dns_server_unreachable:r dns_truncated:r dns_malformed:r dns_cname_loop dns_bad_name
connect_refused:r connect_timeout:tr connect_unreachable:r connect_reset:r
tls_unknown_ca tls_hostname tls_expired tls_invalid tls_alert tls_not_tls tls_timeout:tr tls_eof:r tls_reset:r
http_eof:r http_reset:r http_header_timeout:tr http_write_timeout:tr http_malformed http_header_too_large http_body_timeout:tr
http_body_too_large http_status h2_goaway:r h2_refused_stream:r too_many_dials
proxy_connect:r proxy_dns proxy_auth proxy_gateway:r proxy_timeout:tr
host_down:r host_paused:r policy_denied
local_fds:r local_ports:r local_denied local_outage:r
canceled deadline:tr bad_url other`
