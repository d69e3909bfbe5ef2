package hostwise_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

// These tests run over real loopback sockets: a miekg/dns nameserver, web
// servers with HTTP/1.1 and HTTP/2, and hosts broken in every way that a
// loopback interface allows. They need no root. A fate that the system cannot
// provide is skipped with the reason. Exact times are tested in virtual time,
// in the packages.

// start makes an internet with a few hosts of each fate, and a client for it.
func start(t *testing.T, o loopnet.Options, opt transport.Options) (*loopnet.Internet, *transport.Transport) {
	t.Helper()
	n, err := loopnet.Start(&o)
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range n.Missing() {
		t.Log("not available here:", missing)
	}
	r, err := dnscache.New(&dnscache.Options{Servers: []string{n.DNSAddr()}, HostsFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	opt.Resolver = r
	tr, err := transport.New(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.RootCAs()}, ForceAttemptHTTP2: true}, &opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tr.Close()
		r.Close()
		n.Close()
	})
	return n, tr
}

// hostOf returns a host of a fate, or skips the test.
func hostOf(t *testing.T, n *loopnet.Internet, fate loopnet.Fate) loopnet.Host {
	t.Helper()
	hosts := n.Hosts(fate)
	if len(hosts) == 0 {
		t.Skipf("no %s host here: %s", fate, strings.Join(n.Missing(), "; "))
	}
	return hosts[0]
}

// failures is what each broken fate must be reported as.
var failures = []struct {
	fate  loopnet.Fate
	kind  hostwise.Kind
	phase hostwise.Phase
	as    func(error) bool // finds the type
	std   func(error) bool // what holds with stock net/http, too
}{
	{loopnet.NXDomain, hostwise.DNSNXDomain, hostwise.PhaseResolve, as[*hostwise.DNSError], notFound},
	{loopnet.NoData, hostwise.DNSNoData, hostwise.PhaseResolve, as[*hostwise.DNSError], notFound},
	{loopnet.ServFail, hostwise.DNSServFail, hostwise.PhaseResolve, as[*hostwise.DNSError], as[*net.DNSError]},
	{loopnet.DNSSilent, hostwise.DNSTimeout, hostwise.PhaseResolve, as[*hostwise.DNSError], as[*net.DNSError]},
	{loopnet.Refused, hostwise.ConnectRefused, hostwise.PhaseConnect, as[*hostwise.ConnectError], is(syscall.ECONNREFUSED)},
	{loopnet.BlackHole, hostwise.ConnectTimeout, hostwise.PhaseConnect, as[*hostwise.ConnectError], as[*net.OpError]},
	{loopnet.NotTLS, hostwise.TLSNotTLS, hostwise.PhaseTLS, as[*hostwise.TLSError], is(http.ErrSchemeMismatch)},
	{loopnet.Expired, hostwise.TLSExpired, hostwise.PhaseTLS, as[*hostwise.TLSError], as[x509.CertificateInvalidError]},
	{loopnet.Closed, hostwise.HTTPEOF, hostwise.PhaseRequest, as[*hostwise.RequestError], is(io.EOF)},
	{loopnet.Mute, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, as[*hostwise.RequestError], is(context.DeadlineExceeded)},
}

func as[E error](err error) bool { return errors.As(err, new(E)) }

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

func TestIntegration_ErrorsThroughClientAndColly(t *testing.T) {
	n, tr := start(t, loopnet.Options{}, transport.Options{})
	const timeout = 3 * time.Second
	client := &http.Client{Transport: tr, Timeout: timeout}
	stood := watchStalls(t, timeout/100/3)
	for _, f := range failures {
		t.Run(string(f.fate), func(t *testing.T) {
			t.Parallel()
			host := hostOf(t, n, f.fate)
			// A request during which the machine stood still is made again.
			try := func(request func() error) (err error) {
				for range 5 {
					begin := time.Now()
					if err = request(); f.as(err) || !stood(begin) {
						break
					}
				}
				return err
			}
			check := func(who string, err error) {
				t.Helper()
				if hostwise.KindOf(err) != f.kind || hostwise.PhaseOf(err) != f.phase || !f.as(err) {
					t.Errorf("%s: %v: kind %s in phase %s, want %s in %s", who, err, hostwise.KindOf(err), hostwise.PhaseOf(err), f.kind, f.phase)
				}
				if !f.std(err) {
					t.Errorf("%s: %v does not match what net/http would have returned", who, err)
				}
			}
			check("http.Client", try(func() error {
				_, err := client.Get(host.URL)
				return err
			}))

			c := colly.NewCollector(colly.AllowURLRevisit())
			if _, err := hostwisecolly.Attach(c, tr); err != nil {
				t.Fatal(err)
			}
			c.SetRequestTimeout(timeout)
			var onError error
			c.OnError(func(_ *colly.Response, err error) { onError = err })
			check("Visit", try(func() error { return c.Visit(host.URL) }))
			check("OnError", onError)
		})
	}
}

