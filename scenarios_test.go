package hostwise_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A scenario is one way for a request to fail, and what must be said of it.
// The tables are in the files scenarios_dns_test.go and so on, by phase; a
// new row needs a name, a fixture and the expectation, and no other code.
//
// Kinds without a row, and why: host_paused, since nothing pauses a host yet;
// host_down, which every row that charges somebody ends with; canceled, the
// third of the ways in which each row runs. Those of local_outage, local_denied
// and local_fds are in scenarios_linux_test.go: they take a network or a
// process of their own.
type scenario struct {
	name    string
	host    fixture
	typ     func(error) bool // finds the type
	kind    hostwise.Kind
	phase   hostwise.Phase
	timeout bool             // what Timeout returns
	std     func(error) bool // what errors.Is and As find, as with stock net/http
	charged ledger           // whose breaker opens, if it happens again and again
}

// A fixture makes a broken host of real sockets and returns its URL. It sets
// the lab's options as it needs them.
type fixture func(*lab) (url string)

// A ledger is an account of DESIGN's that a breaker keeps.
type ledger string

const (
	nobody ledger = ""
	host   ledger = "host"
	proxy  ledger = "proxy"
)

var (
	dnsError     = as[*hostwise.DNSError]
	connectError = as[*hostwise.ConnectError]
	tlsError     = as[*hostwise.TLSError]
	requestError = as[*hostwise.RequestError]
	deniedError  = as[*hostwise.DeniedError]
)

const (
	resolve = hostwise.PhaseResolve
	connect = hostwise.PhaseConnect
	inTLS   = hostwise.PhaseTLS
	request = hostwise.PhaseRequest
	inBody  = hostwise.PhaseBody
)

func allScenarios() []scenario {
	return slices.Concat(dnsScenarios, connectScenarios, tlsScenarios, httpScenarios, proxyScenarios)
}

// anything is for errors without a counterpart in the standard library.
func anything(error) bool { return true }

func all(checks ...func(error) bool) func(error) bool {
	return func(err error) bool {
		return !slices.ContainsFunc(checks, func(ok func(error) bool) bool { return !ok(err) })
	}
}

var errChangedMind = errors.New("the caller has changed its mind")

// short is a time-out of the options, and clientTimeout that of the client,
// where nothing else ends the request.
const (
	short         = 400 * time.Millisecond
	clientTimeout = 2 * time.Second
	patience      = 20 * time.Second
)

func TestScenarios(t *testing.T) { runScenarios(t, allScenarios(), 16) }

// runScenarios runs each row in three ways, so many at once: they mostly wait,
// and t.Parallel would allow too few.
func runScenarios(t *testing.T, rows []scenario, atOnce int) {
	stood := watchStalls(t, 3*time.Millisecond)
	room := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range rows {
		for _, way := range []struct {
			name string
			run  func(scenario, *testing.T, func(time.Time) bool)
		}{
			{"no deadline", scenario.withoutDeadline},
			{"Client.Timeout", scenario.underClientTimeout},
			{"WithCancelCause", scenario.cancelled},
		} {
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				t.Run(s.name+"/"+way.name, func(t *testing.T) { way.run(s, t, stood) })
			})
		}
	}
}

// withoutDeadline repeats the request until the breaker opens, or until it
// should have.
func (s scenario) withoutDeadline(t *testing.T, _ func(time.Time) bool) {
	l := newLab(t)
	url := s.host(l)
	switch {
	case l.unbounded:
		t.Skip("no option bounds this")
	case l.silent:
		l.shorten()
	}
	client := &http.Client{Transport: l.transport()}
	const enough = 5 // failures in a row: DESIGN, section 5
	var down *hostwise.HostDownError
	for range enough + 1 {
		err := l.get(context.Background(), client, url)
		if errors.As(err, &down) {
			break
		}
		s.check(t, err, s.kind, s.timeout)
		if e, ok := errors.AsType[*hostwise.DNSError](err); !s.std(err) && !(ok && e.Cached) { // the cache keeps no cause
			t.Errorf("%v does not match what net/http would have returned", err)
		}
		if t.Failed() {
			return
		}
	}
	got := nobody
	switch {
	case down == nil:
	case down.Host == l.proxyAddr:
		got = proxy
	default:
		got = host
	}
	if n := l.resolver.Stats().Entries; strings.HasPrefix(string(s.kind), "local_") && n != 0 {
		t.Errorf("%d names have an entry in the DNS cache for what is our own fault", n)
	}
	if got != s.charged || l.tr.Stats().HostsDown > 1 || l.tr.Stats().HostsDown == 0 != (s.charged == nobody) {
		t.Errorf("charged %q, %d hosts down, want %q", got, l.tr.Stats().HostsDown, s.charged)
	}
}

