//go:build linux

package internet

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// reply collects what a name server answers.
type reply struct {
	dns.ResponseWriter // the methods that are not used
	local              net.Addr
	msgs               chan *dns.Msg
}

func (r *reply) LocalAddr() net.Addr { return r.local }

func (r *reply) WriteMsg(m *dns.Msg) error {
	r.msgs <- m
	return nil
}

// ask returns nil when there is no answer.
func ask(d *nameServers, network, name string, qtype uint16) (*dns.Msg, time.Duration) {
	r := &reply{local: &net.UDPAddr{}, msgs: make(chan *dns.Msg, 1)}
	if network == "tcp" {
		r.local = &net.TCPAddr{}
	}
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(1232, false)
	start := time.Now()
	go d.handle(0, r, q)
	select {
	case m := <-r.msgs:
		return m, time.Since(start)
	case <-time.After(time.Minute):
		return nil, time.Minute
	}
}

// webHost returns the first host of web, seed 1, with some property.
func webHost(t *testing.T, w *world.World, is func(*world.Host) bool) *world.Host {
	t.Helper()
	i := slices.IndexFunc(w.Hosts, is)
	if i < 0 {
		t.Fatal("no such host")
	}
	return w.Hosts[i]
}

// noLoss is the world web, seed 1, on a good day.
func noLoss(t *testing.T) *world.World {
	t.Helper()
	s := world.Scenarios()["web"]
	s.DNSLoss = 0
	w, err := world.New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestNameServers_ColdThenCachedThenFetchedAgain(t *testing.T) {
	w := noLoss(t)
	h := webHost(t, w, func(h *world.Host) bool {
		return h.Fate == world.OK && !h.Warm && !h.ServFailFirst && !h.Truncated && h.TTL >= 10 && h.Moved == nil && len(h.CNAME) == 2
	})
	synctest.Test(t, func(t *testing.T) {
		d := newNameServers(w)
		tests := []struct {
			wait, took time.Duration
			ttl        uint32
		}{
			{0, h.ColdA, h.TTL},
			{2 * time.Second, 0, h.TTL - 2},
			{time.Duration(h.TTL) * time.Second, h.Refetch, h.TTL},
		}
		for i, tt := range tests {
			time.Sleep(tt.wait)
			m, took := ask(d, "udp", h.Name+".", dns.TypeA)
			if m == nil || took != tt.took {
				t.Fatalf("query %d: took %v, want %v: %v", i, took, tt.took, m)
			}
			if got, want := len(m.Answer), len(h.CNAME)+len(h.V4); got != want {
				t.Errorf("query %d: got %d records, want %d: %v", i, got, want, m.Answer)
			}
			owner := h.Name + "."
			for _, rr := range m.Answer {
				if rr.Header().Name != owner || rr.Header().Ttl != tt.ttl {
					t.Errorf("query %d: got %v, want owner %s and TTL %d", i, rr, owner, tt.ttl)
				}
				if c, ok := rr.(*dns.CNAME); ok {
					owner = c.Target
				}
			}
			if m.IsEdns0() == nil {
				t.Errorf("query %d: no EDNS in the answer", i)
			}
		}
	})
}

func TestNameServers_EachFate(t *testing.T) {
	w := noLoss(t)
	fate := func(f world.Fate) func(*world.Host) bool {
		return func(h *world.Host) bool { return h.Fate == f }
	}
	v4only := func(h *world.Host) bool {
		return h.Fate == world.OK && len(h.V6) == 0 && !h.ServFailFirst && !h.Truncated
	}
	synctest.Test(t, func(t *testing.T) {
		d := newNameServers(w)
		tests := []struct {
			what    string
			name    string
			qtype   uint16
			rcode   int
			negTTL  uint32 // of the SOA, 0 if there is none
			records bool
		}{
			{"NXDOMAIN", webHost(t, w, fate(world.NXDomain)).Name, dns.TypeA, dns.RcodeNameError, 10, false},
			{"strange name", "nobody.test", dns.TypeA, dns.RcodeNameError, 10, false},
			{"SERVFAIL", webHost(t, w, fate(world.ServFail)).Name, dns.TypeAAAA, dns.RcodeServerFailure, 0, false},
			{"NODATA", webHost(t, w, v4only).Name, dns.TypeAAAA, dns.RcodeSuccess, 10, false},
			{"other type", webHost(t, w, v4only).Name, dns.TypeHTTPS, dns.RcodeSuccess, 10, false},
			{"dead host", webHost(t, w, fate(world.Dead)).Name, dns.TypeA, dns.RcodeSuccess, 0, true},
		}
		for _, tt := range tests {
			m, _ := ask(d, "udp", tt.name+".", tt.qtype)
			if m == nil {
				t.Errorf("%s: no answer", tt.what)
				continue
			}
			negTTL := uint32(0)
			for _, rr := range m.Ns {
				negTTL = min(rr.Header().Ttl, rr.(*dns.SOA).Minttl)
			}
			records := slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == tt.qtype })
			if m.Rcode != tt.rcode || negTTL != tt.negTTL || records != tt.records {
				t.Errorf("%s: got %v", tt.what, m)
			}
		}
		if m, _ := ask(d, "udp", webHost(t, w, fate(world.DNSTimeout)).Name+".", dns.TypeA); m != nil {
			t.Errorf("name that the resolver is silent about: got %v", m)
		}
		if got := d.queriesA.Load() + d.queriesAAAA.Load() + d.queriesOther.Load(); got != 7 {
			t.Errorf("queries: got %d, want 7", got)
		}
	})
}

