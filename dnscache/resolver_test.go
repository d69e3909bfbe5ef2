package dnscache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

func TestLookup(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1", "192.0.2.2", "2001:db8::1")
		w.gets("ip", "a.test", rtt, "2001:db8::1", "192.0.2.1", "192.0.2.2")
		w.gets("ip4", "A.Test.", 0, "192.0.2.1", "192.0.2.2")
		w.gets("ip6", "a.test", 0, "2001:db8::1")
		w.asked("a.test", dns.TypeA, 1)
		w.asked("a.test", dns.TypeAAAA, 1)
	})
}

func TestLookup_TTL(t *testing.T) {
	for _, tt := range []struct {
		ttl  uint32
		o    dnscache.Options
		kept time.Duration
	}{
		{300, dnscache.Options{}, 300 * time.Second},
		{5, dnscache.Options{}, 30 * time.Second},              // the floor
		{5, dnscache.Options{MinTTL: -1}, 5 * time.Second},     // no floor
		{300, dnscache.Options{MinTTL: 1, MaxTTL: 60e9}, 60e9}, // the ceiling
		{1 << 30, dnscache.Options{}, 24 * time.Hour},          // the ceiling
	} {
		t.Run(fmt.Sprint(tt.ttl, tt.o.MinTTL, tt.o.MaxTTL), func(t *testing.T) {
			for after, elapsed := range map[time.Duration]time.Duration{tt.kept - 1: 0, tt.kept: rtt} {
				inWorld(t, 1, tt.o, func(w *world) {
					w.host("a.test", tt.ttl, "192.0.2.1")
					w.gets("ip4", "a.test", rtt, "192.0.2.1")
					time.Sleep(after)
					w.gets("ip4", "a.test", elapsed, "192.0.2.1")
				})
			}
		})
	}
}

// A server that answers NXDOMAIN for AAAA though there is an A record is
// wrong, and common.
func TestLookup_NXDomainOfOneFamilyDoesNotHideTheOther(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeAAAA, simnet.Rule{Rcode: dns.RcodeNameError, NegTTL: 3600})
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 60, Delay: 5 * time.Millisecond})
		w.gets("ip", "a.test", rtt+5*time.Millisecond, "192.0.2.1")
		time.Sleep(2 * time.Minute)
		w.gets("ip", "a.test", rtt+5*time.Millisecond, "192.0.2.1")
	})
}

func TestLookup_ServFailIsAskedAgain(t *testing.T) {
	for servers := range 3 {
		t.Run(fmt.Sprint(servers+1), func(t *testing.T) {
			inWorld(t, servers+1, dnscache.Options{}, func(w *world) {
				w.host("a.test", 300, "192.0.2.1")
				w.servers[0].Handle("a.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
				w.gets("ip4", "a.test", 2*rtt, "192.0.2.1")
			})
		})
	}
}

func TestLookup_LostPacketCosts400ms(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Silent: true}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
		w.gets("ip4", "a.test", 400*time.Millisecond+rtt, "192.0.2.1")
	})
}

func TestLookup_SlowAnswerIsStillAccepted(t *testing.T) {
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		w.servers[0].Handle("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: time.Second})
		w.servers[1].Handle("a.test", dns.TypeA, simnet.Rule{Silent: true})
		w.gets("ip4", "a.test", time.Second+rtt, "192.0.2.1")
	})
}

func TestLookup_DeadServerCosts400msOnce(t *testing.T) {
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		for i := range 20 {
			w.host(fmt.Sprintf("h%d.test", i), 300, "192.0.2.1")
		}
		w.servers[0].SetSilent(true)
		w.gets("ip4", "h0.test", 400*time.Millisecond+rtt, "192.0.2.1")
		for i := 1; i < 20; i++ {
			w.gets("ip4", fmt.Sprintf("h%d.test", i), rtt, "192.0.2.1")
		}
		w.servers[0].SetSilent(false)
		time.Sleep(time.Minute)
		w.host("probe.test", 300, "192.0.2.1")
		w.gets("ip4", "probe.test", rtt, "192.0.2.1")
		time.Sleep(time.Millisecond) // the probe's answer comes at the same instant
		if s := w.r.Stats().Servers[0]; s.Down {
			t.Error("the first server is back, and still counts as down")
		}
	})
}

