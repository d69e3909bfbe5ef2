// Package hostwise is the vocabulary of failure for programs that fetch from
// very many hosts: what failed, in which phase of a request, and whether
// another try makes sense. The packages transport, dnscache and
// hostwisecolly return its errors; a program asks them with errors.As, or
// with KindOf, PhaseOf and Retryable.
//
// Import it to look at errors. To get them, give an http.Client the round
// tripper of package transport, or a Colly collector the adapter of package
// hostwisecolly:
//
//	t, err := transport.Wrap(http.DefaultClient, nil)
//
// # Errors
//
// Six types say where a request ended. All are pointers, implement net.Error
// and slog.LogValuer, and unwrap to what the standard library would have
// returned, so that existing checks for *net.DNSError, *net.OpError,
// syscall.ECONNREFUSED, x509.UnknownAuthorityError or context.Canceled keep
// working:
//
//   - DNSError: the name did not resolve.
//   - ConnectError: no address could be reached, or the proxy failed.
//   - TLSError: connected, but the handshake failed.
//   - RequestError: connected, but no response headers came (or the body broke off).
//   - HostDownError: not tried, the host's circuit breaker is open.
//   - DeniedError: not tried, the address guard refused it.
//
// Inside each the Kind is one word from a fixed list, such as dns_nxdomain
// or connect_timeout; the same words appear in statistics and logs.
//
// # Timeouts
//
// Timeout reports true for every kind of timeout, whoever set the clock. The
// type says in which phase the time ran out, also when it was
// http.Client.Timeout or a context's deadline that ended the request. ElapsedOf
// says how long each phase took.
//
// # Retries
//
// Of these packages only the adapter for Colly retries, on request. A policy
// of yours asks Retryable whether the same request may do better later, and
// RetryAt before which time it cannot: until then a host in its cool-down is
// not tried, and the failure of a name is answered from the cache.
//
//	if hostwise.Retryable(err) && time.Until(hostwise.RetryAt(err)) < patience {
//		again(max(backoff, time.Until(hostwise.RetryAt(err))))
//	}
//
// Neither says whether the request may be sent twice: of a POST that failed in
// PhaseRequest the server may have seen all. In hashicorp/go-retryablehttp
// this belongs into CheckRetry, in failsafe-go into HandleIf and WithDelayFunc:
// bench/retry in the repository has both, complete.
//
// # What it does not do
//
// An HTTP status is not an error.
package hostwise
