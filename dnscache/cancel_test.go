package dnscache_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// A canceled lookup returns at once, whatever it waits for. The bubble then
// sees to it that Close leaves no goroutine.
func TestCancel_ReturnsAtOnceInEveryPhase(t *testing.T) {
	silent := func(w *world) { w.all("a.test", dns.TypeANY, simnet.Rule{Silent: true}) }
	truncated := func(w *world) {
		w.all("a.test", dns.TypeANY, simnet.Rule{Truncate: true, Times: 2}, simnet.Rule{Silent: true})
	}
	blackHole := func(w *world) {
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{RTT: rtt, Fault: simnet.BlackHole})
	}
	tcp := []string{"tcp://192.0.2.53"}
	for _, tt := range []struct {
		name    string
		servers []string // instead of one at 192.0.2.53
		before  func(w *world)
		after   time.Duration
		check   func(s dnscache.Stats, w *world) bool // whether it was in that phase
	}{
		{"sent over UDP", nil, silent, 100 * time.Millisecond,
			func(s dnscache.Stats, w *world) bool { return s.Queries == 2 && s.Retransmits == 0 }},
		{"sent again", nil, silent, 500 * time.Millisecond,
			func(s dnscache.Stats, w *world) bool { return s.Retransmits == 2 }},
		{"waiting for the last answer", nil, silent, 3999 * time.Millisecond,
			func(s dnscache.Stats, w *world) bool { return s.Retransmits == 6 }},
		{"waiting for a socket", nil, func(w *world) {
			w.servers[0].SetSilent(true)
			for _, h := range names(16 * 256) {
				w.r.Subscribe("ip4", h, func(string, []netip.Addr, error) {})
			}
		}, 100 * time.Millisecond, func(s dnscache.Stats, w *world) bool { return w.servers[0].Count("a.test", dns.TypeA) == 0 }},
		{"connecting for a truncated answer", nil, func(w *world) {
			truncated(w)
			time.AfterFunc(rtt-1, func() { blackHole(w) })
		}, 500 * time.Millisecond, func(s dnscache.Stats, w *world) bool { return s.TCP >= 2 && len(w.servers[0].Queries()) == 2 }},
		{"sent over TCP for a truncated answer", nil, truncated, 300 * time.Millisecond,
			func(s dnscache.Stats, w *world) bool { return w.servers[0].Count("a.test", dns.TypeA) == 2 }},
		{"connecting over TCP", tcp, blackHole, 500 * time.Millisecond,
			func(s dnscache.Stats, w *world) bool { return s.TCP > 0 && len(w.servers[0].Queries()) == 0 }},
		{"sent over TCP", tcp, silent, time.Second,
			func(s dnscache.Stats, w *world) bool { return w.servers[0].Count("a.test", dns.TypeA) == 1 }},
		{"waiting with a stale answer at hand", nil, func(w *world) {
			w.known(simnet.Rule{Silent: true})
		}, 1799 * time.Millisecond, func(s dnscache.Stats, w *world) bool { return s.StaleHits == 0 && s.Hits == 0 }},
		{"waiting for another's question", nil, func(w *world) {
			silent(w)
			w.r.Subscribe("ip", "a.test", func(string, []netip.Addr, error) {})
			time.Sleep(100 * time.Millisecond)
		}, 200 * time.Millisecond, func(s dnscache.Stats, w *world) bool { return s.Coalesced == 2 }},
		{"before it began", nil, silent, 0, func(s dnscache.Stats, w *world) bool { return s.Queries == 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := func(lookup func(w *world, ctx context.Context) error) {
				t.Helper()
				servers := 1
				if tt.servers != nil {
					servers = 0
				}
				inWorld(t, servers, dnscache.Options{Servers: tt.servers}, func(w *world) {
					if tt.servers != nil {
						w.serve("192.0.2.53")
					}
					tt.before(w)
					ctx, cancel := context.WithCancelCause(context.Background())
					if tt.after == 0 {
						cancel(errStop)
					}
					time.AfterFunc(tt.after, func() { cancel(errStop) })
					start := time.Now()
					err := lookup(w, ctx)
					if d := time.Since(start); d != tt.after {
						t.Errorf("returned %v after the cancellation", d-tt.after)
					}
					if hostwise.KindOf(err) != hostwise.Canceled || !errors.Is(err, context.Canceled) || !errors.Is(err, errStop) {
						t.Errorf("err = %v, want canceled, and why", err)
					}
					if s := w.r.Stats(); !tt.check(s, w) {
						t.Errorf("it was in another phase: %+v", s)
					}
				})
			}
			run(func(w *world, ctx context.Context) error {
				_, err := w.r.LookupNetIP(ctx, "ip", "a.test")
				return err
			})
			run(func(w *world, ctx context.Context) error { return w.r.Prefetch(ctx, []string{"a.test"})[0].Err })
		})
	}
}

