package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/sony/gobreaker/v2"
)

func TestAddresses_HostWithNoOtherIsDown(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1", "2001:db8::1")
		p.host("A.test", "192.0.2.1")
		p.host("both.test", "2001:db8::1", "192.0.2.1")
		now := time.Now()
		one := p.refused("A.test")
		if one.Host != "a.test:80" || one.Failures != 3 || !one.Since.Equal(now.Add(-10*time.Second)) || hostwise.KindOf(one.Last) != hostwise.ConnectTimeout || !errors.Is(one, gobreaker.ErrOpenState) {
			t.Errorf("error = %#v", one)
		}
		both := p.refused("both.test")
		if both.Failures != 6 || !both.Since.Equal(now) || !both.RetryAt.Equal(one.RetryAt) {
			t.Errorf("error = %#v, want the earliest RetryAt, %v, down since the second address is", both, one.RetryAt)
		}
		for range 10 {
			p.refused("192.0.2.1")
		}
		if _, err := p.tr.DialContext(context.Background(), "tcp", "both.test:80"); hostwise.KindOf(err) != hostwise.HostDown {
			t.Errorf("DialContext: %v, want host_down", err)
		}
		synctest.Wait() // for the sockets of attempts that were called off
		if got := p.tr.Stats(); got.HostsDown != 0 || got.Conns != 0 {
			t.Errorf("%d hosts down, %d connections, want none: the hosts are not charged", got.HostsDown, got.Conns)
		}
	})
}

// A host's own probe is given back: it was not used.
func TestAddresses_HostKeepsItsProbe(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.host("a.test", "192.0.2.1")
		for range defaultFirstFailures { // a host down by itself
			p.fails("a.test", hostwise.ConnectTimeout, 10*time.Second)
		}
		time.Sleep(20 * time.Second)
		p.silence("192.0.2.1") // by the third of these at the latest
		time.Sleep(5 * time.Second)
		p.refused("a.test")
		if h := p.tr.breaker.get("a.test:80"); h.probe != nil {
			t.Error("the host's probe is not given back")
		}
	})
}

// order is the addresses of the dials after the first so many.
func (p *parkedTest) order(before int) (list []string) {
	for _, d := range p.net.Dials()[before:] {
		list = append(list, d.Addr.Addr().String())
	}
	return list
}