func TestLookup_AllSilent(t *testing.T) {
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		for _, s := range w.servers {
			s.SetSilent(true)
		}
		e := w.fails("ip", "a.test", hostwise.DNSTimeout, 4*time.Second)
		if want := []string{"192.0.2.53:53", "192.0.2.54:53"}; !slices.Equal(e.Asked, want) {
			t.Errorf("Asked = %v, want %v", e.Asked, want)
		}
		if !e.Timeout() {
			t.Error("Timeout() = false")
		}
		w.asked("a.test", dns.TypeA, 4) // Tries to each
	})
}

func TestLookup_Truncated(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprintf("192.0.2.%d", i))
		}
		w.all("a.test", dns.TypeA, simnet.Rule{Truncate: true, Addrs: parse(many...), TTL: 300, Times: 2})
		w.gets("ip4", "a.test", 3*rtt, many[:64]...) // UDP, TCP connect, TCP answer; 64 are enough
		if got := w.r.Stats().TCP; got != 1 {
			t.Errorf("%d queries over TCP, want 1", got)
		}
	})
}

func TestLookup_TruncatedWithoutTCP(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].RefuseTCP()
		w.all("a.test", dns.TypeA, simnet.Rule{Truncate: true, Addrs: parse("192.0.2.1")})
		w.fails("ip4", "a.test", hostwise.DNSTruncated, 3*rtt)
	})
}

func TestLookup_OneFlight(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { w.gets("ip", "a.test", rtt, "2001:db8::1", "192.0.2.1") })
		}
		wg.Wait()
		w.asked("a.test", dns.TypeA, 1)
		w.asked("a.test", dns.TypeAAAA, 1)
		if got, want := w.r.Stats().Coalesced, uint64(2*999); got != want {
			t.Errorf("Coalesced = %d, want %d", got, want)
		}
	})
}

func TestLookup_CallerCancelDoesNotFailOthers(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeANY, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: time.Second})
		ctx, cancel := context.WithCancelCause(context.Background())
		var wg sync.WaitGroup
		for range 999 {
			wg.Go(func() {
				_, err := w.r.LookupNetIP(ctx, "ip", "a.test")
				if d := time.Since(w.start); d != 100*time.Millisecond {
					t.Errorf("canceled after %v, want 100ms", d)
				}
				if !errors.Is(err, context.Canceled) || !errors.Is(err, errStop) || hostwise.KindOf(err) != hostwise.Canceled {
					t.Errorf("err = %v, want context.Canceled and its cause", err)
				}
			})
		}
		wg.Go(func() { w.gets("ip", "a.test", time.Second+rtt, "192.0.2.1") })
		time.Sleep(100 * time.Millisecond)
		cancel(errStop)
		wg.Wait()
		w.asked("a.test", dns.TypeA, 2) // one, and one repetition before the answer
	})
}

var errStop = errors.New("stop")

func TestLookup_LastCancelStopsTheQuery(t *testing.T) {
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeANY, simnet.Rule{Silent: true})
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				_, err := w.r.LookupNetIP(ctx, "ip", "a.test")
				var e *hostwise.DNSError
				if !errors.As(err, &e) || e.Kind != hostwise.DNSTimeout || !slices.Equal(e.Asked, []string{"192.0.2.53:53"}) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("err = %#v, want a time-out of 192.0.2.53:53", err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		w.asked("a.test", dns.TypeA, 1) // no repetition: nobody waits
	})
}

