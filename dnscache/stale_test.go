package dnscache_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// RFC 8767, section 5: a stale answer is given when no nameserver answers
// within the client's patience, and used for 30 s without asking.
func TestStale_SilentServers(t *testing.T) {
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		w.host("a.test", 60, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(time.Minute)
		for _, s := range w.servers {
			s.SetSilent(true)
		}
		w.gets("ip4", "a.test", 1800*time.Millisecond, "192.0.2.1")
		for range 29 {
			w.gets("ip4", "a.test", 0, "192.0.2.1")
			time.Sleep(time.Second)
		}
		if got := w.r.Stats().StaleHits; got != 29 {
			t.Errorf("StaleHits = %d, want 29", got)
		}
		for range 120 { // an hour
			time.Sleep(30 * time.Second)
			w.gets("ip4", "a.test", 1800*time.Millisecond, "192.0.2.1")
		}
		for _, s := range w.servers {
			s.SetSilent(false)
		}
		w.host("a.test", 60, "192.0.2.2")
		time.Sleep(time.Second) // the question goes on while the stale answer is used
		w.gets("ip4", "a.test", 0, "192.0.2.2")
	})
}

func TestRefresh_AheadOnce(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 100, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(90*time.Second - time.Nanosecond)
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		w.asked("a.test", dns.TypeA, 1)
		time.Sleep(time.Nanosecond)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { w.gets("ip4", "a.test", 0, "192.0.2.1") })
		}
		wg.Wait()
		time.Sleep(rtt)
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		w.asked("a.test", dns.TypeA, 2)
		time.Sleep(80 * time.Second) // past the first TTL
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		w.asked("a.test", dns.TypeA, 2)
	})
}

// A name that nobody asks for any more is not refreshed.
func TestRefresh_OnlyWhatIsUsed(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 100, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(time.Hour)
		w.asked("a.test", dns.TypeA, 1)
	})
}

func TestRefresh_FailureDoesNotReplaceAGoodAnswer(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 100}, simnet.Rule{Rcode: dns.RcodeServerFailure, Times: 2}, simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 100})
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(95 * time.Second)
		w.gets("ip4", "a.test", 0, "192.0.2.1") // begins a refresh, which fails
		time.Sleep(time.Second)
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		time.Sleep(5 * time.Second)
		w.gets("ip4", "a.test", rtt, "192.0.2.2")
	})
}
