package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// An outageTest is a Transport among hosts h0.test, h1.test and so on, 20 ms
// away.
type outageTest struct {
	*testing.T
	n       *simnet.Network
	tr      *Transport
	changes []OutageChange // under mu
	mu      sync.Mutex
}

func inOutageTest(t *testing.T, hosts int, o Options, f func(l *outageTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &outageTest{T: t, n: simnet.New(1)}
		known := names{}
		for i := range hosts {
			known[l.name(i)] = []netip.Addr{l.addr(i)}
			l.link(i, simnet.None)
			ln, err := l.n.Listen(netip.AddrPortFrom(l.addr(i), 80).String())
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go serveOK(ln)
		}
		if o.Resolver == nil {
			o.Resolver = known
		}
		o.DisableIPv6 = true
		hook := o.OnOutage
		o.OnOutage = func(c OutageChange) {
			l.tr.Stats() // which takes the locks
			l.mu.Lock()
			l.changes = append(l.changes, c)
			l.mu.Unlock()
			if hook != nil {
				hook(c)
			}
		}
		var err error
		if l.tr, err = New(&http.Transport{DialContext: l.n.DialContext}, &o); err != nil {
			t.Fatal(err)
		}
		f(l)
		l.tr.Close()
		l.heal()
		for i := range hosts {
			l.link(i, simnet.None)
		}
		time.Sleep(time.Minute) // for what has been closed to be noticed
	})
}

func (l *outageTest) name(i int) string { return fmt.Sprintf("h%d.test", i) }
func (l *outageTest) addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
}

// link breaks the way to one host, or mends it.
func (l *outageTest) link(i int, f simnet.Fault) {
	l.n.SetLink(l.addr(i), simnet.Link{RTT: 20 * time.Millisecond, Fault: f})
}

// cut takes the network away.
func (l *outageTest) cut()  { l.n.SetFamily(false, &simnet.Link{Fault: simnet.BlackHole}) }
func (l *outageTest) heal() { l.n.SetFamily(false, nil) }

// dialAt dials a host on a port.
func (l *outageTest) dialAt(ctx context.Context, i, port int) error {
	c, err := l.tr.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", l.name(i), port))
	if err == nil {
		c.Close()
	}
	return err
}

func (l *outageTest) dial(i int) error { return l.dialAt(context.Background(), i, 80) }

// dials dials the hosts from one to before another at once, and returns the
// Kinds of the outcomes; "" is a success.
func (l *outageTest) dials(from, to int) map[hostwise.Kind]int {
	var mu sync.Mutex
	kinds := map[hostwise.Kind]int{}
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		wg.Go(func() {
			err := l.dial(i)
			mu.Lock()
			defer mu.Unlock()
			kinds[hostwise.KindOf(err)]++
		})
	}
	wg.Wait()
	return kinds
}

func (l *outageTest) reach(from, to int) {
	l.Helper()
	if got := l.dials(from, to); got[""] != to-from {
		l.Fatalf("%v, want all of them reached", got)
	}
}

// down checks whether the network is suspected.
func (l *outageTest) down(want bool) {
	l.Helper()
	if got := l.tr.Stats(); got.Outage != want || got.OutageSince.IsZero() == want {
		l.Errorf("outage: %v since %v, want %v", got.Outage, got.OutageSince, want)
	}
}

// begin brings about an outage that is noticed, of 40 hosts that were reached.
func (l *outageTest) begin() (since time.Time) {
	l.Helper()
	l.reach(0, 40)
	time.Sleep(time.Second)
	since = time.Now()
	l.cut()
	l.dials(0, 32)
	l.down(true)
	return since
}

func TestOutage_TakesDistinctHosts(t *testing.T) {
	inOutageTest(t, 40, Options{}, func(l *outageTest) {
		l.reach(0, 40)
		time.Sleep(time.Second)
		since := time.Now()
		l.cut()
		l.dials(0, 31)
		for i := range 3 {
			l.dials(0, 1)
			if i > 0 {
				l.dialAt(context.Background(), 1, 443)
			}
		}
		l.down(false)
		if got := l.tr.Stats().HostsDown; got != 0 {
			t.Errorf("%d hosts down", got)
		}
		l.dials(0, 1)
		if got := l.tr.Stats().HostsDown; got != 1 {
			t.Errorf("%d hosts down after five failures of one, want it", got)
		}
		l.dials(31, 32)
		l.down(true)
		want := OutageChange{Down: true, Since: since, Hosts: 32, Undone: 33} // and h1.test:443
		if len(l.changes) != 1 || l.changes[0] != want {
			t.Errorf("%+v, want %+v", l.changes, want)
		}
		if got := l.tr.Stats().HostsDown; got != 0 {
			t.Errorf("%d hosts down in the outage, want what it has charged undone", got)
		}
		for range 20 { // canaries, and what they fail with is charged to nobody
			l.dials(0, 40)
			time.Sleep(time.Second)
		}
		if l.heal(); l.dial(0) != nil && l.tr.Stats().Outage {
			time.Sleep(time.Second)
			l.dial(1)
		}
		l.down(false)
		if got := l.dials(0, 40); got[""] != 40 {
			t.Errorf("%v once the network is back, want 40 successes", got)
		}
		if want := (OutageChange{Since: since, Hosts: 32}); len(l.changes) != 2 || l.changes[1] != want {
			t.Errorf("%+v, want %+v at the end", l.changes, want)
		}
	})
}

