package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

const nameserver = "192.0.2.53:53"

// serveDNS starts a nameserver with an RTT of 20 ms until the test ends.
func serveDNS(t *testing.T, n *Network) *DNS {
	t.Helper()
	d := n.ServeDNS(nameserver)
	t.Cleanup(func() { d.Close() })
	n.SetLink(d.Addr().Addr(), Link{RTT: 20 * ms})
	return d
}

// query returns a query with an OPT.
func query(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
}

// ask sends a query over network and returns the answer, or nil if there is
// none within a second.
func ask(t *testing.T, n *Network, network string, q *dns.Msg) *dns.Msg {
	t.Helper()
	c, err := n.DialContext(context.Background(), network, nameserver)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	conn := &dns.Conn{Conn: c, UDPSize: 4096}
	if err := conn.WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMsg()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if err == nil && (m.Id != q.Id || m.Question[0] != q.Question[0]) {
		t.Errorf("got an answer to %d %v, want to %d %v", m.Id, m.Question[0], q.Id, q.Question[0])
	}
	return m
}

// summary returns the rcode and the records of m in short.
func summary(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	parts := []string{dns.RcodeToString[m.Rcode]}
	if m.Truncated {
		parts = append(parts, "TC")
	}
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		parts = append(parts, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(parts, "; ")
}

func TestDNS_AddHost(t *testing.T) {
	const soa = "300 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 300"
	tests := []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"both.test.", dns.TypeA, "NOERROR; both.test. 60 IN A 192.0.2.1; both.test. 60 IN A 192.0.2.2"},
		{"both.test.", dns.TypeAAAA, "NOERROR; both.test. 60 IN AAAA 2001:db8::1"},
		{"BoTh.TeSt.", dns.TypeAAAA, "NOERROR; BoTh.TeSt. 60 IN AAAA 2001:db8::1"},
		{"v4.test.", dns.TypeA, "NOERROR; v4.test. 0 IN A 192.0.2.1"},
		{"v4.test.", dns.TypeAAAA, "NOERROR; test. " + soa},
		{"v4.test.", dns.TypeMX, "NOERROR; test. " + soa},
		{"none.test.", dns.TypeA, "NXDOMAIN; test. " + soa},
		{"none.", dns.TypeA, "NXDOMAIN; . " + soa},
	}
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				d := serveDNS(t, n)
				d.AddHost("both.test", 60, host6, host4, netip.MustParseAddr("192.0.2.2"))
				d.AddHost("v4.test.", 0, host4)
				for _, tt := range tests {
					if got := summary(ask(t, n, network, query(tt.name, tt.qtype))); got != tt.want {
						t.Errorf("%s %s: got %q, want %q", tt.name, dns.Type(tt.qtype), got, tt.want)
					}
				}
			})
		})
	}
}

func TestDNS_RulesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.Handle("A.test", dns.TypeA,
			Rule{Rcode: dns.RcodeServerFailure},
			Rule{Rcode: dns.RcodeRefused, Times: 2},
			Rule{Silent: true},
			Rule{Addrs: []netip.Addr{host4}})
		d.Handle("a.test", dns.TypeANY, Rule{Rcode: dns.RcodeNotImplemented})
		var got []string
		for range 6 {
			got = append(got, summary(ask(t, n, "udp", query("a.test.", dns.TypeA))))
		}
		answer := "NOERROR; a.test. 0 IN A 192.0.2.1"
		want := []string{"SERVFAIL", "REFUSED", "REFUSED", "silence", answer, answer}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := summary(ask(t, n, "udp", query("a.test.", dns.TypeAAAA))); got != "NOTIMP" {
			t.Errorf("another type: got %q, want NOTIMP", got)
		}
		if got := d.Count("a.TEST", dns.TypeA); got != 6 {
			t.Errorf("counted %d, want 6", got)
		}
		d.Handle("a.test", dns.TypeA, Rule{Rcode: dns.RcodeNameError, NegTTL: 60, SOAMinimum: 30})
		want = []string{"NXDOMAIN; test. 60 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 30"}
		if got := summary(ask(t, n, "udp", query("a.test.", dns.TypeA))); got != want[0] {
			t.Errorf("a new script: got %q, want %q", got, want[0])
		}
	})
}

