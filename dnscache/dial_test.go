package dnscache_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// A Dial that hangs holds up nobody beyond his own context, and no answer
// from the cache.
func TestDial_ThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		d := n.ServeDNS("192.0.2.53:53")
		defer d.Close()
		d.AddHost("a.test", 60, parse("192.0.2.1")...)
		hangs := false
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if hangs {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return n.DialContext(ctx, network, address)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.LookupNetIP(context.Background(), "ip4", "a.test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(55 * time.Second) // the socket is closed, and the answer due for a refresh
		hangs = true
		start := time.Now()
		took := func(what string, want time.Duration) {
			t.Helper()
			if d := time.Since(start); d != want {
				t.Errorf("%s: after %v, want %v", what, d, want)
			}
		}
		if _, err := r.LookupNetIP(context.Background(), "ip4", "a.test"); err != nil {
			t.Error(err)
		}
		took("a hit", 0)
		s := r.Subscribe("ip4", "b.test", func(string, []netip.Addr, error) {})
		took("Subscribe", 0)
		s.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := r.LookupNetIP(ctx, "ip4", "c.test"); hostwise.KindOf(err) != hostwise.DNSTimeout {
			t.Errorf("%v, want a time-out", err)
		}
		took("a canceled lookup", 50*time.Millisecond)
	})
}

// RFC 4074, section 4.2: an authority that says NXDOMAIN for AAAA does not
// hide the A record, not even for those who come before it.
func TestLookup_NXDomainForAAAAOnly(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeAAAA, simnet.Rule{Rcode: dns.RcodeNameError})
		w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: 200 * time.Millisecond})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := w.r.LookupNetIP(ctx, "ip", "a.test"); hostwise.KindOf(err) != hostwise.DNSTimeout {
			t.Errorf("%v, want a time-out", err)
		}
		w.gets("ip", "a.test", 200*time.Millisecond+rtt, "192.0.2.1")
	})
}
