package dnscache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// What a lost packet and a dead server cost a single lookup is in
// resolver_test.go.

// lookups has 64 callers look 10,000 names up, calls half in the middle, and
// returns the number of failures and the longest time that a lookup took.
func lookups(t *testing.T, r *dnscache.Resolver, half func()) (failures int, longest time.Duration) {
	t.Helper()
	const callers, total = 64, 10_000
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range callers {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > total {
					return
				}
				if i == total/2 {
					half()
				}
				start := time.Now()
				addrs, err := r.LookupNetIP(context.Background(), "ip", "h"+strconv.FormatInt(i, 10)+".test")
				mu.Lock()
				longest = max(longest, time.Since(start))
				if err != nil || len(addrs) != 2 {
					if failures++; failures <= 3 {
						t.Logf("h%d.test: %v, %v", i, addrs, err)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failures, longest
}

// One of two servers dies while 64 callers look names up: none fails, and
// only those that wait at that moment notice it.
func TestFailover_ServerDiesUnderWay(t *testing.T) {
	for _, tt := range []struct {
		name string
		die  func(w *world, s *simnet.DNS)
	}{
		{"the first falls silent", func(w *world, s *simnet.DNS) { s.SetSilent(true) }},
		{"the way to the first swallows all", func(w *world, s *simnet.DNS) {
			w.net.SetLink(s.Addr().Addr(), simnet.Link{RTT: rtt, Fault: simnet.BlackHole})
		}},
		{"the first is stopped", func(w *world, s *simnet.DNS) {
			w.net.SetLink(s.Addr().Addr(), simnet.Link{RTT: rtt, Fault: simnet.Refuse})
		}},
		{"the first is out of order", func(w *world, s *simnet.DNS) { s.SetQPS(1) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 2, dnscache.Options{}, func(w *world) {
				for i := range 10_001 {
					w.host(fmt.Sprintf("h%d.test", i), 300, "192.0.2.1", "2001:db8::1")
				}
				failures, longest := lookups(t, w.r, func() { tt.die(w, w.servers[0]) })
				if most := 400*time.Millisecond + rtt; failures > 0 || longest > most {
					t.Errorf("%d of 10,000 lookups failed, the longest took %v, want none and %v at most", failures, longest, most)
				}
			})
		})
	}
}

// The same over real sockets: the first server is closed, so that the system
// refuses its packets, or stays open and reads nothing.
func TestFailover_ServerDiesUnderWay_RealSockets(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprint("silent=", silent), func(t *testing.T) {
			first, second := serveLoopback(t), serveLoopback(t)
			r, err := dnscache.New(&dnscache.Options{
				Servers: []string{first.addr, second.addr}, HostsFile: os.DevNull,
				Timeout: time.Minute, // on a machine that may stand still for seconds; repetitions come as early
			})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			start := time.Now()
			failures, longest := lookups(t, r, func() {
				first.silent.Store(true)
				if !silent {
					first.conn.Close()
				}
			})
			d := time.Since(start)
			t.Logf("10,000 lookups took %v, the longest %v", d, longest)
			if failures > 0 || d > 2*time.Minute {
				t.Errorf("%d of 10,000 lookups failed in %v, want none within two minutes", failures, d)
			}
			if got := r.Stats().Servers; got[0].Answered == 0 || got[1].Answered == 0 {
				t.Errorf("%d and %d answers, want some of both", got[0].Answered, got[1].Answered)
			}
		})
	}
}

// What failed while no nameserver was heard is asked for again as soon as one
// is, and the failures of that time do not count for the next.
func TestFailover_FailuresEndWithTheOutage(t *testing.T) {
	for _, fault := range []simnet.Fault{simnet.BlackHole, simnet.Refuse} {
		for servers := 1; servers <= 2; servers++ {
			inWorld(t, servers, dnscache.Options{}, func(w *world) {
				w.host("a.test", 300, "192.0.2.1")
				w.host("b.test", 300, "192.0.2.2")
				link := func(l simnet.Link) {
					for _, s := range w.servers {
						w.net.SetLink(s.Addr().Addr(), l)
					}
				}
				link(simnet.Link{RTT: rtt, Fault: fault})
				var e *hostwise.DNSError
				for range 6 {
					_, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test")
					if !errors.As(err, &e) || e.Cached {
						t.Fatalf("%v, want a fresh error", err)
					}
					time.Sleep(time.Until(e.RetryAt))
				}
				_, _ = w.r.LookupNetIP(context.Background(), "ip4", "a.test") // kept for 64 s
				link(simnet.Link{RTT: rtt})
				if _, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test"); !errors.As(err, &e) || !e.Cached {
					t.Errorf("%v, want the cached error: nobody was heard yet", err)
				}
				w.gets("ip4", "b.test", rtt, "192.0.2.2")
				w.gets("ip4", "a.test", rtt, "192.0.2.1")
			})
		}
	}
}

// A server that is silent about one name and answers for others is asked for
// that name ever more rarely.
func TestFailover_SilenceAboutOneNameIsTheNames(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("b.test", 300, "192.0.2.2")
		w.all("a.test", dns.TypeA, simnet.Rule{Silent: true})
		for _, kept := range []time.Duration{1, 2, 4, 8} {
			time.AfterFunc(time.Second, func() { w.gets("ip4", "b.test", rtt, "192.0.2.2") })
			w.fails("ip4", "a.test", hostwise.DNSTimeout, 4*time.Second)
			w.r.Forget("b.test")
			w.gets("ip4", "b.test", rtt, "192.0.2.2")
			w.r.Forget("b.test")
			time.Sleep(kept*time.Second - rtt - 1)
			w.fails("ip4", "a.test", hostwise.DNSTimeout, 0)
			time.Sleep(time.Nanosecond)
		}
	})
}