func TestDNS_DelayHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.Handle("slow.test", dns.TypeA, Rule{Delay: 300 * ms})
		d.Handle("fast.test", dns.TypeA, Rule{Delay: 100 * ms})
		for _, network := range []string{"udp", "tcp"} {
			c, err := n.DialContext(t.Context(), network, nameserver)
			if err != nil {
				t.Fatal(err)
			}
			conn := &dns.Conn{Conn: c}
			begin := time.Now()
			for _, name := range []string{"slow.test.", "fast.test.", "none.test."} {
				if err := conn.WriteMsg(query(name, dns.TypeA)); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []struct {
				name string
				took time.Duration
			}{{"none.test.", 20 * ms}, {"fast.test.", 120 * ms}, {"slow.test.", 320 * ms}} {
				m, err := conn.ReadMsg()
				if err != nil {
					t.Fatal(err)
				}
				if got := m.Question[0].Name; got != want.name {
					t.Errorf("%s: got %s, want %s", network, got, want.name)
				}
				after(t, network+" "+want.name, begin, want.took)
			}
			c.Close()
		}
	})
}

func TestDNS_LogsQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		begin := time.Now()
		q := query("a.Test.", dns.TypeA)
		ask(t, n, "udp", q)
		d.SetSilent(true)
		ask(t, n, "tcp", new(dns.Msg).SetQuestion("b.test.", dns.TypeAAAA))
		got := d.Queries()
		if len(got) != 2 {
			t.Fatalf("got %d queries, want 2", len(got))
		}
		want := Query{Name: "a.Test.", Type: dns.TypeA, ID: q.Id, At: begin.Add(10 * ms), From: got[0].From, UDPSize: 1232}
		if got[0] != want {
			t.Errorf("got %+v, want %+v", got[0], want)
		}
		if got := got[0].From.Addr(); got != client4 {
			t.Errorf("from %v, want %v", got, client4)
		}
		want = Query{
			Name: "b.test.", Type: dns.TypeAAAA, ID: got[1].ID, At: begin.Add((20 + 30) * ms),
			From: got[1].From, TCP: true, Dropped: true,
		}
		if got[1] != want {
			t.Errorf("got %+v, want %+v", got[1], want)
		}
	})
}

func TestDNS_SetSilentDropsDelayedAnswersToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.Handle("a.test", dns.TypeA, Rule{Delay: 100 * ms})
		time.AfterFunc(50*ms, func() { d.SetSilent(true) })
		if got := summary(ask(t, n, "udp", query("a.test.", dns.TypeA))); got != "silence" {
			t.Errorf("got %q, want silence", got)
		}
		d.SetSilent(false)
		if got := ask(t, n, "udp", query("a.test.", dns.TypeA)); got == nil {
			t.Error("got silence after the server came back, want an answer")
		}
	})
}

func TestDNS_SetQPS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		c := dialUDP(t, n, nameserver)
		answered := func(queries int) (count int) {
			conn := &dns.Conn{Conn: c}
			for range queries {
				conn.WriteMsg(query("a.test.", dns.TypeA))
			}
			c.SetReadDeadline(time.Now().Add(100 * ms))
			for {
				if _, err := conn.ReadMsg(); err != nil {
					return count
				}
				count++
			}
		}
		d.SetQPS(10)
		if got := answered(25); got != 10 { // takes 100 ms
			t.Errorf("at once: %d were answered, want 10", got)
		}
		pass(200 * ms)
		if got := answered(25); got != 3 {
			t.Errorf("0.3 s later: %d were answered, want 3", got)
		}
		pass(time.Minute)
		if got := answered(25); got != 10 {
			t.Errorf("a minute later: %d were answered, want 10", got)
		}
		d.SetQPS(0)
		if got := answered(25); got != 25 {
			t.Errorf("without limit: %d were answered, want 25", got)
		}
	})
}

func TestDNS_RefuseTCP(t *testing.T) {
	n := New(1)
	d := n.ServeDNS(nameserver)
	defer d.Close()
	d.RefuseTCP()
	if _, err := n.DialContext(t.Context(), "tcp", nameserver); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got error %v, want connection refused", err)
	}
	if ask(t, n, "udp", query("a.test.", dns.TypeA)) == nil {
		t.Error("got silence over UDP, want an answer")
	}
}

func TestDNS_CloseEndsAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.Handle("a.test", dns.TypeA, Rule{Delay: time.Hour})
		udp := dialUDP(t, n, nameserver)
		tcp, err := n.DialContext(t.Context(), "tcp", nameserver)
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		for _, c := range []net.Conn{udp, tcp} {
			(&dns.Conn{Conn: c}).WriteMsg(query("a.test.", dns.TypeA))
		}
		pass(100 * ms)
		begin := time.Now()
		d.Close()
		after(t, "closed", begin, 0)
		if err := d.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: got error %v, want closed", err)
		}
		n.ServeDNS(nameserver).Close() // the address is free again
	})
}
