package dnscache_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// confWorld is inWorld with nameservers from a resolv.conf file; set replaces
// its text.
func confWorld(t *testing.T, text string, f func(w *world, set func(text string))) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	version := 0
	set := func(text string) {
		version++
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		changed := time.Unix(int64(version), 0)
		if err := os.Chtimes(path, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	set(text)
	inWorld(t, 0, dnscache.Options{ResolvConf: path}, func(w *world) {
		w.serve("192.0.2.53")
		w.serve("192.0.2.54")
		f(w, set)
	})
}

func (w *world) servedBy(want ...int) {
	w.t.Helper()
	for i, s := range w.servers {
		if got := len(s.Queries()); got != want[i] {
			w.t.Errorf("server %d got %d queries, want %d", i, got, want[i])
		}
	}
}

func TestResolvConf_IsReadAgain(t *testing.T) {
	confWorld(t, "nameserver 192.0.2.53\n", func(w *world, set func(string)) {
		w.servers[1].AddHost("b.test", 300, parse("192.0.2.2")...)
		w.fails("ip4", "b.test", hostwise.DNSNXDomain, rtt)
		w.servedBy(1, 0)
		set("nameserver 192.0.2.54\n")
		time.Sleep(5*time.Second - rtt - 1)
		w.fails("ip4", "b.test", hostwise.DNSNXDomain, 0)
		time.Sleep(time.Nanosecond)
		w.gets("ip4", "b.test", rtt, "192.0.2.2") // what the old server denied is asked for again
		w.servedBy(1, 1)
		set("") // being written
		time.Sleep(5 * time.Second)
		w.host("c.test", 300, "192.0.2.3")
		w.gets("ip4", "c.test", rtt, "192.0.2.3")
		w.servedBy(1, 2)
		w.gets("ip4", "b.test", 0, "192.0.2.2")
	})
}

func TestResolvConf_ChangeKeepsTheHealthOfServers(t *testing.T) {
	confWorld(t, "nameserver 192.0.2.53\nnameserver 192.0.2.54\n", func(w *world, set func(string)) {
		for _, h := range names(3) {
			w.host(h, 300, "192.0.2.1")
		}
		w.servers[0].SetSilent(true)
		w.gets("ip4", "h0.test", 400*time.Millisecond+rtt, "192.0.2.1")
		set("nameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:2\n")
		time.Sleep(5 * time.Second)
		w.gets("ip4", "h1.test", rtt, "192.0.2.1") // it is known to be down
	})
}

func TestResolvConf_Rotate(t *testing.T) {
	confWorld(t, "nameserver 192.0.2.53\nnameserver 192.0.2.54\noptions rotate\n", func(w *world, _ func(string)) {
		for _, h := range names(10) {
			w.host(h, 300, "192.0.2.1")
			w.gets("ip4", h, rtt, "192.0.2.1")
		}
		w.servedBy(5, 5)
	})
}

func TestResolvConf_TimeoutAndAttempts(t *testing.T) {
	confWorld(t, "nameserver 192.0.2.53\noptions timeout:1 attempts:3\n", func(w *world, _ func(string)) {
		w.servers[0].SetSilent(true)
		w.fails("ip4", "a.test", hostwise.DNSTimeout, 3*time.Second)
	})
}

func TestSearch(t *testing.T) {
	const conf = "nameserver 192.0.2.53\nsearch one.test two.test\n"
	confWorld(t, conf, func(w *world, set func(string)) {
		w.host("db.two.test", 300, "192.0.2.1", "2001:db8::1")
		w.host("db", 300, "192.0.2.9")
		w.host("www.a.test", 300, "192.0.2.2")
		w.gets("ip", "db", 2*rtt, "2001:db8::1", "192.0.2.1") // one.test first
		w.gets("ip", "DB", 0, "2001:db8::1", "192.0.2.1")
		w.gets("ip4", "db.", rtt, "192.0.2.9") // rooted
		w.gets("ip4", "www.a.test", rtt, "192.0.2.2")
		w.fails("ip4", "gone.a.test", hostwise.DNSNXDomain, rtt) // enough dots: as it is only
		w.asked("gone.a.test.one.test", dns.TypeA, 0)
		e := w.fails("ip4", "none", hostwise.DNSNXDomain, 3*rtt)
		if e.Host != "none" {
			t.Errorf("the error is about %q, want the name that was asked for", e.Host)
		}
		w.gets("ip4", "localhost", 0, "127.0.0.1")
		w.gets("ip4", "192.0.2.7", 0, "192.0.2.7")
		set(strings.Replace(conf, "search", "options ndots:3\nsearch", 1))
		time.Sleep(5 * time.Second)
		w.host("www.a.test.two.test", 300, "192.0.2.3")
		w.gets("ip4", "www.a.test", 2*rtt, "192.0.2.3")
		w.all("b.test.one.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.host("b.test", 300, "192.0.2.4")
		w.gets("ip4", "b.test", 4*rtt, "192.0.2.4") // a domain whose servers fail does not stand in the way: it is asked twice
	})
}

// What goes for a lookup goes for a subscription.
func TestSearch_Subscribe(t *testing.T) {
	confWorld(t, "nameserver 192.0.2.53\nsearch one.test two.test\n", func(w *world, _ func(string)) {
		w.host("db.two.test", 300, "192.0.2.1", "2001:db8::1")
		w.all("host", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 300})
		for _, tt := range []struct {
			host, want string
			elapsed    time.Duration
		}{
			{"db", "ip6 [2001:db8::1], ip4 [192.0.2.1]", 2 * rtt},
			{"db", "ip6 [2001:db8::1], ip4 [192.0.2.1]", 0},
			{"host", "ip6 dns_nodata, ip4 [192.0.2.2]", 3 * rtt},
			{"host", "ip6 dns_nodata, ip4 [192.0.2.2]", 0},
			{"none", "ip6 dns_nxdomain, ip4 dns_nxdomain", 3 * rtt},
		} {
			start := time.Now()
			type answer struct {
				network string
				addrs   []netip.Addr
				err     error
			}
			answers := make(chan answer, 2)
			s := w.r.Subscribe("ip", tt.host, func(network string, addrs []netip.Addr, err error) {
				answers <- answer{network, addrs, err}
			})
			var got []string
			for range 2 {
				a := <-answers
				text := a.network + " " + string(hostwise.KindOf(a.err))
				if a.err == nil {
					text = a.network + " [" + a.addrs[0].String() + "]"
				}
				got = append(got, text)
			}
			s.Stop()
			slices.Sort(got)
			slices.Reverse(got)
			if text := strings.Join(got, ", "); text != tt.want || time.Since(start) != tt.elapsed {
				t.Errorf("%s: %s after %v, want %s after %v", tt.host, text, time.Since(start), tt.want, tt.elapsed)
			}
		}
	})
}

func TestSearch_CancelEndsIt(t *testing.T) {
	confWorld(t, "nameserver 192.0.2.53\nsearch one.test two.test\n", func(w *world, _ func(string)) {
		w.servers[0].SetSilent(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.r.LookupNetIP(ctx, "ip", "db")
		if d := time.Since(w.start); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
			t.Errorf("%v after %v, want the deadline after 1s", err, d)
		}
		stopped := make(chan error, 2)
		s := w.r.Subscribe("ip", "db", func(_ string, _ []netip.Addr, err error) { stopped <- err })
		time.Sleep(rtt)
		s.Stop()
		if err := <-stopped; hostwise.KindOf(err) != hostwise.Canceled {
			t.Errorf("%v, want canceled", err)
		}
		if d := time.Since(w.start); d != time.Second+rtt {
			t.Errorf("the subscription ended after %v", d)
		}
	})
}

func TestHosts_GoFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("192.0.2.9 a.test b.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inWorld(t, 1, dnscache.Options{HostsFile: path, Hosts: map[string][]netip.Addr{
		"A.test.": parse("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2"), "gone.test": nil,
		"localhost": parse("192.0.2.3"), "site.onion": parse("192.0.2.4"),
	}}, func(w *world) {
		w.gets("ip", "a.test", 0, "2001:db8::1", "192.0.2.1", "192.0.2.2")
		w.gets("ip", "b.test", 0, "192.0.2.9")
		w.fails("ip", "gone.test", hostwise.DNSNXDomain, 0)
		w.gets("ip", "localhost", 0, "192.0.2.3")
		w.gets("ip", "www.localhost", 0, "::1", "127.0.0.1")
		w.gets("ip", "site.onion", 0, "192.0.2.4")
		w.servedBy(0)
	})
}

