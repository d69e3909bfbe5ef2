package transport

import (
	"io"
	"os"
	"regexp"
	"syscall"
	"testing"

	"github.com/hostwise-go/hostwise"
)

// A host is charged for what it did itself, and for nothing else.
func TestLedgerOf(t *testing.T) {
	attempt := func(errno syscall.Errno) []hostwise.Attempt {
		return []hostwise.Attempt{{Err: opError("connect", errno)}}
	}
	for _, tt := range []struct {
		err  error
		want ledger
	}{
		{&hostwise.ConnectError{Kind: hostwise.ConnectRefused}, ledgerHost},
		{&hostwise.ConnectError{Kind: hostwise.ConnectTimeout}, ledgerHost},
		{&hostwise.ConnectError{Kind: hostwise.ConnectUnreachable, Attempts: attempt(syscall.EHOSTUNREACH)}, ledgerHost},
		{&hostwise.ConnectError{Kind: hostwise.ConnectUnreachable, Attempts: attempt(syscall.ENETUNREACH)}, ledgerHost},
		{&hostwise.TLSError{Kind: hostwise.TLSExpired}, ledgerHost},
		{&hostwise.RequestError{Kind: hostwise.HTTPEOF, Phase: hostwise.PhaseRequest}, ledgerHost},
		{&hostwise.RequestError{Kind: hostwise.TooManyDials, Phase: hostwise.PhaseRequest}, ledgerHost},

		{&hostwise.ConnectError{Kind: hostwise.ProxyConnect}, ledgerProxy},
		{&hostwise.ConnectError{Kind: hostwise.LocalOutage, Attempts: attempt(syscall.ENETUNREACH)}, ledgerLocal},
		{&hostwise.ConnectError{Kind: hostwise.LocalFDs}, ledgerLocal},
		{&hostwise.DNSError{Kind: hostwise.DNSNXDomain}, ledgerName},
		{&hostwise.DNSError{Kind: hostwise.DNSTimeout}, ledgerName},
		{&hostwise.DNSError{Kind: hostwise.DNSRefused}, ledgerServer},

		{&hostwise.ConnectError{Kind: hostwise.Canceled}, ledgerNobody},
		{&hostwise.ConnectError{Kind: hostwise.Deadline}, ledgerNobody},
		{&hostwise.RequestError{Kind: hostwise.HTTPReset, Phase: hostwise.PhaseBody}, ledgerNobody},
		{&hostwise.RequestError{Kind: hostwise.HTTPBodyTimeout, Phase: hostwise.PhaseBody}, ledgerNobody},
		{&hostwise.HostDownError{Kind: hostwise.HostDown}, ledgerNobody},
		{&hostwise.DeniedError{}, ledgerNobody},
		{io.EOF, ledgerNobody},
		{nil, ledgerNobody},
	} {
		if got := ledgerOf(tt.err); got != tt.want {
			t.Errorf("ledgerOf(%T of kind %s) = %v, want %v", tt.err, hostwise.KindOf(tt.err), got, tt.want)
		}
	}
}

// A new Kind needs a decision.
func TestLedgers_HaveEveryKind(t *testing.T) {
	src, err := os.ReadFile("../kind.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\t\w+ +Kind = "(\w+)"`).FindAllSubmatch(src, -1)
	for _, m := range kinds {
		if _, ok := ledgers[hostwise.Kind(m[1])]; !ok {
			t.Errorf("%s is on no ledger", m[1])
		}
	}
	if len(kinds) != len(ledgers) {
		t.Errorf("%d Kinds, %d rows", len(kinds), len(ledgers))
	}
}
