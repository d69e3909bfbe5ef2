package transport

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

var (
	addr4 = netip.MustParseAddr("192.0.2.1")
	addr6 = netip.MustParseAddr("2001:db8::1")
)

type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, network, host string) (as []netip.Addr, err error) {
	for _, a := range n[host] {
		if a.Is4() == (network == "ip4") {
			as = append(as, a)
		}
	}
	if as == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return as, nil
}

// withoutRoute is a Transport on a machine that has no default route for
// IPv6.
func withoutRoute(t *testing.T, known names, f func(n *simnet.Network, tr *Transport)) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{Resolver: known})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		tr.routes = &routes{}
		for i := range tr.routes.family {
			tr.routes.family[i].checked.Store(time.Now().Add(time.Hour).UnixNano())
		}
		tr.routes.family[happyeyeballs.IPv6].missing.Store(true)
		f(n, tr)
	})
}

// The first dials of a program, at the same time, all know the routes.
func TestRoutes_FirstDialsWaitForTheCheck(t *testing.T) {
	type known struct {
		missing [2]bool
		sources [2]netip.Addr
	}
	for range 200 {
		r := new(routes)
		look := func() (k known) {
			k.missing = r.without([2]bool{}, time.Now())
			k.sources = [2]netip.Addr{r.defaultSource(0), r.defaultSource(1)}
			return k
		}
		var all [8]known
		var dials sync.WaitGroup
		for i := range all {
			dials.Go(func() { all[i] = look() })
		}
		dials.Wait()
		for _, k := range all {
			if want := look(); k != want {
				t.Fatalf("a dial knows %v, a later one %v", k, want)
			}
		}
	}
}

func TestRoutes_FamilyWithoutOneIsLeftOut(t *testing.T) {
	known := names{"both.test": {addr6, addr4}, "six.test": {addr6}}
	withoutRoute(t, known, func(n *simnet.Network, tr *Transport) {
		for _, a := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
			l, err := n.Listen(a)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		for _, tt := range []struct{ network, address, want string }{
			{"tcp", "both.test:80", "192.0.2.1:80"},
			{"tcp6", "both.test:80", "[2001:db8::1]:80"}, // the caller's word counts
			{"tcp", "[2001:db8::1]:80", "[2001:db8::1]:80"},
			{"tcp", "192.0.2.1:80", "192.0.2.1:80"},
			{"tcp", "six.test:80", "[2001:db8::1]:80"}, // perhaps there is a route to just this one
		} {
			c, err := tr.DialContext(context.Background(), tt.network, tt.address)
			if err != nil {
				t.Errorf("%s to %s: %v", tt.network, tt.address, err)
				continue
			}
			if got := c.RemoteAddr().String(); got != tt.want {
				t.Errorf("%s to %s: connected to %s, want %s", tt.network, tt.address, got, tt.want)
			}
			c.Close()
		}
		if got := n.Stats().Hosts[addr6].Dials; got != 3 {
			t.Errorf("%d dials over IPv6, want 3", got)
		}
		lookups := 0
		trace := &httptrace.ClientTrace{DNSStart: func(httptrace.DNSStartInfo) { lookups++ }}
		c, err := tr.DialContext(httptrace.WithClientTrace(context.Background(), trace), "tcp", "[2001:db8::1]:80")
		if err != nil || lookups != 1 {
			t.Errorf("a literal: %d lookups begun, err %v, want one race", lookups, err)
		}
		if err == nil {
			c.Close()
		}
		if _, err := tr.DialContext(context.Background(), "tcp", "none.test:80"); hostwise.KindOf(err) != hostwise.DNSNXDomain {
			t.Errorf("err = %v, want %s", err, hostwise.DNSNXDomain)
		}
	})
}

func TestRoutes_Without(t *testing.T) {
	r, tr := &routes{}, &Transport{}
	now := time.Now()
	for i := range r.family {
		r.family[i].checked.Store(now.UnixNano())
	}
	miss := func(f happyeyeballs.Family, missing bool) { r.family[f].missing.Store(missing) }
	for _, tt := range []struct {
		network      string
		no6, no4     bool
		want6, want4 bool // left out
	}{
		{"tcp", false, false, false, false},
		{"tcp", true, false, true, false},
		{"tcp", false, true, false, true},
		{"tcp", true, true, false, false}, // with no route at all, both are tried
		{"tcp4", true, false, true, false},
		{"tcp6", true, false, false, true},
	} {
		miss(happyeyeballs.IPv6, tt.no6)
		miss(happyeyeballs.IPv4, tt.no4)
		if got, want := r.without(tr.without(tt.network), now), [2]bool{tt.want6, tt.want4}; got != want {
			t.Errorf("%s, no IPv6 %v, no IPv4 %v: without %v, want %v", tt.network, tt.no6, tt.no4, got, want)
		}
	}
	if got := (*routes)(nil).without([2]bool{}, now); got != [2]bool{} {
		t.Errorf("a network of the user's own is without %v", got)
	}
}

func TestRoutes_AChangeForgetsTheRace(t *testing.T) {
	withoutRoute(t, names{"a.test": {addr6, addr4}}, func(n *simnet.Network, tr *Transport) {
		tr.routes.family[happyeyeballs.IPv6].missing.Store(false)
		l, err := n.Listen("192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n.SetLink(addr6, simnet.Link{Fault: simnet.BlackHole})
		for i, want := range []time.Duration{250 * time.Millisecond, 0, 250 * time.Millisecond, 0} {
			if i == 2 {
				tr.routes.changed.Store(true)
			}
			start := time.Now()
			c, err := tr.DialContext(context.Background(), "tcp", "a.test:80")
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			if got := time.Since(start); got != want {
				t.Errorf("dial %d took %v, want %v", i+1, got, want)
			}
		}
	})
}

// Another source address is another network; none, for want of descriptors,
// is not.
func TestRoutes_Change(t *testing.T) {
	r := &routes{}
	for _, tt := range []struct {
		source string
		err    error
		want   bool
	}{
		{"192.0.2.7", nil, false}, // the first look
		{"192.0.2.7", nil, false},
		{"", syscall.EMFILE, false},
		{"192.0.2.8", nil, true},
		{"192.0.2.8", nil, false},
		{"", syscall.ENETUNREACH, true},
		{"192.0.2.8", nil, true},
	} {
		r.found(int(happyeyeballs.IPv4), func(string) (a netip.Addr, err error) {
			if tt.err == nil {
				a = netip.MustParseAddr(tt.source)
			}
			return a, tt.err
		})
		if got := r.hasChanged(); got != tt.want {
			t.Errorf("%q, %v: changed = %v, want %v", tt.source, tt.err, got, tt.want)
		}
		if r.hasChanged() {
			t.Error("a change is reported twice")
		}
	}
	if (*routes)(nil).hasChanged() {
		t.Error("nobody knows of a user's own network that it has changed")
	}
}
