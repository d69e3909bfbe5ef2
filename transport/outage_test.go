package transport

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
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
func (l *outageTest) cut() { l.n.SetFamily(false, &simnet.Link{Fault: simnet.BlackHole}) }

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
