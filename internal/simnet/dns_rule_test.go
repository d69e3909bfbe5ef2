package simnet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func record(t *testing.T, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestRule_Answers(t *testing.T) {
	many := make([]netip.Addr, 40) // 40 A records are 680 bytes
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	one := []netip.Addr{host4}
	tests := []struct {
		name    string
		rule    Rule
		noEDNS  bool
		network string
		want    string
	}{
		{"CNAME", Rule{Answer: []dns.RR{record(t, "a.test. 5 CNAME b.test."), record(t, "b.test. 9 A 192.0.2.1")}}, false, "udp",
			"NOERROR; a.test. 5 IN CNAME b.test.; b.test. 9 IN A 192.0.2.1"},
		{"referral", Rule{Authority: []dns.RR{record(t, "test. 5 NS ns.test.")}}, false, "udp", "NOERROR; test. 5 IN NS ns.test."},
		{"no SOA", Rule{NoSOA: true}, false, "udp", "NOERROR"},
		{"SOA of one number", Rule{NegTTL: 7}, false, "udp", "NOERROR; test. 7 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 7"},
		{"truncate, UDP", Rule{Truncate: true, Addrs: one}, false, "udp", "NOERROR; TC"},
		{"truncate, TCP", Rule{Truncate: true, Addrs: one}, false, "tcp", "NOERROR; a.test. 0 IN A 192.0.2.1"},
		{"too large without EDNS", Rule{Addrs: many}, true, "udp", "NOERROR; TC"},
		{"no EDNS, with OPT", Rule{NoEDNS: true, Addrs: one}, false, "udp", "FORMERR"},
		{"no EDNS, without", Rule{NoEDNS: true, Addrs: one}, true, "udp", "NOERROR; a.test. 0 IN A 192.0.2.1"},
		{"silent, UDP", Rule{Silent: true}, false, "udp", "silence"},
		{"silent, TCP", Rule{Silent: true}, false, "tcp", "silence"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				d := serveDNS(t, n)
				d.Handle("a.test", dns.TypeA, tt.rule)
				q := query("a.test.", dns.TypeA)
				if tt.noEDNS {
					q.Extra = nil
				}
				m := ask(t, n, tt.network, q)
				if got := summary(m); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if m == nil {
					return
				}
				if got, want := m.IsEdns0() != nil, !tt.noEDNS && !tt.rule.NoEDNS; got != want {
					t.Errorf("has an OPT: got %v, want %v", got, want)
				}
			})
		})
	}
}

func TestRule_LargeAnswerFitsWithEDNS(t *testing.T) {
	n := New(1)
	d := n.ServeDNS(nameserver)
	defer d.Close()
	many := make([]netip.Addr, 40)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	d.AddHost("a.test", 0, many...)
	if got := len(ask(t, n, "udp", query("a.test.", dns.TypeA)).Answer); got != 40 {
		t.Errorf("got %d records, want 40", got)
	}
}

func TestRule_EDE(t *testing.T) {
	n := New(1)
	d := n.ServeDNS(nameserver)
	defer d.Close()
	d.Handle("a.test", dns.TypeA, Rule{Rcode: dns.RcodeServerFailure, EDE: dns.ExtendedErrorCodeDNSBogus, EDEText: "expired"})
	m := ask(t, n, "udp", query("a.test.", dns.TypeA))
	options := m.IsEdns0().Option
	if len(options) != 1 {
		t.Fatalf("got %d options, want 1", len(options))
	}
	if ede, ok := options[0].(*dns.EDNS0_EDE); !ok || ede.InfoCode != 6 || ede.ExtraText != "expired" {
		t.Errorf("got %v, want EDE 6 expired", options[0])
	}
}

func TestRule_Raw(t *testing.T) {
	n := New(1)
	d := n.ServeDNS(nameserver)
	defer d.Close()
	d.Handle("a.test", dns.TypeA,
		Rule{Raw: []byte{1, 2, 3}},
		Rule{Raw: []byte{1, 2, 3}, RawID: true},
		Rule{Raw: []byte{}})
	c := dialUDP(t, n, nameserver)
	for i, want := range [][]byte{{0xab, 0xcd, 3}, {1, 2, 3}, {}} {
		q := query("a.test.", dns.TypeA)
		q.Id = 0xabcd
		(&dns.Conn{Conn: c}).WriteMsg(q)
		b := make([]byte, 100)
		m, err := c.Read(b)
		if got := b[:m]; !bytes.Equal(got, want) || err != nil {
			t.Errorf("rule %d: got %x with error %v, want %x", i, got, err, want)
		}
	}
}

func TestRule_NoTCPClosesTheConnection(t *testing.T) {
	n := New(1)
	d := n.ServeDNS(nameserver)
	defer d.Close()
	d.Handle("a.test", dns.TypeA, Rule{NoTCP: true})
	c, err := n.DialContext(t.Context(), "tcp", nameserver)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	conn.WriteMsg(query("a.test.", dns.TypeA))
	if _, err := conn.ReadMsg(); !errors.Is(err, io.EOF) {
		t.Errorf("got error %v, want EOF", err)
	}
	if ask(t, n, "udp", query("a.test.", dns.TypeA)) == nil {
		t.Error("got silence over UDP, want an answer")
	}
}

