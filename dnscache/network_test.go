package dnscache_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
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

// names returns n host names.
func names(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("h%d.test", i))
	}
	return list
}

// A port is the life of one UDP socket, as a nameserver saw it.
type port struct {
	queries     int
	first, last time.Time
}

func (w *world) ports() map[netip.AddrPort]*port {
	ports := map[netip.AddrPort]*port{}
	for _, s := range w.servers {
		for _, q := range s.Queries() {
			p := ports[q.From]
			if p == nil {
				p = &port{first: q.At}
				ports[q.From] = p
			}
			p.queries++
			p.last = q.At
		}
	}
	return ports
}

func TestSockets_ServeAtMost4096Queries(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		hosts := names(10_000)
		for _, h := range hosts {
			w.host(h, 300, "192.0.2.1")
		}
		w.r.Prefetch(context.Background(), hosts)
		ports := w.ports()
		busiest, total, full := 0, 0, 0
		for _, p := range ports {
			busiest, total = max(busiest, p.queries), total+p.queries
			if p.queries == 4096 {
				full++
			}
		}
		if busiest != 4096 || total != 20_000 {
			t.Errorf("%d queries over %d sockets, at most %d over one, want 20000 and 4096", total, len(ports), busiest)
		}
		if len(ports) < 5 || len(ports) > 32 {
			t.Errorf("%d sockets for %d queries", len(ports), total)
		}
		synctest.Wait()
		if open := w.net.Stats().OpenUDP; open > len(ports)-full {
			t.Errorf("%d of %d sockets open, though %d have served their time", open, len(ports), full)
		}
	})
}

func TestSockets_LiveTenSeconds(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		for _, h := range names(120) {
			w.host(h, 300, "192.0.2.1")
			w.gets("ip4", h, rtt, "192.0.2.1")
			time.Sleep(500*time.Millisecond - rtt)
		}
		oldest := time.Duration(0)
		for _, p := range w.ports() {
			oldest = max(oldest, p.last.Sub(p.first))
		}
		if oldest < 8*time.Second || oldest > 10*time.Second {
			t.Errorf("a socket was used for %v, want nearly 10s and no more", oldest)
		}
		time.Sleep(10*time.Second + rtt)
		if got := w.net.Stats().OpenUDP; got != 0 {
			t.Errorf("%d sockets open though none is in use, want 0", got)
		}
	})
}

// However many lookups a silent server leaves unanswered.
func TestSockets_AtMostSixteen(t *testing.T) {
	inWorld(t, 1, dnscache.Options{Timeout: 20 * time.Second}, func(w *world) {
		w.servers[0].SetSilent(true)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for _, h := range names(6000) {
			wg.Go(func() { w.r.LookupNetIP(ctx, "ip4", h) })
		}
		time.Sleep(9500 * time.Millisecond) // 176 in 0.4 s are let through, and a socket lives for 10 s
		if got := w.net.Stats().OpenUDP; got != 16 {
			t.Errorf("%d sockets for 6000 queries, want 16", got)
		}
		if got, want := len(w.servers[0].Queries()), 16*256; got != want {
			t.Errorf("%d queries on their way, want %d", got, want)
		}
		cancel()
		wg.Wait()
	})
}

func TestSockets_QueriesThatCameWhileOneWasOpenedAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		d := n.ServeDNS("192.0.2.53:53")
		defer d.Close()
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(10 * time.Millisecond)
			return n.DialContext(ctx, network, address)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		d.SetSilent(true)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for _, h := range names(150) {
			wg.Go(func() { r.LookupNetIP(ctx, "ip4", h) })
		}
		wg.Wait()
		if got := len(d.Queries()); got != 150 {
			t.Errorf("%d of 150 queries were sent", got)
		}
	})
}

// resolverGoroutines returns the stacks of those that run a Resolver's code.
func resolverGoroutines() (list []string) {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "dnscache.(*Resolver).") {
			list = append(list, stack)
		}
	}
	return list
}

