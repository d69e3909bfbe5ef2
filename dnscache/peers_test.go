package dnscache_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// Faults seen in other caching resolvers. Each test says which promise the
// fault breaks.

// Seen: an error, once cached, is given for ever. The promise: a failure is
// remembered for seconds (RFC 9520), a negative answer for its TTL (RFC 2308).
func TestPeers_AnErrorIsNotForEver(t *testing.T) {
	good := simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300}
	for _, tt := range []struct {
		name string
		rule simnet.Rule
		kept time.Duration
	}{
		{"SERVFAIL", simnet.Rule{Rcode: dns.RcodeServerFailure, Times: 2}, time.Second},
		{"time-out", simnet.Rule{Silent: true, Times: 4}, time.Second},
		{"NXDOMAIN", simnet.Rule{Rcode: dns.RcodeNameError, NegTTL: 60}, time.Minute},
		{"NODATA", simnet.Rule{NegTTL: 60}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeA, tt.rule, good)
				if _, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test"); err == nil {
					t.Fatal("the first lookup succeeded")
				}
				time.Sleep(tt.kept)
				w.gets("ip4", "a.test", rtt, "192.0.2.1")
				w.gets("ip4", "a.test", 0, "192.0.2.1")
			})
		})
	}
}

// Seen: NODATA is kept for the SOA record's TTL, a day, where its MINIMUM
// says a minute. The promise: the lesser of the two (RFC 2308, section 5).
func TestPeers_NoDataIsKeptForTheMinimum(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeAAAA, simnet.Rule{NegTTL: 86400, SOAMinimum: 60}, simnet.Rule{Addrs: parse("2001:db8::1"), TTL: 300})
		w.fails("ip6", "a.test", hostwise.DNSNoData, rtt)
		time.Sleep(time.Minute)
		w.gets("ip6", "a.test", rtt, "2001:db8::1")
	})
}

// Seen: a time-out for AAAA fails the whole lookup, or loses the A records
// that came long before. The promise: a failure of one family never fails the
// other, whoever sets the time limit.
func TestPeers_FailureOfOneFamilyKeepsTheOther(t *testing.T) {
	for _, tt := range []struct {
		name    string
		aaaa    simnet.Rule
		limit   time.Duration // of the caller's patience; 0: none
		elapsed time.Duration
	}{
		{"SERVFAIL", simnet.Rule{Rcode: dns.RcodeServerFailure}, 0, 2 * rtt},
		{"time-out", simnet.Rule{Silent: true}, 0, 4 * time.Second},
		{"the caller's deadline", simnet.Rule{Silent: true}, time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
				w.all("a.test", dns.TypeAAAA, tt.aaaa)
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if tt.limit > 0 {
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
				}
				defer cancel()
				got, err := w.r.LookupNetIP(ctx, "ip", "a.test")
				if want := parse("192.0.2.1"); err != nil || !slices.Equal(got, want) || time.Since(w.start) != tt.elapsed {
					t.Errorf("LookupNetIP = %v, %v after %v, want %v after %v", got, err, time.Since(w.start), want, tt.elapsed)
				}
				w.gets("ip4", "a.test", 0, "192.0.2.1")
			})
		})
	}
}

// Seen: every hit shortly before the expiry asks again. The promise: an
// answer is refreshed ahead once, in the last tenth of its time, in the
// background.
func TestPeers_RefreshAheadOnce(t *testing.T) {
	subscribe := func(w *world, name string) (addrs []netip.Addr) {
		w.r.Subscribe("ip4", name, func(_ string, found []netip.Addr, _ error) { addrs = found })
		return addrs
	}
	lookup := func(w *world, name string) []netip.Addr {
		addrs, _ := w.r.LookupNetIP(context.Background(), "ip4", name)
		return addrs
	}
	for _, tt := range []struct {
		name, host string
		hit        func(w *world, name string) []netip.Addr
	}{
		{"a lookup", "a.test", lookup},
		{"of a name in another form", "A.test.", lookup},
		{"a subscription", "a.test", subscribe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.host("a.test", 100, "192.0.2.1")
				w.gets("ip4", "a.test", rtt, "192.0.2.1")
				hit := func() {
					t.Helper()
					start := time.Now()
					if got := tt.hit(w, tt.host); !slices.Equal(got, parse("192.0.2.1")) || time.Since(start) != 0 {
						t.Errorf("got %v after %v, want 192.0.2.1 at once", got, time.Since(start))
					}
				}
				time.Sleep(90*time.Second - time.Nanosecond)
				hit()
				time.Sleep(rtt - time.Nanosecond)
				w.asked("a.test", dns.TypeA, 1)
				time.Sleep(time.Nanosecond)
				var wg sync.WaitGroup
				for range 1000 {
					wg.Go(hit)
				}
				wg.Wait()
				time.Sleep(2 * rtt)
				hit()
				w.asked("a.test", dns.TypeA, 2)
				time.Sleep(80 * time.Second) // past the first TTL
				hit()
				w.asked("a.test", dns.TypeA, 2)
				if got := w.r.Stats().Refreshes; got != 1 {
					t.Errorf("Refreshes = %d, want 1", got)
				}
			})
		})
	}
}

