package dnscache_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// A world is a simulated network with nameservers and a Resolver that asks
// them, inside a bubble.
type world struct {
	t       *testing.T
	net     *simnet.Network
	servers []*simnet.DNS
	r       *dnscache.Resolver
	start   time.Time
}

// inWorld runs f in a bubble with n nameservers at 192.0.2.53, .54 and so on,
// each 10 ms away.
func inWorld(t *testing.T, n int, o dnscache.Options, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), start: time.Now()}
		for i := range n {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(53 + i)})
			w.net.SetLink(a, simnet.Link{RTT: 10 * time.Millisecond})
			w.servers = append(w.servers, w.net.ServeDNS(netip.AddrPortFrom(a, 53).String()))
			o.Servers = append(o.Servers, a.String())
		}
		if o.HostsFile == "" {
			o.HostsFile = os.DevNull
		}
		o.Dial = w.net.DialContext
		r, err := dnscache.New(&o)
		if err != nil {
			t.Fatal(err)
		}
		w.r = r
		defer func() {
			r.Close()
			for _, s := range w.servers {
				s.Close()
			}
		}()
		f(w)
	})
}

// all sets the same script on every nameserver.
func (w *world) all(name string, qtype uint16, rules ...simnet.Rule) {
	for _, s := range w.servers {
		s.Handle(name, qtype, rules...)
	}
}

func (w *world) host(name string, ttl uint32, addrs ...string) {
	for _, s := range w.servers {
		s.AddHost(name, ttl, parse(addrs...)...)
	}
}

func parse(addrs ...string) (list []netip.Addr) {
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

// gets looks name up and checks addresses and elapsed time.
func (w *world) gets(network, name string, elapsed time.Duration, want ...string) {
	w.t.Helper()
	start := time.Now()
	got, err := w.r.LookupNetIP(context.Background(), network, name)
	if err != nil || !slices.Equal(got, parse(want...)) {
		w.t.Errorf("LookupNetIP(%s, %s) = %v, %v, want %v", network, name, got, err, want)
	}
	if d := time.Since(start); d != elapsed {
		w.t.Errorf("LookupNetIP(%s, %s) took %v, want %v", network, name, d, elapsed)
	}
}

// fails looks name up and checks the Kind and the elapsed time.
func (w *world) fails(network, name string, kind hostwise.Kind, elapsed time.Duration) *hostwise.DNSError {
	w.t.Helper()
	start := time.Now()
	got, err := w.r.LookupNetIP(context.Background(), network, name)
	var e *hostwise.DNSError
	if !errors.As(err, &e) || e.Kind != kind {
		w.t.Fatalf("LookupNetIP(%s, %s) = %v, %v, want %s", network, name, got, err, kind)
	}
	if d := time.Since(start); d != elapsed {
		w.t.Errorf("LookupNetIP(%s, %s) took %v, want %v", network, name, d, elapsed)
	}
	return e
}

func (w *world) asked(name string, qtype uint16, want int) {
	w.t.Helper()
	got := 0
	for _, s := range w.servers {
		got += s.Count(name, qtype)
	}
	if got != want {
		w.t.Errorf("%d %s queries for %s, want %d", got, dns.TypeToString[qtype], name, want)
	}
}

const rtt = 10 * time.Millisecond

// withServers is inWorld for servers that are not plain addresses; it starts
// no nameserver.
func withServers(t *testing.T, servers []string, f func(w *world)) {
	inWorld(t, 0, dnscache.Options{Servers: servers}, f)
}

// serve starts the nameserver for an address of withServers.
func (w *world) serve(addr string) *simnet.DNS {
	w.net.SetLink(netip.MustParseAddr(addr), simnet.Link{RTT: rtt})
	s := w.net.ServeDNS(netip.AddrPortFrom(netip.MustParseAddr(addr), 53).String())
	w.servers = append(w.servers, s)
	return s
}