// A success in between, or after the failures have begun, is the end of a run.
func TestOutage_SuccessEndsTheRun(t *testing.T) {
	inOutageTest(t, 64, Options{}, func(l *outageTest) {
		l.reach(0, 64)
		for i := range 63 {
			l.link(i, simnet.BlackHole)
		}
		l.dials(0, 31)
		l.reach(63, 64)
		l.dials(31, 62)
		l.down(false)

		l.reach(63, 64)
		time.AfterFunc(5*time.Second, func() { l.dial(63) })
		l.dials(0, 62) // for 10 s
		l.down(false)
		if got := l.tr.Stats().Outages; got != 0 {
			t.Errorf("%d outages", got)
		}
	})
}

// What is left at the end of a crawl are dead hosts.
func TestOutage_NotOfHostsNeverReached(t *testing.T) {
	inOutageTest(t, 200, Options{}, func(l *outageTest) {
		for i := 10; i < 200; i++ {
			l.link(i, []simnet.Fault{simnet.BlackHole, simnet.Refuse, simnet.Unreachable}[i%3])
		}
		l.reach(0, 10)
		for i := range 4 { // and four that have died meanwhile
			l.link(i, simnet.BlackHole)
		}
		time.Sleep(time.Second)
		kinds := map[hostwise.Kind]int{}
		for range 5 {
			for k, n := range l.dials(10, 200) {
				kinds[k] += n
			}
			l.dials(0, 4)
		}
		if n := kinds[hostwise.LocalOutage]; n != 0 || l.tr.Stats().Outages != 0 {
			t.Errorf("%v, %d outages", kinds, l.tr.Stats().Outages)
		}
		if got := l.tr.Stats().HostsDown; got < 190 {
			t.Errorf("%d hosts down, want all 190 that were never reached", got)
		}
	})
}

// A crawl may begin in an outage; but who has heard anybody at all does not
// take dead hosts for one.
func TestOutage_FromTheBeginning(t *testing.T) {
	for _, heard := range []bool{false, true} {
		inOutageTest(t, 40, Options{}, func(l *outageTest) {
			if heard {
				l.link(0, simnet.Refuse)
				l.dial(0)
			}
			l.cut()
			l.dials(1, 33)
			l.down(!heard)
		})
	}
}

// A suspicion that nothing confirms is dropped: a crawl to the hosts that were
// reached goes on, but only dead ones are left to it.
func TestOutage_Lapses(t *testing.T) {
	for _, wait := range []bool{false, true} {
		inOutageTest(t, 60, Options{WaitOnOutage: wait}, func(l *outageTest) {
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
			cancel() // they may be waiting
			wg.Wait()
			l.heal()
			for i := 40; i < 60; i++ {
				l.link(i, simnet.BlackHole)
			}
			start := time.Now()
			var last error
			for time.Since(start) < 90*time.Second {
				if last = l.dial(40); wait {
					break
				}
				time.Sleep(time.Second / 3)
			}
			l.down(false)
			if k := hostwise.KindOf(last); k == hostwise.LocalOutage {
				t.Errorf("wait %v: the last error is %v", wait, last)
			}
			if took := time.Since(start); took > 100*time.Second {
				t.Errorf("wait %v: it took %v", wait, took)
			}
		})
	}
}

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
		if got := s.Canaries - before.Canaries; got < 70 || got > 81 {
			t.Errorf("%d canaries in 10 s, want 8 a second", got)
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
		if perSecond := float64(s.Canaries) / 50; perSecond < 6 || perSecond > 10 {
			t.Errorf("%d canaries in 50 s, want 8 a second", s.Canaries)
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
		time.AfterFunc(2*time.Second, cancel)
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
	tr, err := New(nil, nil)
	if err != nil {
		t.Skip(err)
	}
	defer tr.Close()
	tr.outage.mu.Lock()
	tr.outage.since = time.Now()
	tr.outage.declare(tr, time.Now())
	tr.outage.next = [2]time.Time{time.Now().Add(time.Hour), time.Now().Add(time.Hour)} // no canaries
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

// BenchmarkOutage_Calm is what the detector costs a request that succeeds, and
// one that dials.
func BenchmarkOutage_Calm(b *testing.B) {
	t, err := New(nil, &Options{Resolver: names{}})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	began := time.Now()
	t.success(began) // the first one notes that there was one
	d := &dial{t: t, canary: noCanary}
	b.Run("1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			t.success(began)
			if d.isHeld() {
				b.Fatal("held")
			}
		}
	})
	b.Run("64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				t.success(began)
				if d.isHeld() {
					b.Error("held")
				}
			}
		})
	})
}