// underClientTimeout has nothing but http.Client.Timeout to end the request,
// if the host is silent.
func (s scenario) underClientTimeout(t *testing.T, stood func(time.Time) bool) {
	timeout := patience
	var err error
	for range 5 { // again, if the machine stood still
		l := newLab(t)
		url := s.host(l)
		if l.silent {
			timeout = clientTimeout
		}
		ctx, client := context.Background(), &http.Client{Transport: l.transport(), Timeout: timeout}
		begin := time.Now()
		if s.phase == inBody { // whose error at its deadline http.Client replaces, whatever it is
			client.Timeout = 0
			deadline, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ctx = deadline
		}
		err = l.get(ctx, client, url)
		if s.matches(err, s.kind, s.timeout) || !stood(begin) {
			break
		}
	}
	s.check(t, err, s.kind, s.timeout)
	if !s.std(err) {
		t.Errorf("%v does not match what net/http would have returned", err)
	}
}

// cancelled has the caller cancel at the moment at which the request would
// have failed.
func (s scenario) cancelled(t *testing.T, stood func(time.Time) bool) {
	var err error
	for range 5 {
		l := newLab(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		l.cancel = cancel
		url := s.host(l)
		if l.atOnce { // nothing is waited for
			cancel(errChangedMind)
			s.typ, s.phase = requestError, ""
		}
		begin := time.Now()
		err = l.get(ctx, &http.Client{Transport: l.transport()}, url)
		cancel(nil)
		if s.matches(err, hostwise.Canceled, false) || !stood(begin) {
			break
		}
	}
	s.check(t, err, hostwise.Canceled, false)
	if !errors.Is(err, errChangedMind) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v: the cause is found: %v, context.Canceled: %v", err, errors.Is(err, errChangedMind), errors.Is(err, context.Canceled))
	}
}

func (s scenario) matches(err error, kind hostwise.Kind, timeout bool) bool {
	ne, ok := errors.AsType[net.Error](err)
	return s.typ(err) && hostwise.KindOf(err) == kind && hostwise.PhaseOf(err) == s.phase && ok && ne.Timeout() == timeout
}

func (s scenario) check(t *testing.T, err error, kind hostwise.Kind, timeout bool) {
	t.Helper()
	if !s.matches(err, kind, timeout) {
		ne, _ := errors.AsType[net.Error](err)
		t.Errorf("%v\n%T of kind %s in phase %q, Timeout() %v; want kind %s in phase %q, Timeout() %v", err,
			errors.Unwrap(err), hostwise.KindOf(err), hostwise.PhaseOf(err), ne != nil && ne.Timeout(), kind, s.phase, timeout)
	}
}

// get requests url and reads the body.
func (l *lab) get(ctx context.Context, client *http.Client, url string) error {
	method, body := http.MethodGet, io.Reader(nil)
	if l.body != nil {
		method, body = http.MethodPost, l.body()
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// Every Kind has a row, but for those named above.
func TestScenarios_CoverTheKinds(t *testing.T) {
	without := []hostwise.Kind{
		hostwise.HostPaused, hostwise.HostDown, hostwise.HTTPStatus, hostwise.Canceled, hostwise.LocalOutage, hostwise.LocalDenied, hostwise.LocalFDs,
	}
	rows := map[hostwise.Kind]int{}
	for _, s := range allScenarios() {
		rows[s.kind]++
	}
	for _, k := range kindsOf(t) {
		if has := rows[k] > 0; has == slices.Contains(without, k) {
			t.Errorf("%s has %d rows", k, rows[k])
		}
	}
	t.Logf("%d rows, %d Kinds", len(allScenarios()), len(rows))
}

// kindsOf returns the Kinds that kind.go declares.
func kindsOf(t *testing.T) (kinds []hostwise.Kind) {
	src, err := os.ReadFile("kind.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Kind = "(\w+)"`).FindAllSubmatch(src, -1) {
		kinds = append(kinds, hostwise.Kind(m[1]))
	}
	return kinds
}