func TestIntegration_HostDown(t *testing.T) {
	n, tr := start(t, loopnet.Options{Hosts: map[loopnet.Fate]int{loopnet.Refused: 1}}, transport.Options{})
	host := hostOf(t, n, loopnet.Refused)
	client := &http.Client{Transport: tr}
	for range 3 {
		client.Get(host.URL)
	}
	_, err := client.Get(host.URL)
	c := colly.NewCollector()
	if _, attachErr := hostwisecolly.Attach(c, tr); attachErr != nil {
		t.Fatal(attachErr)
	}
	for who, err := range map[string]error{"http.Client": err, "Visit": c.Visit(host.URL)} {
		var e *hostwise.HostDownError
		if !errors.As(err, &e) || hostwise.KindOf(err) != hostwise.HostDown || time.Until(e.RetryAt) <= 0 {
			t.Errorf("%s: %v, want a HostDownError with a time to come", who, err)
		}
	}
}

// http.Client replaces an error that comes at its deadline with one that has
// no type. 500 requests that Client.Timeout ends keep theirs. (The transport
// gives up 1 % before the deadline; a request during which this machine stood
// still for longer than that shows nothing, and is made again. In virtual
// time no allowance is needed: see package transport.)
func TestIntegration_ClientTimeoutKeepsTheType(t *testing.T) {
	const requests, timeout, stagger, tries = 500, 3 * time.Second, 4 * time.Millisecond, 5
	n, tr := start(t, loopnet.Options{}, transport.Options{MaxConns: -1, MaxConnsPerHost: -1})
	stood := watchStalls(t, timeout/100/3)
	for _, f := range failures {
		if f.fate != loopnet.DNSSilent && f.fate != loopnet.BlackHole && f.fate != loopnet.Mute {
			continue
		}
		t.Run(string(f.fate), func(t *testing.T) {
			host := hostOf(t, n, f.fate)
			client := &http.Client{Transport: tr, Timeout: timeout}
			var typed, again atomic.Int64
			var wg sync.WaitGroup
			for range requests {
				wg.Go(func() {
					for try := 1; ; try++ {
						begin := time.Now()
						_, err := client.Get(host.URL)
						if f.as(err) && hostwise.PhaseOf(err) == f.phase && hostwise.KindOf(err) == f.kind ||
							hostwise.KindOf(err) == hostwise.HostDown { // that one Client.Timeout did not end
							typed.Add(1)
							return
						}
						if try == tries || !stood(begin) {
							t.Errorf("try %d: %v", try, err)
							return
						}
						again.Add(1)
					}
				})
				time.Sleep(stagger) // not all at one instant: the machine has other work
			}
			wg.Wait()
			t.Logf("%d of %d typed, %d made again", typed.Load(), requests, again.Load())
		})
	}
}

// watchStalls returns a function that tells whether, since a given time, a
// goroutine that was due had to wait for longer than limit.
func watchStalls(t *testing.T, limit time.Duration) (stood func(since time.Time) bool) {
	const tick = 2 * time.Millisecond
	var last atomic.Pointer[time.Time]
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for before := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			now := time.Now()
			if now.Sub(before) > limit+tick {
				last.Store(&now)
			}
			before = now
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return func(since time.Time) bool {
		l := last.Load()
		return l != nil && l.After(since)
	}
}

func TestIntegration_HealthyHosts(t *testing.T) {
	n, tr := start(t, loopnet.Options{SlowDNS: 600 * time.Millisecond, SlowHeader: 300 * time.Millisecond}, transport.Options{})
	client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	c := colly.NewCollector(colly.AllowURLRevisit())
	if _, err := hostwisecolly.Attach(c, tr); err != nil {
		t.Fatal(err)
	}
	for _, host := range n.Hosts() {
		if !host.Fate.OK() {
			continue
		}
		t.Run(string(host.Fate), func(t *testing.T) {
			resp, err := client.Get(host.URL)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			want := 1
			if strings.HasPrefix(host.URL, "https:") {
				want = 2
			}
			if resp.ProtoMajor != want {
				t.Errorf("%s over HTTP/%d, want HTTP/%d", host.URL, resp.ProtoMajor, want)
			}
			if err := c.Visit(host.URL); err != nil {
				t.Error("Colly:", err)
			}
		})
	}
}

// One flight per name and family also holds over real sockets.
func TestIntegration_ThousandLookupsSendOneQueryPerFamily(t *testing.T) {
	n, _ := start(t, loopnet.Options{Hosts: map[loopnet.Fate]int{loopnet.Healthy: 1}, ColdDNS: 500 * time.Millisecond}, transport.Options{})
	r, err := dnscache.New(&dnscache.Options{Servers: []string{n.DNSAddr()}, HostsFile: os.DevNull, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	name := n.Hosts()[0].Name
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if _, err := r.LookupNetIP(context.Background(), "ip", name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, qtype := range []string{"A", "AAAA"} {
		if got := n.Queries()[loopnet.Query{Name: name, Type: qtype}]; got != 1 {
			t.Errorf("%d %s queries, want 1", got, qtype)
		}
	}
}

func TestIntegration_NoGoroutineIsLeftAfterClose(t *testing.T) {
	before := runtime.NumGoroutine()
	n, err := loopnet.Start(&loopnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := dnscache.New(&dnscache.Options{Servers: []string{n.DNSAddr()}, HostsFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := transport.New(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.RootCAs()}}, &transport.Options{Resolver: r})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: tr, Timeout: 500 * time.Millisecond}
	var wg sync.WaitGroup
	for _, h := range n.Hosts() {
		for _, page := range h.Pages {
			wg.Go(func() {
				resp, err := client.Get(page)
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
	}
	wg.Wait()
	tr.Close()
	r.Close()
	n.Close()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