func TestAddresses_SilentOnesComeLast(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addrs []string
		live  string // "": none
		want  []string
	}{
		{"of one family", []string{"192.0.2.1", "192.0.2.7"}, "192.0.2.7", []string{"192.0.2.7"}},
		{"of the preferred family", []string{"2001:db8::1", "192.0.2.7"}, "192.0.2.7", []string{"192.0.2.7"}},
		{"the others in their order", []string{"2001:db8::1", "2001:db8::7", "2001:db8::8", "192.0.2.1", "192.0.2.7"}, "", []string{"2001:db8::7", "192.0.2.7", "2001:db8::8", "192.0.2.1", "2001:db8::1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inParked(t, Options{}, func(p *parkedTest) {
				for _, a := range []string{"2001:db8::7", "2001:db8::8", "192.0.2.7"} {
					p.net.SetLink(netip.MustParseAddr(a), simnet.Link{Fault: simnet.Refuse})
				}
				p.silence("192.0.2.1", "2001:db8::1")
				before := len(p.net.Dials())
				p.host("a.test", tt.addrs...)
				if tt.live != "" {
					p.serve(tt.live + ":80")
					p.gets("a.test")
				} else if _, err := p.get(context.Background(), "http://a.test/"); err == nil {
					t.Error("a page of nobody")
				}
				if got := p.order(before); !slices.Equal(got, tt.want) {
					t.Errorf("dialled %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// The address that is silent may be the only one that is left.
func TestAddresses_SilentOneIsStillTried(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.serve("192.0.2.1:80") // it is back
		p.net.SetLink(netip.MustParseAddr("192.0.2.7"), simnet.Link{Fault: simnet.Refuse})
		p.host("a.test", "192.0.2.1", "192.0.2.7")
		p.gets("a.test")
		if got := p.tr.Stats().AddressesSilent; got != 0 {
			t.Errorf("%d silent addresses, want none: it has answered", got)
		}
		p.gets("parked1.test")
	})
}

// slowNames answer for one family only after a while.
type slowNames struct {
	names
	slow  string
	delay time.Duration
}

func (n *slowNames) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network == n.slow {
		time.Sleep(n.delay)
	}
	return n.names.LookupNetIP(ctx, network, host)
}

// While the other family's answer is to come, a host is not given up.
func TestAddresses_WaitsForTheOtherFamily(t *testing.T) {
	for _, slow := range networks {
		t.Run(slow, func(t *testing.T) {
			r := &slowNames{names: names{}, slow: slow}
			inParked(t, Options{Resolver: r}, func(p *parkedTest) {
				p.known = r.names
				p.silence("192.0.2.1", "2001:db8::1")
				p.serve("192.0.2.7:80", "[2001:db8::7]:80")
				if slow == "ip4" {
					p.host("a.test", "2001:db8::1", "192.0.2.7")
				} else {
					p.host("a.test", "192.0.2.1", "2001:db8::7")
				}
				p.host("dead.test", "192.0.2.1", "2001:db8::1")
				r.delay = time.Second
				before := len(p.net.Dials())
				if took, err := p.get(context.Background(), "http://a.test/"); err != nil || took > 1100*time.Millisecond {
					t.Errorf("%v after %v, want the page after a second", err, took)
				}
				if got := p.order(before); len(got) != 1 {
					t.Errorf("dialled %v, want the live one only", got)
				}
				p.fails("dead.test", hostwise.HostDown, time.Second)
			})
		})
	}
}

// An answer that joins the race has its silent addresses behind the others.
func TestAddresses_SilentOnesOfALateAnswer(t *testing.T) {
	r := &slowNames{names: names{}, slow: "ip4"}
	inParked(t, Options{Resolver: r}, func(p *parkedTest) {
		p.known = r.names
		p.silence("192.0.2.1")
		p.serve("192.0.2.7:80")
		p.host("a.test", "2001:db8::1", "192.0.2.1", "192.0.2.7")
		r.delay = 100 * time.Millisecond
		before := len(p.net.Dials())
		if _, err := p.get(context.Background(), "http://a.test/"); err != nil {
			t.Error(err)
		}
		if got, want := p.order(before), []string{"2001:db8::1", "192.0.2.7"}; !slices.Equal(got, want) {
			t.Errorf("dialled %v, want %v", got, want)
		}
	})
}

func TestAddresses_UsedAgainWithinTheCoolDown(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		for i := range 50 {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
		}
		p.host("both.test", "192.0.2.1", "192.0.2.7")
		p.serve("192.0.2.7:80")
		p.silence("192.0.2.1")
		time.Sleep(time.Until(p.refused("h1.test").RetryAt))
		p.fails("h2.test", hostwise.ConnectTimeout, 10*time.Second) // the probe
		retryAt := p.refused("h3.test").RetryAt
		if got := time.Until(retryAt); got < 54*time.Second || got > 66*time.Second {
			t.Errorf("cool-down of %v after the probe, want 60s", got)
		}
		p.serve("192.0.2.1:80") // it is back
		p.refused("h4.test")
		p.gets("both.test")
		time.Sleep(time.Until(retryAt))
		for i := range 50 {
			p.gets(fmt.Sprintf("h%d.test", i))
		}
		if got := p.tr.Stats().AddressesSilent; got != 0 {
			t.Errorf("%d silent addresses, want none", got)
		}
	})
}

// A host with a live address probes, too, where the silent one stands first;
// not with each dial.
func TestAddresses_ProbeBesideALiveAddress(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.serve("192.0.2.7:80")
		p.host("a.test", "192.0.2.1")
		for i := range 4 {
			p.host(fmt.Sprintf("both%d.test", i), "192.0.2.1", "192.0.2.7")
		}
		p.silence("192.0.2.1")
		time.Sleep(time.Until(p.refused("a.test").RetryAt))
		before := len(p.net.Dials())
		for i := range 3 {
			if _, err := p.get(context.Background(), fmt.Sprintf("http://both%d.test/", i)); err != nil {
				t.Error(err)
			}
		}
		if got, want := p.order(before), []string{"192.0.2.1", "192.0.2.7", "192.0.2.7", "192.0.2.7"}; !slices.Equal(got, want) {
			t.Errorf("dialled %v, want %v", got, want)
		}
		p.serve("192.0.2.1:80") // it is back
		time.Sleep(probeExpiry)
		before = len(p.net.Dials())
		p.gets("both3.test")
		if got, want := p.order(before), []string{"192.0.2.1"}; !slices.Equal(got, want) {
			t.Errorf("dialled %v, want %v", got, want)
		}
		p.gets("a.test")
	})
}