func TestSockets_CanceledLookupsLeaveNothing(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].SetSilent(true)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for _, h := range names(10_000) {
			wg.Go(func() {
				if _, err := w.r.LookupNetIP(ctx, "ip", h); hostwise.KindOf(err) != hostwise.Canceled {
					t.Errorf("%s: %v, want canceled", h, err)
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		cancel()
		wg.Wait()
		if d := time.Since(w.start); d != 10*time.Millisecond {
			t.Errorf("the cancellation took %v", d-10*time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		if got := w.net.Stats().OpenUDP; got != 0 {
			t.Errorf("%d sockets left", got)
		}
		synctest.Wait()
		if got := resolverGoroutines(); len(got) != 1 { // the one that keeps the time of repetitions
			t.Errorf("%d goroutines left, want 1:\n%s", len(got), strings.Join(got, "\n\n"))
		}
		if got := w.r.Waiting(); got != 0 {
			t.Errorf("%d queries still wait for a socket", got)
		}
	})
}

// Queries that were never answered do not keep their place on a socket.
func TestSockets_UnansweredQueriesDoNotBlockTheNext(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].SetSilent(true)
		w.r.Prefetch(context.Background(), []string{"warm.test"})
		var wg sync.WaitGroup
		for _, h := range names(6000) {
			wg.Go(func() { w.r.LookupNetIP(context.Background(), "ip4", h) })
		}
		wg.Wait() // all have timed out
		w.servers[0].SetSilent(false)
		w.host("a.test", 300, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
	})
}

// Whoever leaves makes room for those who wait, and so does a question without
// an answer after 0.4 s.
func TestSockets_RoomIsUsedAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name         string
		asked, leave time.Duration // when the waiting name is asked for, and the others make room
		cancel       bool
	}{
		{"canceled", 50 * time.Millisecond, 100 * time.Millisecond, true},
		{"unanswered", 100 * time.Millisecond, 400 * time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var wg sync.WaitGroup
				for _, h := range names(176) {
					w.all(h, dns.TypeA, simnet.Rule{Silent: true})
					wg.Go(func() { w.r.LookupNetIP(ctx, "ip4", h) })
				}
				w.host("a.test", 300, "192.0.2.1")
				time.Sleep(tt.asked)
				if tt.cancel {
					time.AfterFunc(tt.leave-tt.asked, cancel)
				}
				w.gets("ip4", "a.test", tt.leave-tt.asked+rtt, "192.0.2.1")
				wg.Wait()
			})
		})
	}
}

// RFC 5452, section 9.2: ids are unpredictable, and so are ports.
func TestSockets_IDsAreUnpredictable(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.r.Prefetch(context.Background(), names(500))
		ids, steps := map[uint16]bool{}, map[uint16]int{}
		last := uint16(0)
		for _, q := range w.servers[0].Queries() {
			ids[q.ID] = true
			steps[q.ID-last]++
			last = q.ID
		}
		if len(ids) < 480 {
			t.Errorf("%d different ids in %d queries", len(ids), len(w.servers[0].Queries()))
		}
		for step, n := range steps {
			if n > 5 {
				t.Errorf("the id grew by %d %d times", step, n)
			}
		}
	})
}

func TestLookup_RefusalOfOneServerAsksTheOtherAtOnce(t *testing.T) {
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		for _, h := range names(3) {
			w.host(h, 300, "192.0.2.1")
		}
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{Fault: simnet.Refuse, RTT: rtt})
		w.gets("ip4", "h0.test", 2*rtt, "192.0.2.1")
		w.gets("ip4", "h1.test", rtt, "192.0.2.1") // it is known to be down
		if s := w.r.Stats().Servers; !s[0].Down || s[1].Down {
			t.Errorf("down = %v, %v, want the first only", s[0].Down, s[1].Down)
		}
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{RTT: rtt})
		time.Sleep(time.Second)
		w.gets("ip4", "h2.test", rtt, "192.0.2.1") // takes a probe along
		time.Sleep(time.Millisecond)
		if s := w.r.Stats().Servers; s[0].Down {
			t.Error("the first server answers again, and still counts as down")
		}
	})
}

