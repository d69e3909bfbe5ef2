package dnscache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
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

func TestStale_FailingServers(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 60}, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(time.Minute)
		w.gets("ip4", "a.test", 2*rtt, "192.0.2.1")
		w.gets("ip4", "a.test", 0, "192.0.2.1")
	})
}

// RFC 8767, section 4: an answer that the name does not exist is an answer.
func TestStale_NotPastNXDomain(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 60}, simnet.Rule{Rcode: dns.RcodeNameError, NegTTL: 5}, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(time.Minute)
		w.fails("ip4", "a.test", hostwise.DNSNXDomain, rtt)
		time.Sleep(5 * time.Second)
		w.fails("ip4", "a.test", hostwise.DNSServFail, 2*rtt)
	})
}

func TestStale_MaxStale(t *testing.T) {
	for _, tt := range []struct {
		max   time.Duration
		after time.Duration
		used  bool
	}{{0, 24 * time.Hour, true}, {0, 24*time.Hour + 1, false}, {-1, 0, false}, {time.Hour, time.Hour, true}, {time.Hour, time.Hour + 1, false}} {
		inWorld(t, 1, dnscache.Options{MaxStale: tt.max}, func(w *world) {
			w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 60}, simnet.Rule{Rcode: dns.RcodeServerFailure})
			w.gets("ip4", "a.test", rtt, "192.0.2.1")
			time.Sleep(time.Minute + tt.after - 2*rtt) // the failure comes 2*rtt later
			if tt.after == 0 {
				time.Sleep(2 * rtt)
			}
			_, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test")
			if got := err == nil; got != tt.used {
				t.Errorf("MaxStale %v: %v after the expiry: used = %v, want %v", tt.max, tt.after, got, tt.used)
			}
		})
	}
}

func TestStale_AgeAddsUp(t *testing.T) {
	inWorld(t, 1, dnscache.Options{MaxStale: time.Hour}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 60}, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(time.Minute)
		expired := time.Now()
		for {
			if _, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test"); err != nil {
				break
			}
			time.Sleep(30 * time.Second)
		}
		if d := time.Since(expired); d < time.Hour || d > time.Hour+2*time.Minute {
			t.Errorf("used for %v after the expiry, want an hour", d)
		}
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