// Each of these says nothing of the address.
func TestAddresses_NotCharged(t *testing.T) {
	fetch := func(p *parkedTest, i int, timeout time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if _, err := p.get(ctx, fmt.Sprintf("http://h%d.test/", i)); err == nil {
			p.Error("a page of nobody")
		}
	}
	for _, tt := range []struct {
		name  string
		link  simnet.Link
		visit func(p *parkedTest, i int)
	}{
		{"a refusal", simnet.Link{Fault: simnet.Refuse}, func(p *parkedTest, i int) { fetch(p, i, time.Minute) }},
		{"an unreachable host", simnet.Link{Fault: simnet.Unreachable}, func(p *parkedTest, i int) { fetch(p, i, time.Minute) }},
		{"no route", simnet.Link{Fault: simnet.NoRoute}, func(p *parkedTest, i int) { fetch(p, i, time.Minute) }},
		{"a short deadline", simnet.Link{Fault: simnet.BlackHole}, func(p *parkedTest, i int) { fetch(p, i, 2900*time.Millisecond) }},
		{"a cancellation", simnet.Link{Fault: simnet.BlackHole}, func(p *parkedTest, i int) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(9*time.Second, cancel)
			p.tr.DialContext(ctx, "tcp", fmt.Sprintf("h%d.test:80", i))
		}},
		{"another address has won", simnet.Link{Fault: simnet.BlackHole}, func(p *parkedTest, i int) {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1", "198.51.100.1")
			if _, err := p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i)); err != nil {
				p.Error(err)
			}
		}},
		{"TLS is silent", simnet.Link{Fault: simnet.DataHole}, func(p *parkedTest, i int) {
			if _, err := p.get(context.Background(), fmt.Sprintf("https://h%d.test/", i)); hostwise.KindOf(err) != hostwise.TLSTimeout {
				p.Errorf("%v, want tls_timeout", err)
			}
		}},
		{"one name in three is answered", simnet.Link{}, func(p *parkedTest, i int) {
			l := simnet.Link{Fault: simnet.BlackHole}
			if i%3 == 2 {
				l = simnet.Link{}
			}
			p.net.SetLink(addr4, l)
			p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inParked(t, Options{}, func(p *parkedTest) {
				p.serve("198.51.100.1:80", "192.0.2.1:80", "192.0.2.1:443")
				p.net.SetLink(addr4, tt.link)
				for i := range 12 {
					p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
					tt.visit(p, i)
					time.Sleep(10 * time.Second) // a dial goes on to its end
					if got := p.tr.Stats().AddressesSilent; got != 0 {
						p.Fatalf("%d silent addresses after %d names, want none", got, i+1)
					}
				}
			})
		})
	}
}

// A deadline that leaves a host its time charges the address as well.
func TestAddresses_ChargedAtAFairDeadline(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		for i := range silentAfter {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
			p.tr.DialContext(ctx, "tcp", fmt.Sprintf("h%d.test:80", i))
			cancel()
		}
		p.refused("h0.test")
	})
}

// A refusal ends the silence: it costs nobody any time.
func TestAddresses_ProbeIsRefused(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.net.SetLink(addr4, simnet.Link{Fault: simnet.Refuse})
		p.host("a.test", "192.0.2.1")
		time.Sleep(time.Until(p.refused("a.test").RetryAt))
		p.fails("a.test", hostwise.ConnectRefused, 0)
		if got := p.tr.Stats().AddressesSilent; got != 0 {
			t.Errorf("%d silent addresses, want none", got)
		}
	})
}

// A probe that was cut short says nothing: the next may go at once.
func TestAddresses_ProbeIsCutShort(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.host("a.test", "192.0.2.1")
		time.Sleep(time.Until(p.refused("a.test").RetryAt))
		for _, short := range []time.Duration{time.Second, 2 * time.Second} {
			ctx, cancel := context.WithTimeout(context.Background(), short)
			start := time.Now()
			_, err := p.tr.DialContext(ctx, "tcp", "a.test:80")
			cancel()
			if got := time.Since(start); hostwise.KindOf(err) != hostwise.ConnectTimeout || got != short {
				t.Errorf("%v after %v, want connect_timeout after %v", err, got, short)
			}
		}
		p.serve("192.0.2.1:80")
		p.gets("a.test")
	})
}