// Of 100,000 names to prefetch, none is asked for once it is canceled.
func TestCancel_EndsAPrefetch(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].SetSilent(true)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		results := w.r.Prefetch(ctx, names(100_000))
		if d := time.Since(w.start); d != 100*time.Millisecond || len(results) != 100_000 {
			t.Errorf("%d results after %v, want 100000 after 100ms", len(results), d)
		}
		for _, r := range results {
			if r.Err == nil {
				t.Fatalf("%s: no error", r.Host)
			}
		}
		time.Sleep(rtt)
		if got := len(w.servers[0].Queries()); got != 2*64 {
			t.Errorf("%d queries, want those of the first 64 names", got)
		}
	})
}

// Over real sockets, 10,000 lookups canceled on their way leave no goroutine
// each, no timer each and no socket each; and nothing at all after Close.
func TestCancel_LeavesNothing_RealSockets(t *testing.T) {
	server := serveLoopback(t)
	server.silent.Store(true)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	r, err := dnscache.New(&dnscache.Options{Servers: []string{server.addr}, HostsFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var longest time.Duration
	for batch := range 10 {
		ctx, cancel := context.WithCancel(context.Background())
		var canceled time.Time
		for _, h := range names(1000) {
			wg.Go(func() {
				_, err := r.LookupNetIP(ctx, "ip", h)
				d := time.Since(canceled)
				if hostwise.KindOf(err) != hostwise.Canceled {
					t.Errorf("%s: %v, want canceled", h, err)
				}
				mu.Lock()
				longest = max(longest, d)
				mu.Unlock()
			})
		}
		for int(r.Stats().Misses) < 2000*(batch+1) { // all have asked
			runtime.Gosched()
		}
		canceled = time.Now()
		cancel()
		wg.Wait()
	}
	t.Logf("the last of 1000 lookups returned %v after the cancellation", longest)
	if longest > 10*time.Second { // 1000 at a time, on a machine that may stand still for seconds
		t.Errorf("the last of 1000 lookups returned %v after the cancellation", longest)
	}
	if flights, due := r.UnderWay(); flights != 0 || due != 0 {
		t.Errorf("%d questions and %d times to act are left, want none", flights, due)
	}
	if got := r.Waiting(); got != 0 {
		t.Errorf("%d queries still wait for a socket", got)
	}
	if got := len(resolverGoroutines()); got > 1+16 { // one for the times to act, one for each socket
		t.Errorf("%d goroutines left, want 17 at most:\n%s", got, strings.Join(resolverGoroutines(), "\n\n"))
	}
	if got := openFiles(t) - files; files >= 0 && got > 16+2 { // the runtime's poller may have come with the first
		t.Errorf("%d files left open, want 16 sockets at most", got)
	}
	r.Close()
	if got := resolverGoroutines(); len(got) > 0 {
		t.Errorf("%d goroutines left after Close:\n%s", len(got), strings.Join(got, "\n\n"))
	}
	for range 100 { // those of others end in their own time
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines after Close, %d before New", got, goroutines)
	}
	if got := openFiles(t); got > files {
		t.Errorf("%d files open after Close, %d before New", got, files)
	}
}

// openFiles returns the number of open file descriptors, or -1 where the
// system does not tell.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("open files are not counted here:", err)
		return -1
	}
	return len(list)
}

// A question that ends early, for want of callers, has not had the time to
// fail: those who ask next are not told that it did.
func TestCancel_LeavesNoFailure(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].AddHost("a.test", 300, netip.MustParseAddr("192.0.2.1"))
		w.servers[0].SetSilent(true)
		s := w.r.Subscribe("ip", "a.test", func(string, []netip.Addr, error) {})
		time.Sleep(100 * time.Millisecond)
		s.Stop()
		time.Sleep(time.Second) // then late answers are not waited for any more
		w.servers[0].SetSilent(false)
		if _, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test"); err != nil {
			t.Error(err)
		}
	})
}