func TestTCPServer(t *testing.T) {
	withServers(t, []string{"tcp://192.0.2.53"}, func(w *world) {
		w.serve("192.0.2.53")
		w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
		w.gets("ip", "a.test", 2*rtt, "2001:db8::1", "192.0.2.1") // connect and answer
		for _, q := range w.servers[0].Queries() {
			if !q.TCP {
				t.Error("a query over UDP")
			}
		}
		w.fails("ip4", "none.test", hostwise.DNSNXDomain, rtt)
		s := w.r.Stats()
		if s.TCP != 3 || s.Queries != 3 {
			t.Errorf("%d queries, %d over TCP, want 3 and 3", s.Queries, s.TCP)
		}
		if stats := w.net.Stats(); stats.OpenUDP != 0 {
			t.Errorf("%d UDP sockets, want none", stats.OpenUDP)
		}
	})
}

func TestTCPServer_Refuses(t *testing.T) {
	withServers(t, []string{"tcp://192.0.2.53"}, func(w *world) {
		w.serve("192.0.2.53").RefuseTCP()
		e := w.fails("ip4", "a.test", hostwise.DNSServerUnreachable, 2*rtt) // a lone server is asked twice
		if len(e.Asked) != 1 || e.Asked[0] != "192.0.2.53:53" {
			t.Errorf("Asked = %q, want 192.0.2.53:53", e.Asked)
		}
	})
}

// That one server speaks TCP only does not make the next one do so.
func TestTCPServer_TheNextIsAskedOverUDP(t *testing.T) {
	withServers(t, []string{"tcp://192.0.2.53", "192.0.2.54"}, func(w *world) {
		w.serve("192.0.2.53").SetSilent(true)
		w.serve("192.0.2.54").RefuseTCP()
		w.host("a.test", 300, "192.0.2.1")
		w.gets("ip4", "a.test", 400*time.Millisecond+rtt, "192.0.2.1")
	})
}

// A resolver with its own Dial gets "udp" and "tcp" and an ip:port.
func TestDial_IsAskedForAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		d := n.ServeDNS("192.0.2.53:53")
		defer d.Close()
		d.Handle("a.test", dns.TypeA, simnet.Rule{Truncate: true, Addrs: parse("192.0.2.1"), TTL: 60, Times: 2})
		var mu sync.Mutex
		dialled := map[string]int{}
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			mu.Lock()
			dialled[network+" "+address]++
			mu.Unlock()
			return n.DialContext(ctx, network, address)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.LookupNetIP(context.Background(), "ip4", "a.test"); err != nil {
			t.Error(err)
		}
		if len(dialled) != 2 || dialled["udp 192.0.2.53:53"] != 1 || dialled["tcp 192.0.2.53:53"] != 1 {
			t.Errorf("dialled %v, want each network once", dialled)
		}
	})
}

// A lookup for both families counts twice, whatever each of them finds.
func TestStats_CountByFamily(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeAAAA, simnet.Rule{Addrs: parse("2001:db8::1"), TTL: 300})
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 60})
		w.all("b.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 300})
		check := func(what string, hits, negative, misses uint64) {
			t.Helper()
			if s := w.r.Stats(); s.Hits != hits || s.NegativeHits != negative || s.Misses != misses {
				t.Errorf("%s: %d hits, %d negative hits, %d misses, want %d, %d, %d", what, s.Hits, s.NegativeHits, s.Misses, hits, negative, misses)
			}
		}
		w.gets("ip", "a.test", rtt, "2001:db8::1", "192.0.2.1")
		check("new", 0, 0, 2)
		w.gets("ip", "a.test", 0, "2001:db8::1", "192.0.2.1")
		check("known", 2, 0, 2)
		time.Sleep(61 * time.Second)
		w.gets("ip", "b.test", rtt, "192.0.2.2")
		w.gets("ip", "b.test", 0, "192.0.2.2")
		check("one family without addresses", 3, 1, 4)
		w.gets("ip", "a.test", rtt, "2001:db8::1", "192.0.2.1")
		check("one family expired", 4, 1, 5)
		w.fails("ip6", "b.test", hostwise.DNSNoData, 0)
		check("only that one", 4, 2, 5)
	})
}