func TestLookup_NoNameserverListens(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{Fault: simnet.Refuse})
		_, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test")
		if got := hostwise.KindOf(err); got != hostwise.DNSServerUnreachable {
			t.Errorf("KindOf(%v) = %s, want %s", err, got, hostwise.DNSServerUnreachable)
		}
		if d := time.Since(w.start); d > 100*time.Millisecond {
			t.Errorf("took %v: a refusal needs no waiting", d)
		}
	})
}

func TestLookup_WithoutAsking(t *testing.T) {
	hosts := t.TempDir() + "/hosts"
	if err := os.WriteFile(hosts, []byte("# static\n192.0.2.7 static.test Alias.test\n2001:db8::7 static.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inWorld(t, 1, dnscache.Options{HostsFile: hosts}, func(w *world) {
		w.gets("ip", "192.0.2.1", 0, "192.0.2.1")
		w.gets("ip", "2001:db8::1", 0, "2001:db8::1")
		w.gets("ip", "fe80::1%eth0", 0, "fe80::1%eth0")
		w.gets("ip", "localhost", 0, "::1", "127.0.0.1")
		w.gets("ip4", "db.localhost.", 0, "127.0.0.1")
		w.gets("ip", "static.test", 0, "2001:db8::7", "192.0.2.7")
		w.gets("ip", "alias.TEST", 0, "192.0.2.7")
		w.fails("ip6", "alias.test", hostwise.DNSNoData, 0)
		w.fails("ip4", "2001:db8::1", hostwise.DNSNoData, 0)
		w.fails("ip", "x.invalid", hostwise.DNSNXDomain, 0)
		w.fails("ip", "x.onion", hostwise.DNSNXDomain, 0)
		for _, bad := range []string{"", ".", "a..b", ".a", "127.1", "0x7f000001", "1.2.3.4.5", "a b", "a/b", "ex\xe4mple.test", string(make([]byte, 64)), "a.0x7F"} {
			w.fails("ip", bad, hostwise.DNSBadName, 0)
		}
		w.fails("tcp", "a.test", hostwise.DNSBadName, 0)
		if n := len(w.servers[0].Queries()); n != 0 {
			t.Errorf("%d queries, want none", n)
		}
	})
}

