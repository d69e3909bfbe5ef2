package transport

import (
	"strings"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A ledger is an account of failures. Each failure is charged to one.
type ledger uint8

const (
	ledgerNobody ledger = iota // the caller, a policy, or what was charged before
	ledgerName                 // name and type: the resolver's negative and failure cache
	ledgerServer               // nameserver: its health, which the resolver keeps
	ledgerHost                 // host:port: the breaker
	ledgerProxy                // the proxy's host:port: the breaker, too
	ledgerLocal                // this machine: no host is condemned for it
)

// hasBreaker reports whether the breaker keeps the ledger.
func (l ledger) hasBreaker() bool { return l == ledgerHost || l == ledgerProxy }

// ledgers says who is charged with a failure. ledgerOf knows the exception.
var ledgers = map[hostwise.Kind]ledger{
	hostwise.DNSNXDomain:  ledgerName,
	hostwise.DNSNoData:    ledgerName,
	hostwise.DNSServFail:  ledgerName,
	hostwise.DNSBogus:     ledgerName,
	hostwise.DNSBlocked:   ledgerName,
	hostwise.DNSTimeout:   ledgerName,
	hostwise.DNSTruncated: ledgerName,
	hostwise.DNSMalformed: ledgerName,
	hostwise.DNSCNAMELoop: ledgerName,

	hostwise.DNSRefused:           ledgerServer,
	hostwise.DNSFormErr:           ledgerServer,
	hostwise.DNSLame:              ledgerServer,
	hostwise.DNSServerUnreachable: ledgerServer,

	hostwise.ConnectRefused:     ledgerHost,
	hostwise.ConnectTimeout:     ledgerHost,
	hostwise.ConnectUnreachable: ledgerHost,
	hostwise.ConnectReset:       ledgerHost,
	hostwise.TLSUnknownCA:       ledgerHost,
	hostwise.TLSHostname:        ledgerHost,
	hostwise.TLSExpired:         ledgerHost,
	hostwise.TLSInvalid:         ledgerHost,
	hostwise.TLSAlert:           ledgerHost,
	hostwise.TLSNotTLS:          ledgerHost,
	hostwise.TLSTimeout:         ledgerHost,
	hostwise.TLSEOF:             ledgerHost,
	hostwise.TLSReset:           ledgerHost,
	hostwise.HTTPEOF:            ledgerHost,
	hostwise.HTTPReset:          ledgerHost,
	hostwise.HTTPHeaderTimeout:  ledgerHost,
	hostwise.HTTPWriteTimeout:   ledgerHost,
	hostwise.HTTPMalformed:      ledgerHost,
	hostwise.HTTPHeaderTooLarge: ledgerHost,
	hostwise.HTTPStatus:         ledgerHost, // BreakerOptions.TripOn
	hostwise.H2GoAway:           ledgerHost,
	hostwise.H2RefusedStream:    ledgerHost,
	hostwise.TooManyDials:       ledgerHost,

	hostwise.ProxyConnect: ledgerProxy,
	hostwise.ProxyTimeout: ledgerProxy,
	hostwise.ProxyDNS:     ledgerName,   // the proxy's
	hostwise.ProxyAuth:    ledgerNobody, // a matter of configuration
	hostwise.ProxyGateway: ledgerNobody, // it speaks of a host that it alone has seen

	hostwise.LocalFDs:    ledgerLocal,
	hostwise.LocalPorts:  ledgerLocal,
	hostwise.LocalDenied: ledgerLocal,
	hostwise.LocalOutage: ledgerLocal,

	hostwise.DNSBadName:       ledgerNobody, // never asked for
	hostwise.HTTPBodyTimeout:  ledgerNobody, // the host has answered
	hostwise.HTTPBodyTooLarge: ledgerNobody, // too
	hostwise.HostDown:         ledgerNobody, // not tried, as the next two
	hostwise.HostPaused:       ledgerNobody,
	hostwise.PolicyDenied:     ledgerNobody,
	hostwise.Canceled:         ledgerNobody,
	hostwise.Deadline:         ledgerNobody,
	hostwise.BadURL:           ledgerNobody,
	hostwise.Other:            ledgerNobody,
}

// ledgerOf returns the ledger of a failure.
func ledgerOf(err error) ledger {
	if hostwise.PhaseOf(err) == hostwise.PhaseBody { // the host has answered
		return ledgerNobody
	}
	return ledgers[hostwise.KindOf(err)]
}

// isStale reports whether the failure is what an idle connection that the
// server has closed meanwhile looks like.
func isStale(err error) bool {
	k := hostwise.KindOf(err)
	return k == hostwise.HTTPEOF || k == hostwise.HTTPReset && !strings.Contains(err.Error(), "stream error: ")
}

// A phase that a deadline cut short says nothing about the host unless it
// had this long.
const (
	fairConnect = 3 * time.Second // two retransmissions of the SYN: RFC 6298, section 2
	fairTLS     = 3 * time.Second
	fairHeaders = 5 * time.Second
)

// fairShare reports whether a host that was waited for had its time, or
// failed by itself.
func (d *dial) fairShare(err error) bool {
	if d.connecting.IsZero() {
		return false
	}
	if d.deadline.IsZero() || time.Now().Before(d.deadline) {
		return true
	}
	switch hostwise.PhaseOf(err) {
	case hostwise.PhaseConnect:
		return d.deadline.Sub(d.connecting) >= fairConnect
	case hostwise.PhaseTLS:
		return d.deadline.Sub(d.connecting) >= fairConnect+fairTLS
	}
	return true
}