// RFC 8020, section 2. An alias to a name that does not exist is a name.
func TestNXDomainCut(t *testing.T) {
	for _, on := range []bool{false, true} {
		inWorld(t, 1, dnscache.Options{NXDomainCut: on}, func(w *world) {
			w.all("alias.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeNameError, Answer: []dns.RR{
				&dns.CNAME{Hdr: dns.RR_Header{Name: "alias.test.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: "gone.test."},
			}})
			w.host("www.alias.test", 300, "192.0.2.1")
			w.host("www.shop.dead.test", 300, "192.0.2.2") // an authority that is wrong about what is below
			w.fails("ip4", "dead.test", hostwise.DNSNXDomain, rtt)
			w.fails("ip4", "alias.test", hostwise.DNSNXDomain, rtt)
			w.gets("ip4", "www.alias.test", rtt, "192.0.2.1")
			if !on {
				w.gets("ip4", "www.shop.dead.test", rtt, "192.0.2.2")
				return
			}
			if e := w.fails("ip4", "www.shop.dead.test", hostwise.DNSNXDomain, 0); e.Host != "www.shop.dead.test" || !e.Cached {
				t.Errorf("error %v, cached %v, want it about the name itself, and cached", e, e.Cached)
			}
			time.Sleep(300 * time.Second) // as long as the denial holds
			w.gets("ip4", "www.shop.dead.test", rtt, "192.0.2.2")
		})
	}
}