// Seen: a janitor asks for every name ever seen, every 3 s. The promise: no
// use, no refresh.
func TestPeers_OnlyWhatIsUsedIsRefreshed(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		for _, h := range names(100) {
			w.host(h, 100, "192.0.2.1")
		}
		w.r.Prefetch(context.Background(), names(100))
		before := len(w.servers[0].Queries())
		time.Sleep(time.Hour)
		if got := len(w.servers[0].Queries()) - before; got != 0 {
			t.Errorf("%d queries in an hour without a lookup, want none", got)
		}
	})
}

// Seen: a refresh that fails puts its error in the place of the answer. The
// promise: what is still good stays, until its time is up.
func TestPeers_FailedRefreshKeepsTheAnswer(t *testing.T) {
	for name, failure := range map[string]simnet.Rule{
		"SERVFAIL": {Rcode: dns.RcodeServerFailure, Times: 2},
		"REFUSED":  {Rcode: dns.RcodeRefused, Times: 2},
		"silence":  {Silent: true, Times: 4},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 100}, failure, simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 100})
				w.gets("ip4", "a.test", rtt, "192.0.2.1")
				time.Sleep(92 * time.Second)
				w.gets("ip4", "a.test", 0, "192.0.2.1") // begins a refresh, which fails
				time.Sleep(8*time.Second - 1)
				w.gets("ip4", "a.test", 0, "192.0.2.1")
				time.Sleep(time.Nanosecond)
				w.gets("ip4", "a.test", rtt, "192.0.2.2")
			})
		})
	}
}

// Seen: the few addresses that fit into a truncated answer are taken for all.
// The promise: TC means TCP, or an error (RFC 2181, section 9).
func TestPeers_TruncatedAnswerIsNotUsed(t *testing.T) {
	truncated := packed(t, func(m *dns.Msg) { m.Truncated, m.Answer = true, []dns.RR{rrA("a.test.", 300)} })
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Raw: truncated}, simnet.Rule{Addrs: parse("192.0.2.1", "192.0.2.2"), TTL: 300})
		w.gets("ip4", "a.test", 3*rtt, "192.0.2.1", "192.0.2.2")
	})
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].RefuseTCP()
		w.all("a.test", dns.TypeA, simnet.Rule{Raw: truncated})
		w.fails("ip4", "a.test", hostwise.DNSTruncated, 3*rtt)
	})
}

// Seen: a package-level cache, and package-level flights, by name only. The
// promise: what one Resolver asks and knows is its own.
func TestPeers_ResolversShareNothing(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1")
		other := w.net.ServeDNS("192.0.2.99:53")
		defer other.Close()
		other.AddHost("a.test", 300, parse("192.0.2.2")...)
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.99"}, HostsFile: "/dev/null", Dial: w.net.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		lookup := func(when string) {
			got, err := r.LookupNetIP(context.Background(), "ip4", "a.test")
			if want := parse("192.0.2.2"); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: the other resolver found %v, %v, want %v", when, got, err, want)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { w.gets("ip4", "a.test", rtt, "192.0.2.1") })
		time.Sleep(rtt / 2)
		lookup("while the first asks")
		wg.Wait()
		lookup("afterwards")
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		if got := other.Count("a.test", dns.TypeA); got != 1 {
			t.Errorf("the other server was asked %d times, want 1", got)
		}
		r.Forget("a.test")
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		r.Close()
		w.gets("ip4", "a.test", 0, "192.0.2.1")
	})
}

// Seen: who joins the flight of another waits as long as the other, whatever
// its own context says. The promise: every caller leaves when it wants.
func TestPeers_FollowersMayLeave(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: time.Second}, simnet.Rule{Silent: true})
		var wg sync.WaitGroup
		wg.Go(func() { w.gets("ip4", "a.test", time.Second+rtt, "192.0.2.1") })
		time.Sleep(rtt)
		for i := range 100 {
			limit := time.Duration(i+1) * time.Millisecond
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				start := time.Now()
				_, err := w.r.LookupNetIP(ctx, "ip4", "a.test")
				if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d != limit {
					t.Errorf("a follower with %v left after %v with %v", limit, d, err)
				}
			})
		}
		wg.Wait()
	})
}

// Seen: callers get the very slice that the cache holds, and sort it. The
// promise: what a caller gets is the caller's.
func TestPeers_ResultsBelongToTheCaller(t *testing.T) {
	want := parse("192.0.2.3", "192.0.2.1", "192.0.2.2")
	for _, name := range []string{"a.test", "stale.test", "localhost"} {
		inWorld(t, 1, dnscache.Options{}, func(w *world) {
			w.host("a.test", 86400, "192.0.2.3", "192.0.2.1", "192.0.2.2")
			w.all("stale.test", dns.TypeA, simnet.Rule{Addrs: want, TTL: 60}, simnet.Rule{Rcode: dns.RcodeServerFailure})
			if name == "localhost" {
				want = parse("127.0.0.1")
			}
			lookup := func() {
				got, err := w.r.LookupNetIP(context.Background(), "ip4", name)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %v, %v, want %v", name, got, err, want)
				}
				clear(got)
				_ = append(got, netip.IPv6Loopback())
			}
			var wg sync.WaitGroup
			for range 100 { // of one flight
				wg.Go(lookup)
			}
			wg.Wait()
			lookup()
			time.Sleep(2 * time.Minute)
			lookup()
			w.r.Subscribe("ip4", name, func(_ string, got []netip.Addr, _ error) { clear(got) })
			lookup()
		})
	}
}
