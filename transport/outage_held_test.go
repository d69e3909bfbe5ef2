package transport

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

func TestOutage_Refused(t *testing.T) {
	inOutageTest(t, 40, Options{}, func(l *outageTest) {
		since := l.begin()
		var canary sync.WaitGroup
		canary.Go(func() { l.dial(32) }) // the one there is
		time.Sleep(time.Millisecond)
		err := l.dial(33)
		e, ok := errors.AsType[*hostwise.ConnectError](err)
		if !ok || e.Kind != hostwise.LocalOutage || !e.Since.Equal(since) || e.Timeout() || !hostwise.Retryable(err) {
			t.Fatalf("%#v", err)
		}
		if got, want := err.Error(), "dial h33.test:80: the local network seems to be down since "+since.Format(time.TimeOnly); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := time.Until(hostwise.RetryAt(err)); got < time.Second || got > 2*time.Second {
			t.Errorf("retry in %v, want a tenth of the outage so far", got)
		}

		canary.Wait()
		before := l.tr.Stats()
		var wg sync.WaitGroup
		for range 10 * 100 { // for 10 s, 100 a second
			wg.Go(func() { l.dial(34) })
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		s := l.tr.Stats()
		if got := s.Canaries - before.Canaries; got < 38 || got > 43 {
			t.Errorf("%d canaries in 10 s, want 4 a second", got)
		}
		if got := s.LocalRefused - before.LocalRefused + s.Canaries - before.Canaries; got != 1000 {
			t.Errorf("%d dials refused or let through, want 1000", got)
		}
		if s.HostsDown != 0 {
			t.Errorf("%d hosts down", s.HostsDown)
		}
	})
}

// The first success ends it within a second of the network's return. What
// fails after that, but was begun before, charges nobody.
func TestOutage_Ends(t *testing.T) {
	inOutageTest(t, 40, Options{}, func(l *outageTest) {
		l.begin()
		time.Sleep(time.Minute)
		var first atomic.Int64
		var wg sync.WaitGroup
		healed := time.Now().Add(5 * time.Second)
		time.AfterFunc(5*time.Second, l.heal)
		for range 700 {
			wg.Go(func() {
				if l.dial(0) == nil {
					first.CompareAndSwap(0, int64(time.Since(healed)))
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		if got := time.Duration(first.Load()); got <= 0 || got > time.Second {
			t.Errorf("the first success came %v after the network", got)
		}
		l.down(false)
	})
}

// A response that was under way before the outage says nothing of its end; one
// over a connection that was idle does, since such requests are not held.
func TestOutage_OldAnswersDoNotEndIt(t *testing.T) {
	inOutageTest(t, 41, Options{ResponseHeaderTimeout: time.Minute}, func(l *outageTest) {
		answer := make(chan struct{})
		ln, err := l.n.Listen(netip.AddrPortFrom(l.addr(40), 8080).String())
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-answer
			}
		})}
		go srv.Serve(ln)
		client := &http.Client{Transport: l.tr}
		at := "http://" + l.name(40) + ":8080"
		l.reach(0, 40)
		if err := errors.Join(get(client, at), get(client, "http://"+l.name(0))); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := get(client, at+"/slow"); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		for i := range 40 {
			l.link(i, simnet.BlackHole)
		}
		l.dials(1, 33)
		l.down(true)
		close(answer)
		wg.Wait()
		l.down(true)
		if err := get(client, at); err != nil {
			t.Error(err)
		}
		l.down(false)
		srv.Close()
		time.Sleep(time.Second)
	})
}

// Requests over connections that were idle notice an outage as well.
func TestOutage_SilentConnections(t *testing.T) {
	inOutageTest(t, 40, Options{}, func(l *outageTest) {
		client := &http.Client{Transport: l.tr}
		visit := func(want hostwise.Kind) {
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() {
					if err := get(client, "http://"+l.name(i)); hostwise.KindOf(err) != want {
						t.Errorf("%v, want kind %q", err, want)
					}
				})
			}
			wg.Wait()
		}
		visit("")
		time.Sleep(time.Second)
		l.cut()
		visit(hostwise.HTTPHeaderTimeout)
		l.down(true)
		if got := l.tr.Stats().HostsDown; got != 0 {
			t.Errorf("%d hosts down", got)
		}
	})
}

func TestOutage_WaitingSucceeds(t *testing.T) {
	inOutageTest(t, 140, Options{WaitOnOutage: true}, func(l *outageTest) {
		l.reach(0, 140)
		time.Sleep(time.Second)
		l.cut()
		healed := time.Now().Add(time.Minute)
		time.AfterFunc(time.Minute, l.heal)
		// All but those by whose failure it was noticed.
		if got := l.dials(0, 140); got[""]+got[hostwise.ConnectTimeout] != 140 || got[hostwise.ConnectTimeout] > 31 {
			t.Errorf("%v, want 109 successes or more", got)
		}
		// A canary's SYN may have been lost just before: it is repeated after 1 s.
		if got := time.Since(healed); got < 0 || got > 1100*time.Millisecond {
			t.Errorf("they were all there %v after the network, want at most 1.1s", got)
		}
		s := l.tr.Stats()
		if perSecond := float64(s.Canaries) / 50; perSecond < 3 || perSecond > 5 {
			t.Errorf("%d canaries in 50 s, want 4 a second: all hosts have failed", s.Canaries)
		}
	})
}