func TestLookup_HostsFileIsReadAgain(t *testing.T) {
	hosts := t.TempDir() + "/hosts"
	inWorld(t, 1, dnscache.Options{HostsFile: hosts}, func(w *world) {
		w.fails("ip4", "static.test", hostwise.DNSNXDomain, rtt)
		if err := os.WriteFile(hosts, []byte("192.0.2.7 static.test\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.gets("ip4", "static.test", 0, "192.0.2.7")
	})
}

// A large file, such as a block list, is read beside the lookups. Until it is
// there the old one holds.
func TestLookup_ALargeHostsFileHoldsUpNobody(t *testing.T) {
	hosts := t.TempDir() + "/hosts"
	write := func(addr string) {
		t.Helper()
		text := strings.Repeat("192.0.2.9 other.test\n", 200_000) + addr + " static.test\n"
		if err := os.WriteFile(hosts, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.7")
	inWorld(t, 1, dnscache.Options{HostsFile: hosts}, func(w *world) {
		w.gets("ip4", "static.test", 0, "192.0.2.7")
		write("192.0.2.77")
		time.Sleep(5 * time.Second)
		w.gets("ip4", "static.test", 0, "192.0.2.7")
		synctest.Wait()
		w.gets("ip4", "static.test", 0, "192.0.2.77")
	})
}

// A name that comes into the file while it is asked for is the file's, for
// those who wait as for those who come later.
func TestLookup_HostsFileWinsOverAQuestionOnItsWay(t *testing.T) {
	hosts := t.TempDir() + "/hosts"
	inWorld(t, 1, dnscache.Options{HostsFile: hosts}, func(w *world) {
		slow := simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: 300 * time.Millisecond}
		w.all("answers.test", dns.TypeA, slow)
		w.all("fails.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure, Delay: 150 * time.Millisecond})
		time.Sleep(5*time.Second - rtt)
		var wg sync.WaitGroup
		wg.Go(func() { w.gets("ip4", "answers.test", 300*time.Millisecond+rtt, "192.0.2.7") })
		wg.Go(func() { w.gets("ip4", "fails.test", 300*time.Millisecond+2*rtt, "192.0.2.7") })
		time.Sleep(rtt)
		if err := os.WriteFile(hosts, []byte("192.0.2.7 answers.test fails.test\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		w.gets("ip4", "answers.test", 0, "192.0.2.7")
		wg.Wait()
		w.gets("ip4", "answers.test", 0, "192.0.2.7")
		if n := w.r.Stats().Entries; n != 0 {
			t.Errorf("%d names in the cache, want none", n)
		}
	})
}

func TestLookup_DisableIPv6(t *testing.T) {
	inWorld(t, 1, dnscache.Options{DisableIPv6: true}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
		w.gets("ip", "a.test", rtt, "192.0.2.1")
		w.fails("ip6", "a.test", hostwise.DNSNoData, 0)
		w.asked("a.test", dns.TypeAAAA, 0)
	})
}

func TestSubscribe_LateAnswerReachesTheCache(t *testing.T) {
	for _, tt := range []struct {
		delay   time.Duration
		queries int
	}{{900 * time.Millisecond, 1}, {1200 * time.Millisecond, 2}} {
		inWorld(t, 1, dnscache.Options{}, func(w *world) {
			w.all("a.test", dns.TypeAAAA, simnet.Rule{Addrs: parse("2001:db8::1"), TTL: 300, Delay: tt.delay})
			s := w.r.Subscribe("ip6", "a.test", func(string, []netip.Addr, error) {})
			s.Stop()
			time.Sleep(2 * time.Second)
			before := w.servers[0].Count("a.test", dns.TypeAAAA)
			w.r.LookupNetIP(context.Background(), "ip6", "a.test")
			if got := w.servers[0].Count("a.test", dns.TypeAAAA) > before; got != (tt.queries > 1) {
				t.Errorf("after %v: asked again = %v", tt.delay, got)
			}
		})
	}
}

func TestSubscribe_UnknownNetwork(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		var got []string
		w.r.Subscribe("tcp", "a.test", func(network string, _ []netip.Addr, err error) {
			got = append(got, network+" "+string(hostwise.KindOf(err)))
		}).Stop()
		if want := []string{"ip6 dns_bad_name", "ip4 dns_bad_name"}; !slices.Equal(got, want) {
			t.Errorf("answers %q, want %q", got, want)
		}
	})
}

func TestPrefetch(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprintf("h%d.test", i))
			w.host(names[i], 300, "192.0.2.1")
		}
		results := w.r.Prefetch(context.Background(), append(names, "h0.test", "none.test"))
		if d := time.Since(w.start); d != 4*rtt { // 201 names, 64 at a time
			t.Errorf("took %v, want %v", d, 4*rtt)
		}
		if len(results) != 201 || results[0].Err != nil || hostwise.KindOf(results[200].Err) != hostwise.DNSNXDomain {
			t.Errorf("results = %d, first %v, last %v", len(results), results[0], results[len(results)-1])
		}
		w.gets("ip", "h77.test", 0, "192.0.2.1")
		w.r.Forget("h77.test")
		w.gets("ip", "h77.test", rtt, "192.0.2.1")
	})
}

func TestMaxHosts(t *testing.T) {
	inWorld(t, 1, dnscache.Options{MaxHosts: 1000}, func(w *world) {
		for i := range 5000 {
			w.host(fmt.Sprintf("h%d.test", i), 300, "192.0.2.1")
			w.r.LookupNetIP(context.Background(), "ip4", fmt.Sprintf("h%d.test", i))
		}
		s := w.r.Stats()
		if s.Entries > 1000 || s.Entries < 900 || s.Evictions != uint64(5000-s.Entries) {
			t.Errorf("Entries = %d, Evictions = %d, want about 1000 and the rest", s.Entries, s.Evictions)
		}
	})
}

