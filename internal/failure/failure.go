// Package failure holds what the packages that make errors share.
package failure

import (
	"context"
	"errors"
	"syscall"

	"github.com/hostwise-go/hostwise"
)

// Context returns why ctx ended: an error that is both ctx.Err() and, where
// it differs, the cause given to context.WithCancelCause. It is nil while
// ctx lives.
func Context(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || cause == nil || cause == err {
		return err
	}
	return &contextError{err, cause}
}

// contextError reads as its cause.
type contextError struct{ err, cause error }

func (e *contextError) Error() string   { return e.cause.Error() }
func (e *contextError) Unwrap() []error { return []error{e.err, e.cause} }

// Local returns the Kind of an error that is this process's or this
// machine's own fault and says nothing about the other side.
func Local(err error) (hostwise.Kind, bool) {
	var unrouted noRoute
	if errors.As(err, &unrouted) {
		return hostwise.LocalOutage, true
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return "", false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return hostwise.LocalFDs, true
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EAGAIN: // EAGAIN: of a UDP socket, connect(2)
		return hostwise.LocalPorts, true
	case syscall.EACCES, syscall.EPERM:
		return hostwise.LocalDenied, true
	case syscall.ENETDOWN:
		return hostwise.LocalOutage, true
	}
	return "", false
}

// Resolve returns the error to report when neither family has an address:
// the one that leaves most hope. A shortage of our own comes first, then
// what may pass; of the final answers NXDOMAIN comes before NODATA, since it
// is for all types (RFC 8020, section 2), and dnsmasq often forwards it as
// NODATA for one of two.
func Resolve(a, b *hostwise.DNSError) *hostwise.DNSError {
	if a == nil || b != nil && rank(b) < rank(a) {
		return b
	}
	return a
}

func rank(e *hostwise.DNSError) int {
	switch e.Kind {
	case hostwise.LocalFDs, hostwise.LocalPorts, hostwise.LocalDenied, hostwise.LocalOutage:
		return 0
	case hostwise.Canceled, hostwise.Deadline:
		return 1
	case hostwise.DNSNXDomain, hostwise.DNSBadName:
		return 4
	case hostwise.DNSNoData:
		return 5
	}
	if e.Kind.Retryable() {
		return 2
	}
	return 3
}