func TestOutage_WaitingEnds(t *testing.T) {
	var closed, cancelled, late, client error
	inOutageTest(t, 40, Options{WaitOnOutage: true}, func(l *outageTest) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		l.reach(0, 40)
		time.Sleep(time.Second)
		l.cut()
		for i := range 32 {
			wg.Go(func() { l.dialAt(ctx, i, 80) })
		}
		time.Sleep(11 * time.Second)
		l.down(true)
		deadline, stop := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer stop()
		wg.Go(func() { late = l.dialAt(deadline, 35, 80) })
		wg.Go(func() { client = get(&http.Client{Transport: l.tr, Timeout: time.Second}, "http://"+l.name(36)) })
		time.AfterFunc(1500*time.Millisecond, cancel) // not when a canary has had its time
		wg.Go(func() { cancelled = l.dialAt(ctx, 37, 80) })
		wg.Go(func() { closed = l.dial(38) })
		time.Sleep(3 * time.Second)
		l.tr.Close()
		wg.Wait()
	})
	for _, tt := range []struct {
		name    string
		err     error
		kind    hostwise.Kind
		timeout bool
		is      error
	}{
		{"the context's deadline", late, hostwise.LocalOutage, true, context.DeadlineExceeded},
		{"Client.Timeout", client, hostwise.LocalOutage, true, context.DeadlineExceeded},
		{"canceled", cancelled, hostwise.Canceled, false, context.Canceled},
		{"closed", closed, hostwise.Canceled, false, net.ErrClosed},
	} {
		ne, ok := errors.AsType[net.Error](tt.err)
		if k := hostwise.KindOf(tt.err); !ok || k != tt.kind || ne.Timeout() != tt.timeout || !errors.Is(tt.err, tt.is) {
			t.Errorf("%s: %v: kind %s, want %s, Timeout %v, and %v", tt.name, tt.err, k, tt.kind, tt.timeout, tt.is)
		}
	}
	if late != nil && !strings.Contains(late.Error(), "the local network seems to be down since ") {
		t.Errorf("%v", late)
	}
}

// failing is a Resolver that fails in an outage, and remembers it.
type failing struct {
	names
	until *atomic.Int64 // names fail
	times *atomic.Int32 // that failures were forgotten
}

func (f failing) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if f.until.Load() > 0 {
		return nil, &hostwise.DNSError{Host: host, Kind: hostwise.DNSTimeout}
	}
	return f.names.LookupNetIP(ctx, network, host)
}

func (f failing) ForgetFailures() {
	f.until.Store(0)
	f.times.Add(1)
}

// Names that do not resolve count, though they charge no host; at the end, what
// the resolver remembers of that is forgotten.
func TestOutage_Names(t *testing.T) {
	r := failing{names: names{}, until: new(atomic.Int64), times: new(atomic.Int32)}
	inOutageTest(t, 41, Options{Resolver: r}, func(l *outageTest) {
		for i := range 41 {
			r.names[l.name(i)] = []netip.Addr{l.addr(i)}
		}
		r.names["literal"] = nil
		l.reach(0, 41)
		time.Sleep(time.Second)
		r.until.Store(1)
		if got := l.dials(0, 40); got[hostwise.DNSTimeout]+got[hostwise.LocalOutage] != 40 || got[hostwise.DNSTimeout] < 32 {
			t.Fatalf("%v", got)
		}
		l.down(true)
		time.Sleep(time.Second)
		c, err := l.tr.DialContext(context.Background(), "tcp", netip.AddrPortFrom(l.addr(40), 80).String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.down(false)
		if got := l.dials(0, 41); got[""] != 41 || r.times.Load() != 1 {
			t.Errorf("%v, failures forgotten %d times", got, r.times.Load())
		}
	})
}

// Behind a proxy there is one host that can fail: the proxy.
func TestOutage_Proxy(t *testing.T) {
	inOutageTest(t, 60, Options{}, func(l *outageTest) {
		l.reach(0, 40)
		time.Sleep(time.Second)
		l.link(50, simnet.BlackHole)
		proxy := func(*http.Request) (*url.URL, error) {
			return &url.URL{Scheme: "http", Host: l.name(50) + ":80"}, nil
		}
		ctx := WithProxy(context.Background(), proxy)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				req, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.name(i), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := l.tr.RoundTrip(req); err == nil {
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		l.down(false)
		if got := l.tr.Stats().HostsDown; got != 1 {
			t.Errorf("%d hosts down, want the proxy", got)
		}
	})
}

// A host of this machine is reached without a network.
func TestOutage_Loopback(t *testing.T) {
	tr, err := New(nil, &Options{Resolver: names{}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tr.outage.mu.Lock()
	tr.outage.since = time.Now()
	tr.outage.declare(tr, time.Now())
	tr.outage.next = [noCanary]time.Time{time.Now().Add(time.Hour), time.Now().Add(time.Hour), time.Now().Add(time.Hour)} // no canaries
	tr.outage.mu.Unlock()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go serveOK(ln)
	if err := get(&http.Client{Transport: tr}, "http://"+ln.Addr().String()); err != nil {
		t.Error(err)
	}
	if s := tr.Stats(); !s.Outage || s.LocalRefused != 0 {
		t.Errorf("%+v: a loopback address says nothing of the network", s)
	}
	if _, err := tr.DialContext(context.Background(), "tcp", "192.0.2.1:80"); hostwise.KindOf(err) != hostwise.LocalOutage {
		t.Errorf("%v, want it refused", err)
	}
}
