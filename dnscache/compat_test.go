package dnscache_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// A Resolver accepts what net.Resolver accepts and returns what it returns,
// but for the form of IPv4 addresses and for zones: see LookupNetIP.
func TestLookup_LikeNetResolver(t *testing.T) {
	useNet()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		d := n.ServeDNS("192.0.2.53:53")
		defer d.Close()
		d.AddHost("a.test", 300, parse("192.0.2.1", "192.0.2.2", "2001:db8::1")...)
		d.AddHost("four.test", 300, parse("192.0.2.1")...)
		d.AddHost("six.test", 300, parse("2001:db8::1")...)
		d.AddHost("_sip.a_b.test", 300, parse("192.0.2.3")...)
		d.AddHost("1.2.3.4.test", 300, parse("192.0.2.4")...)
		d.Handle("none.test", dns.TypeANY, simnet.Rule{})
		d.Handle("servfail.test", dns.TypeANY, simnet.Rule{Rcode: dns.RcodeServerFailure})
		d.Handle("refused.test", dns.TypeANY, simnet.Rule{Rcode: dns.RcodeRefused})
		alias := &dns.CNAME{Hdr: dns.RR_Header{Name: "alias.test.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: "a.test."}
		d.Handle("alias.test", dns.TypeA, simnet.Rule{Answer: []dns.RR{alias, &dns.A{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 6)}}})
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.DialContext(ctx, network, "192.0.2.53:53")
		}
		std := &net.Resolver{PreferGo: true, Dial: dial}
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _, host := range []string{
			"a.test", "A.TEST", "a.test.", "four.test", "six.test", "_sip.a_b.test", "1.2.3.4.test", "none.test", "nx.test", "alias.test", "servfail.test", "refused.test",
			"192.0.2.9", "2001:db8::9", "::ffff:192.0.2.9", "fe80::1%eth0",
			"", ".", "a..b", "127.1", "1.2.3.4.", "[::1]", " a", "01.02.03.04", "a b.test",
		} {
			for _, network := range []string{"ip", "ip4", "ip6", "tcp", ""} {
				got, gotErr := r.LookupNetIP(context.Background(), network, host)
				want, wantErr := std.LookupNetIP(context.Background(), network, host)
				if g, w := plain(got), plain(want); !slices.Equal(g, w) {
					t.Errorf("%q, %q: %v, %v; net.Resolver: %v, %v", network, host, g, gotErr, w, wantErr)
				}
				var g, w *net.DNSError
				var unknown net.UnknownNetworkError
				switch {
				case errors.As(wantErr, &unknown):
					if !errors.As(gotErr, &unknown) {
						t.Errorf("%q, %q: %v, want %v", network, host, gotErr, wantErr)
					}
				case errors.As(wantErr, &w):
					if !errors.As(gotErr, &g) || g.IsNotFound != w.IsNotFound || g.IsTimeout != w.IsTimeout || g.IsTemporary != w.IsTemporary {
						t.Errorf("%q, %q: %#v, want %#v", network, host, g, w)
					}
				}
			}
		}
	})
}

// plain is a list in a form and order that both resolvers' results can have.
func plain(addrs []netip.Addr) (list []netip.Addr) {
	for _, a := range addrs {
		list = append(list, a.Unmap().WithZone(""))
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}