// Each forgery must be wrong in its own way and in no other.
func TestForgery_Kinds(t *testing.T) {
	q := query("a.test.", dns.TypeA)
	asked := q.Question[0]
	tests := []struct {
		kind  ForgeryKind
		check func(b []byte, m *dns.Msg, err error) bool
	}{
		{Garbage, func(b []byte, _ *dns.Msg, err error) bool { return len(b) == 3 && err != nil }},
		{EmptyDatagram, func(b []byte, _ *dns.Msg, err error) bool { return len(b) == 0 && err != nil }},
		{TruncatedBody, func(b []byte, m *dns.Msg, err error) bool { return len(b) > 12 && err != nil && m.Id == q.Id }},
		{WrongID, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Id != q.Id && m.Response && m.Question[0] == asked && m.Answer[0].Header().Name == asked.Name
		}},
		{WrongQuestion, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Id == q.Id && m.Response && m.Question[0] != asked
		}},
		{NotResponse, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Id == q.Id && !m.Response && m.Question[0] == asked
		}},
		{WrongOwner, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Id == q.Id && m.Response && m.Question[0] == asked && m.Answer[0].Header().Name != asked.Name
		}},
		{OtherPeer, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Id == q.Id && m.Response && m.Question[0] == asked && m.Answer[0].Header().Name == asked.Name
		}},
	}
	for _, tt := range tests {
		b := Forgery{Kind: tt.kind}.packet(q)
		m := new(dns.Msg)
		if err := m.Unpack(b); !tt.check(b, m, err) {
			t.Errorf("kind %d: got %x: %v %v", tt.kind, b, m, err)
		}
	}
}

func TestForgery_ArrivesWhenAndWhenceItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.Handle("a.test", dns.TypeA, Rule{
			Addrs: []netip.Addr{host4},
			Delay: 100 * ms,
			Forge: []Forgery{
				{Kind: WrongID, Delay: 200 * ms}, // after the answer
				{Kind: EmptyDatagram, Delay: 30 * ms},
				{Kind: Garbage},
				{Kind: OtherPeer},
				{Kind: Garbage, From: netip.MustParseAddrPort("192.0.2.9:53")},
				{Kind: Garbage, Delay: 10 * ms, From: d.Addr()},
			},
		})
		c := dialUDP(t, n, nameserver)
		begin := time.Now()
		(&dns.Conn{Conn: c}).WriteMsg(query("a.test.", dns.TypeA))
		var got []time.Duration
		var sizes []int
		b := make([]byte, 1000)
		for range 5 {
			m, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got, sizes = append(got, time.Since(begin)), append(sizes, m)
		}
		if want := []time.Duration{10 * ms, 20 * ms, 40 * ms, 120 * ms, 210 * ms}; !slices.Equal(got, want) {
			t.Errorf("arrived at %v, want %v", got, want)
		}
		if sizes[0] != 3 || sizes[1] != 3 || sizes[2] != 0 || sizes[3] < 12 || sizes[4] < 12 {
			t.Errorf("got sizes %v, want 3, 3, 0 and two messages", sizes)
		}
		if got := n.Stats().Filtered; got != 2 {
			t.Errorf("%d datagrams were filtered, want 2", got)
		}
	})
}

func TestDNS_OverTLSAndHTTPS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.AddHost("a.test", 60, host4)
		d.Handle("silent.test", dns.TypeA, Rule{Silent: true})
		cert, pool := testCert(t)
		d.Serve(tls.NewListener(mustListen(t, n, "192.0.2.1:853"), &tls.Config{Certificates: []tls.Certificate{cert}}))
		server := &http.Server{Handler: d, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
		l := mustListen(t, n, "192.0.2.1:443")
		var wg sync.WaitGroup
		wg.Go(func() { server.ServeTLS(l, "", "") })
		const want = "NOERROR; a.test. 60 IN A 192.0.2.1"

		raw, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:853")
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "192.0.2.1"})
		conn := &dns.Conn{Conn: c}
		conn.WriteMsg(query("a.test.", dns.TypeA))
		m, err := conn.ReadMsg()
		if got := summary(m); got != want || err != nil {
			t.Errorf("over TLS: got %q with error %v, want %q", got, err, want)
		}
		c.Close()

		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
			DialContext: n.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool},
		}}
		post := func(name string) (*http.Response, error) {
			b, err := query(name, dns.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			return client.Post("https://192.0.2.1/dns-query", "application/dns-message", bytes.NewReader(b))
		}
		res, err := post("a.test.")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		m = new(dns.Msg)
		if err := m.Unpack(b); err != nil || summary(m) != want {
			t.Errorf("over HTTPS: got %q with error %v, want %q", summary(m), err, want)
		}
		if _, err := post("silent.test."); !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
			t.Errorf("silence over HTTPS: got error %v, want a timeout", err)
		}
		client.CloseIdleConnections()
		server.Close()
		wg.Wait()
		if got := d.Count("a.test", dns.TypeA); got != 2 {
			t.Errorf("counted %d, want 2", got)
		}
	})
}

// The Go resolver keeps a channel from its first use, which must not be one
// of a bubble.
func warmUpGoResolver() {
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no network")
	}}
	r.LookupHost(context.Background(), "warm.up.")
}

func TestDNS_ServesTheGoResolver(t *testing.T) {
	warmUpGoResolver()
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		d := serveDNS(t, n)
		d.AddHost("a.test", 300, host4, host6)
		r := &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return n.DialContext(ctx, network, nameserver)
			},
		}
		begin := time.Now()
		got, err := r.LookupNetIP(t.Context(), "ip", "a.test.")
		if err != nil {
			t.Fatal(err)
		}
		after(t, "lookup", begin, 20*ms)
		slices.SortFunc(got, netip.Addr.Compare)
		if want := []netip.Addr{host4, host6}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		_, err = r.LookupNetIP(t.Context(), "ip", "none.test.")
		var dnsErr *net.DNSError
		if !errors.As(err, &dnsErr) || !dnsErr.IsNotFound {
			t.Errorf("got error %v, want not found", err)
		}
		if got := n.Stats().OpenUDP; got != 0 {
			t.Errorf("%d UDP sockets are open, want 0", got)
		}
	})
}
