package dnscache_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// useNet has package net make, outside of any bubble, the channel that it
// keeps.
var useNet = sync.OnceFunc(func() {
	r := &net.Resolver{PreferGo: true}
	_, _ = r.LookupNetIP(context.Background(), "ip", "localhost")
})

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 300}
}

func TestNetResolver(t *testing.T) {
	useNet()
	inWorld(t, 2, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
		w.all("none.test", dns.TypeANY, simnet.Rule{})
		w.all("fails.test", dns.TypeANY, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.all("a.test", dns.TypeMX, simnet.Rule{Answer: []dns.RR{&dns.MX{Hdr: header("a.test.", dns.TypeMX), Preference: 10, Mx: "mx.a.test."}}})
		w.all("a.test", dns.TypeTXT, simnet.Rule{Truncate: true, Times: 2, Answer: []dns.RR{&dns.TXT{Hdr: header("a.test.", dns.TypeTXT), Txt: []string{strings.Repeat("x", 200)}}}})
		std := w.r.NetResolver()
		ctx := context.Background()
		took := func(what string, want time.Duration, f func()) {
			t.Helper()
			start := time.Now()
			f()
			if d := time.Since(start); d != want {
				t.Errorf("%s took %v, want %v", what, d, want)
			}
		}
		lookup := func() {
			got, err := std.LookupNetIP(ctx, "ip", "a.test")
			if want := parse("192.0.2.1", "2001:db8::1"); err != nil || !slices.Equal(plain(got), want) {
				t.Errorf("LookupNetIP = %v, %v, want %v", got, err, want)
			}
		}
		took("the first lookup", rtt, lookup)
		took("the second", 0, lookup)
		w.gets("ip", "a.test", 0, "2001:db8::1", "192.0.2.1") // they share the cache
		for host, want := range map[string]net.DNSError{"none.test": {IsNotFound: true}, "nx.test": {IsNotFound: true}, "fails.test": {IsTemporary: true}} {
			var e *net.DNSError
			if _, err := std.LookupHost(ctx, host); !errors.As(err, &e) || e.IsNotFound != want.IsNotFound || e.IsTemporary != want.IsTemporary {
				t.Errorf("%s: %v, want not found %v, temporary %v", host, err, want.IsNotFound, want.IsTemporary)
			}
		}
		queries := w.r.Stats().Queries
		took("MX", rtt, func() {
			if mx, err := std.LookupMX(ctx, "a.test"); err != nil || len(mx) != 1 || mx[0].Host != "mx.a.test." {
				t.Errorf("LookupMX = %v, %v", mx, err)
			}
		})
		took("TXT over TCP", 3*rtt, func() {
			if txt, err := std.LookupTXT(ctx, "a.test"); err != nil || len(txt) != 1 || len(txt[0]) != 200 {
				t.Errorf("LookupTXT = %v, %v", txt, err)
			}
		})
		if got := w.r.Stats().Queries; got != queries {
			t.Errorf("%d queries that have no hook were counted", got-queries)
		}
		w.servers[0].SetSilent(true)
		took("MX, the first server dead", 2*time.Second+rtt, func() {
			if _, err := std.LookupMX(ctx, "a.test"); err != nil {
				t.Error(err)
			}
		})
		w.servers[1].SetSilent(true)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		took("a canceled lookup", time.Second, func() {
			if _, err := std.LookupHost(ctx, "b.test"); err == nil {
				t.Error("silent servers, and no error")
			}
		})
	})
}

// The TTL of an answer is what is left of it.
func TestNetResolver_TTL(t *testing.T) {
	useNet()
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		time.Sleep(100 * time.Second)
		c, err := w.r.NetResolver().Dial(context.Background(), "udp", "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn := &dns.Conn{Conn: c}
		for range 2 { // several queries over one connection
			if err := conn.WriteMsg(new(dns.Msg).SetQuestion("a.test.", dns.TypeA)); err != nil {
				t.Fatal(err)
			}
			m, err := conn.ReadMsg()
			if err != nil || len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 200 {
				t.Errorf("%v, %v, want a TTL of 200 s", m, err)
			}
		}
	})
}

func TestNetResolver_CloseEndsIt(t *testing.T) {
	useNet()
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].SetSilent(true)
		std := w.r.NetResolver()
		time.AfterFunc(time.Second, func() { w.r.Close() })
		if _, err := std.LookupHost(context.Background(), "a.test"); err == nil {
			t.Error("a lookup succeeded")
		}
		if d := time.Since(w.start); d != time.Second {
			t.Errorf("it ended after %v, want 1s, with Close", d)
		}
		if _, err := std.LookupHost(context.Background(), "a.test"); err == nil {
			t.Error("a lookup succeeded after Close")
		}
	})
}

// As with net.Resolver, whose hooks these are.
func TestLookup_Traced(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
		var mu sync.Mutex
		var events []string
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
			DNSStart: func(i httptrace.DNSStartInfo) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, "start "+i.Host)
			},
			DNSDone: func(i httptrace.DNSDoneInfo) {
				mu.Lock()
				defer mu.Unlock()
				var e strings.Builder
				e.WriteString("done")
				for _, a := range i.Addrs {
					e.WriteString(" " + a.String())
				}
				if i.Coalesced {
					e.WriteString(" coalesced")
				}
				events = append(events, e.String()+" "+string(hostwise.KindOf(i.Err)))
			},
		})
		var wg sync.WaitGroup
		wg.Go(func() { w.gets("ip", "a.test", rtt, "2001:db8::1", "192.0.2.1") })
		time.Sleep(rtt / 2)
		for _, host := range []string{"a.test", "a.test", "gone.test", "192.0.2.9"} {
			w.r.LookupNetIP(ctx, "ip", host)
		}
		wg.Wait()
		want := []string{
			"start a.test", "done 2001:db8::1 192.0.2.1 coalesced ",
			"start a.test", "done 2001:db8::1 192.0.2.1 ",
			"start gone.test", "done dns_nxdomain",
		}
		if !slices.Equal(events, want) {
			t.Errorf("events %q, want %q", events, want)
		}
	})
}