// What is known of addresses is of this network.
func TestAddresses_ForgottenInAnotherNetwork(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.refused("parked1.test")
		p.serve("192.0.2.1:80")
		p.tr.routes = &routes{}
		for i := range p.tr.routes.family {
			p.tr.routes.family[i].checked.Store(time.Now().Add(time.Hour).UnixNano())
		}
		p.tr.routes.changed.Store(true)
		p.gets("parked1.test")
	})
}

// An attempt that connects when another one has won clears its address.
func TestAddresses_ClearedByALoser(t *testing.T) {
	var stubborn atomic.Bool
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if stubborn.Load() {
				ctx = context.WithoutCancel(ctx)
			}
			return n.DialContext(ctx, network, address)
		}}
		tr, err := New(base, &Options{Resolver: names{"a.test": {addr6, addr4}}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for _, a := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
			l, err := n.Listen(a)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		n.SetLink(addr6, simnet.Link{RTT: time.Second})
		six := netip.AddrPortFrom(addr6, 80)
		for _, name := range []string{"b", "c"} {
			tr.addresses.timedOut(six, name, 0, time.Now(), errLost, nil)
		}
		stubborn.Store(true)
		c, err := tr.DialContext(context.Background(), "tcp", "a.test:80")
		if err != nil || c.RemoteAddr().String() != "192.0.2.1:80" {
			t.Fatalf("connected to %v, %v, want IPv4", c, err)
		}
		c.Close()
		if tr.addresses.entries() != 1 {
			t.Fatal("the address is forgotten too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := tr.addresses.entries(); got != 0 {
			t.Errorf("%d entries, want none: the address has answered", got)
		}
	})
}

// A proxy's address serves all names.
func TestAddresses_NotOfProxies(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		before := len(p.net.Dials())
		var wg sync.WaitGroup
		for i := range 3 {
			p.host(fmt.Sprintf("proxy%d.test", i), "192.0.2.1")
		}
		for i := range 3 {
			proxy := &url.URL{Scheme: "http", Host: fmt.Sprintf("proxy%d.test:80", i)}
			ctx := WithProxy(context.Background(), http.ProxyURL(proxy))
			wg.Go(func() {
				if took, err := p.get(ctx, fmt.Sprintf("http://h%d.test/", i)); hostwise.KindOf(err) != hostwise.ProxyTimeout || took != 10*time.Second {
					p.Errorf("%v after %v, want proxy_timeout after 10s", err, took)
				}
			})
		}
		wg.Wait()
		if got := len(p.net.Dials()) - before; got != 3 {
			t.Errorf("%d dials, want 3", got)
		}
		if e := p.refused("parked1.test"); e.Failures != 3 {
			t.Errorf("%d failures, want 3: the proxies' are not the address's", e.Failures)
		}
	})
}

func TestAddresses_DisableMemory(t *testing.T) {
	inParked(t, Options{DisableMemory: true}, func(p *parkedTest) {
		for i := range 2 * silentAfter {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
			p.fails(fmt.Sprintf("h%d.test", i), hostwise.ConnectTimeout, 10*time.Second)
		}
	})
}

// Those who wait for room for a connection when the address goes silent wait
// no longer, and their room is given back.
func TestAddresses_ThoseWhoWaitFailAtOnce(t *testing.T) {
	inParked(t, Options{MaxConns: 4}, func(p *parkedTest) {
		for i := range 100 {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
		}
		start := time.Now()
		var wg sync.WaitGroup
		var down atomic.Int64
		for i := range 100 {
			wg.Go(func() {
				if _, err := p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i)); hostwise.KindOf(err) == hostwise.HostDown {
					down.Add(1)
				}
			})
		}
		wg.Wait()
		// The first two that end give their room to two more.
		if got := time.Since(start); got > 20*time.Second || down.Load() < 94 {
			t.Errorf("%d down after %v, want 94 or more within 20s", down.Load(), got)
		}
		synctest.Wait() // for the sockets of attempts that were called off
		if got := p.tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections, want none", got)
		}
	})
}