// A name that is used stays, in whatever way it is asked for.
func TestMaxHosts_UseKeepsAName(t *testing.T) {
	for name, use := range map[string]func(w *world){
		"lookup":       func(w *world) { w.gets("ip4", "hot.test", 0, "192.0.2.1") },
		"another form": func(w *world) { w.gets("ip4", "HOT.test.", 0, "192.0.2.1") },
		"subscription": func(w *world) { w.r.Subscribe("ip4", "hot.test", func(string, []netip.Addr, error) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{MaxHosts: 100}, func(w *world) {
				w.host("hot.test", 86400, "192.0.2.1")
				w.gets("ip4", "hot.test", rtt, "192.0.2.1")
				for _, h := range names(2000) {
					w.host(h, 86400, "192.0.2.2")
					w.gets("ip4", h, rtt, "192.0.2.2")
					use(w)
				}
				w.asked("hot.test", dns.TypeA, 1)
			})
		})
	}
}

func TestClose(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Silent: true})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test")
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("err = %v, want net.ErrClosed", err)
			}
		})
		time.Sleep(time.Millisecond)
		w.r.Close()
		w.r.Close()
		wg.Wait()
		if _, err := w.r.LookupNetIP(context.Background(), "ip4", "b.test"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("err after Close = %v, want net.ErrClosed", err)
		}
	})
}

func TestNew_Errors(t *testing.T) {
	for _, o := range []dnscache.Options{
		{Servers: []string{"example.com"}},
		{Servers: []string{"192.0.2.1:0"}},
		{Servers: []string{"tls://dns.test"}},
		{Servers: []string{"https://dns.test/dns-query"}},
		{Hosts: map[string][]netip.Addr{"a..test": nil}},
		{Hosts: map[string][]netip.Addr{"a.test": {{}}}},
		{ResolvConf: "/none/resolv.conf"},
		{Servers: []string{"quic://192.0.2.1"}},
		{Servers: []string{"192.0.2.1"}, Timeout: -1},
		{Servers: []string{"192.0.2.1"}, Tries: -1},
		{Servers: []string{"192.0.2.1"}, MinTTL: 2, MaxTTL: 1},
	} {
		if r, err := dnscache.New(&o); err == nil {
			t.Errorf("New(%+v) succeeded", o)
			r.Close()
		}
	}
}

func TestAppendCached(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 60, "192.0.2.1", "2001:db8::1")
		cached := func(network, host string) string {
			addrs, ok := w.r.AppendCached(nil, network, host)
			return fmt.Sprint(addrs, ok)
		}
		if got, want := cached("ip", "a.test"), "[] false"; got != want {
			t.Errorf("before the lookup: %s, want %s", got, want)
		}
		w.asked("a.test", dns.TypeA, 0)
		w.r.LookupNetIP(context.Background(), "ip", "a.test")
		w.r.LookupNetIP(context.Background(), "ip", "none.test")
		for _, tt := range []struct{ network, host, want string }{
			{"ip", "a.test", "[2001:db8::1 192.0.2.1] true"},
			{"ip6", "a.test", "[2001:db8::1] true"},
			{"ip4", "A.test.", "[] false"}, // only as the cache spells it
			{"ip", "none.test", "[] false"},
			{"tcp", "a.test", "[] false"},
		} {
			if got := cached(tt.network, tt.host); got != tt.want {
				t.Errorf("%s of %s: %s, want %s", tt.network, tt.host, got, tt.want)
			}
		}
		time.Sleep(time.Minute)
		if got, want := cached("ip", "a.test"), "[] false"; got != want {
			t.Errorf("expired: %s, want %s", got, want)
		}
		w.asked("a.test", dns.TypeA, 1)
	})
}