func TestNameServers_TruncatedOverUDPOnly(t *testing.T) {
	w := noLoss(t)
	h := webHost(t, w, func(h *world.Host) bool { return h.Truncated && !h.ServFailFirst })
	synctest.Test(t, func(t *testing.T) {
		d := newNameServers(w)
		if m, _ := ask(d, "udp", h.Name+".", dns.TypeA); m == nil || !m.Truncated || len(m.Answer) != 0 {
			t.Errorf("over UDP: got %v", m)
		}
		if m, _ := ask(d, "tcp", h.Name+".", dns.TypeA); m == nil || m.Truncated || len(m.Answer) == 0 {
			t.Errorf("over TCP: got %v", m)
		}
		if udp, tcp := d.queriesA.Load(), d.queriesTCP.Load(); udp != 2 || tcp != 1 {
			t.Errorf("got %d queries, %d over TCP, want 2 and 1", udp, tcp)
		}
	})
}

func TestNameServers_ServFailFirst(t *testing.T) {
	w := noLoss(t)
	h := webHost(t, w, func(h *world.Host) bool { return h.ServFailFirst && !h.Truncated })
	synctest.Test(t, func(t *testing.T) {
		d := newNameServers(w)
		for try, want := range []int{dns.RcodeServerFailure, dns.RcodeSuccess, dns.RcodeSuccess} {
			if m, _ := ask(d, "udp", h.Name+".", dns.TypeA); m == nil || m.Rcode != want {
				t.Errorf("try %d: got %v, want RCODE %d", try, m, want)
			}
		}
	})
}

func TestTimeline_NameServerDiesAndHostsMove(t *testing.T) {
	s := world.Scenarios()["nsdeath"]
	s.DNSLoss = 0
	w, err := world.New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	moving := webHost(t, w, func(h *world.Host) bool { return h.Moved != nil && !h.ServFailFirst && !h.Truncated })
	synctest.Test(t, func(t *testing.T) {
		d := newNameServers(w)
		r := newRouter(w, newDevice(), newDevice())
		events := newTimeline(w, r, d)
		server, old := r.path(world.Resolvers[0]), r.path(moving.V4[0].IP)

		events.reach(1199)
		if d.silent[0].Load() || server.is(world.Drop) {
			t.Error("the name server is dead before 30 % of the URLs")
		}
		events.reach(1200)
		if !d.silent[0].Load() || !server.is(world.Drop) {
			t.Error("the name server lives after 30 % of the URLs")
		}
		d.silent[0].Store(false) // to ask the same one
		events.reach(2001)
		if d.silent[0].Load() {
			t.Error("an event happened twice")
		}
		m, _ := ask(d, "udp", moving.Name+".", dns.TypeA)
		if a := m.Answer[len(m.Answer)-1].(*dns.A); a.A.String() != moving.Moved.IP.String() {
			t.Errorf("address after the move: got %v, want %v", a.A, moving.Moved.IP)
		}
		if !old.is(world.Deliver) {
			t.Error("the old address is dead at once")
		}
		time.Sleep(time.Duration(moving.TTL+1) * time.Second)
		synctest.Wait()
		if !old.is(world.Drop) {
			t.Error("the old address lives longer than the TTL")
		}
	})
}

func TestRateLimit_BeginsEmptyAndHoldsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &rateLimit{perSecond: 300, last: time.Now()}
		allowed := func() (n int) {
			for l.allow() {
				n++
			}
			return n
		}
		if got := allowed(); got != 0 {
			t.Errorf("at once: got %d, want 0", got)
		}
		for _, tt := range []struct {
			wait time.Duration
			want int
		}{{100 * ms, 30}, {time.Hour, 300}} {
			time.Sleep(tt.wait)
			if got := allowed(); got != tt.want {
				t.Errorf("after %v: got %d, want %d", tt.wait, got, tt.want)
			}
		}
	})
	if free := new(rateLimit); !free.allow() {
		t.Error("without a limit: got refused")
	}
}
