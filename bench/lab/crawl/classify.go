package crawl

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// ClassifyStd is the best that a careful user of net/http can do with the
// errors of the standard library.
func ClassifyStd(err error) Kind {
	if err == nil {
		return OK
	}
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dnsErr.IsNotFound:
			return NXDomain
		case dnsErr.IsTimeout:
			return DNSTimeout
		case dnsErr.Err == "server misbehaving":
			return ServFail
		}
		return DNSOther
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	}
	if opErr, ok := errors.AsType[*net.OpError](err); ok && opErr.Op == "dial" && opErr.Timeout() {
		return ConnectTimeout
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return Timeout
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return Timeout
	}
	return Other
}
