package dnscache_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// A burst is let through as fast as the server answers: its own socket holds
// 256 small packets, of which it frees a quarter late, and drops the rest.
func TestWindow_ABurstWaitsForAnswers(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		hosts := names(2000)
		for _, h := range hosts {
			w.host(h, 300, "192.0.2.1")
		}
		var wg sync.WaitGroup
		for _, h := range hosts {
			wg.Go(func() {
				if _, err := w.r.LookupNetIP(context.Background(), "ip4", h); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		arrivals := map[time.Time]int{}
		for _, q := range w.servers[0].Queries() {
			arrivals[q.At]++
		}
		for at, n := range arrivals {
			if n > 176 {
				t.Errorf("%d queries arrived at once after %v, want at most 176", n, at.Sub(w.start))
			}
		}
		if got := len(w.servers[0].Queries()); got != 2000 || w.r.Stats().Retransmits != 0 {
			t.Errorf("%d queries, %d repetitions, want 2000 and 0", got, w.r.Stats().Retransmits)
		}
	})
}

// That answers take long does not say that the server has read what was sent:
// the window grows by one for eight of them, and is the least again for the
// next burst.
func TestWindow_GrowsSlowly(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		hosts := names(2000)
		for _, h := range hosts {
			w.all(h, dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: 100*time.Millisecond - rtt})
		}
		burst := func(hosts []string) (sent []int) {
			before := len(w.servers[0].Queries())
			start := time.Now()
			var wg sync.WaitGroup
			for _, h := range hosts {
				wg.Go(func() { w.r.LookupNetIP(context.Background(), "ip4", h) })
			}
			wg.Wait()
			for _, q := range w.servers[0].Queries()[before:] {
				i := int(q.At.Sub(start) / (100 * time.Millisecond))
				sent = append(sent, make([]int, max(0, i+1-len(sent)))...)
				sent[i]++
			}
			return sent
		}
		got := burst(hosts[:1500])
		if want := []int{176, 198, 222, 250, 281, 316, 57}; !slices.Equal(got, want) {
			t.Errorf("queries in each 100 ms: %v, want %v", got, want)
		}
		if got := burst(hosts[1500:]); got[0] != 176 {
			t.Errorf("the next burst: %v, want 176 at first", got)
		}
	})
}

// A lookup's time begins when its question is sent: those that wait for room
// do not fail meanwhile.
func TestWindow_WaitingIsNotCharged(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		hosts := names(20_000)
		for _, h := range hosts {
			w.all(h, dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: 100 * time.Millisecond})
		}
		failed := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, h := range hosts {
			wg.Go(func() {
				if _, err := w.r.LookupNetIP(context.Background(), "ip4", h); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if failed > 0 {
			t.Errorf("%d of %d lookups failed, though the server answers each after 0.1 s", failed, len(hosts))
		}
		t.Logf("%d lookups at once took %v", len(hosts), time.Since(w.start))
	})
}

// What a server drops, as one does whose lookups fail slowly, closes the
// window for 0.4 s and no longer: 1,000 dead names take 2 s to send, and a
// name behind them is sent before any of them is again.
func TestWindow_SilenceDoesNotCloseIt(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		for _, h := range names(1000) {
			w.all(h, dns.TypeA, simnet.Rule{Silent: true})
			wg.Go(func() { w.r.LookupNetIP(ctx, "ip4", h) })
		}
		w.host("a.test", 300, "192.0.2.1")
		time.Sleep(rtt)
		w.gets("ip4", "a.test", 2*time.Second, "192.0.2.1") // asked for at 10 ms, sent at 5 times 0.4 s
		cancel()
		wg.Wait()
	})
}

// Behind a server that answers nothing, repetitions come out of a budget: a
// tenth of all messages and twenty, until the first try's time is up.
func TestRetransmit_Budget(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].SetSilent(true)
		var wg sync.WaitGroup
		hosts := names(170)
		for _, h := range hosts {
			wg.Go(func() { w.r.LookupNetIP(context.Background(), "ip4", h) })
		}
		arrived := func(after time.Duration) { time.Sleep(time.Until(w.start.Add(after + rtt))) }
		check := func(after time.Duration, queries, repetitions int) {
			t.Helper()
			time.Sleep(time.Until(w.start.Add(after)))
			synctest.Wait()
			s := w.r.Stats()
			if int(s.Queries) != queries || int(s.Retransmits) != repetitions {
				t.Errorf("after %v: %d messages, %d of them repetitions, want %d and %d", after, s.Queries, s.Retransmits, queries, repetitions)
			}
			if s.Retransmits > s.Queries/10+20 {
				t.Errorf("after %v: %d repetitions of %d messages, want at most a tenth and 20", after, s.Retransmits, s.Queries)
			}
		}
		check(400*time.Millisecond-1, 170, 0)
		check(400*time.Millisecond, 211, 41)
		arrived(400 * time.Millisecond)
		if got := len(w.servers[0].Queries()); got != 211 {
			t.Errorf("%d messages reached the server, want 211", got)
		}
		check(2*time.Second-1, 211, 41)
		arrived(2 * time.Second)
		missing := 0
		for _, h := range hosts {
			if got := w.servers[0].Count(h, dns.TypeA); got < 2 {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%d names were asked for once in 2 s, want a second try", missing)
		}
		wg.Wait()
		if d := time.Since(w.start); d != 4*time.Second {
			t.Errorf("gave up after %v, want 4s", d)
		}
		for _, h := range hosts {
			if got := w.servers[0].Count(h, dns.TypeA); got > 4 {
				t.Errorf("%s was asked for %d times, want at most 4", h, got)
			}
		}
	})
}

// A budget is for servers that are slow: a few lost packets cost 0.4 s each.
// Answers that came while the machine stood still are read before questions
// are repeated.
func TestRetransmit_NotBeforeAnswersAreRead(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Silent: true}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
		time.AfterFunc(350*time.Millisecond, w.r.StandStill)
		w.gets("ip4", "a.test", 450*time.Millisecond+rtt, "192.0.2.1")
	})
}

func TestRetransmit_FewLossesAreRepeatedAtOnce(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		var wg sync.WaitGroup
		for _, h := range names(20) {
			w.all(h, dns.TypeA, simnet.Rule{Silent: true}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
			wg.Go(func() { w.gets("ip4", h, 400*time.Millisecond+rtt, "192.0.2.1") })
		}
		wg.Wait()
	})
}
