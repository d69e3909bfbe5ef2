package loopnet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// ask sends one query over "udp" or "tcp".
func ask(t *testing.T, n *Internet, network, name string, qtype uint16) (*dns.Msg, time.Duration, error) {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	c := dns.Client{Net: network, Timeout: patience}
	return c.Exchange(q, n.DNSAddr())
}

func TestNameserver(t *testing.T) {
	n := start(t, quick())
	tests := []struct {
		fate    Fate
		qtype   uint16
		network string
		want    string // rcode, flags, types of the answer, types of the authority section
	}{
		{Healthy, dns.TypeA, "udp", "NOERROR - A -"},
		{Healthy, dns.TypeA, "tcp", "NOERROR - A -"},
		{Healthy, dns.TypeAAAA, "udp", "NOERROR - - SOA"},
		{Healthy, dns.TypeTXT, "udp", "NOERROR - - SOA"},
		{DualStack, dns.TypeA, "udp", "NOERROR - A -"},
		{DualStack, dns.TypeAAAA, "udp", "NOERROR - AAAA -"},
		{Alias, dns.TypeA, "udp", "NOERROR - CNAME,CNAME,A -"},
		{Alias, dns.TypeAAAA, "udp", "NOERROR - CNAME,CNAME SOA"},
		{Truncated, dns.TypeA, "udp", "NOERROR tc - -"},
		{Truncated, dns.TypeA, "tcp", "NOERROR - A -"},
		{DeadFirst, dns.TypeA, "udp", "NOERROR - A,A -"},
		{NXDomain, dns.TypeA, "udp", "NXDOMAIN - - SOA"},
		{NoData, dns.TypeA, "udp", "NOERROR - - SOA"},
		{NoData, dns.TypeAAAA, "udp", "NOERROR - - SOA"},
		{ServFail, dns.TypeA, "udp", "SERVFAIL - - -"},
		{Refused, dns.TypeA, "udp", "NOERROR - A -"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s %s", tt.fate, tt.network, dns.TypeToString[tt.qtype]), func(t *testing.T) {
			hosts := n.Hosts(tt.fate)
			if len(hosts) == 0 {
				t.Skip("not to be had on this system")
			}
			m, _, err := ask(t, n, tt.network, hosts[0].Name, tt.qtype)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(m); got != tt.want {
				t.Errorf("%s, want %s\n%v", got, tt.want, m)
			}
			if m.IsEdns0() == nil {
				t.Errorf("no OPT in the answer to a query with one:\n%v", m)
			}
		})
	}

	if _, _, err := ask(t, n, "udp", n.Hosts(DNSSilent)[0].Name, dns.TypeA); !isTimeout(err) {
		t.Errorf("silent name: %v, want no answer", err)
	}
	for _, name := range []string{"nobody.test", "example.org"} {
		m, _, err := ask(t, n, "udp", name, dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := summary(m), "NXDOMAIN - - SOA"; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func summary(m *dns.Msg) string {
	list := func(rrs []dns.RR) string {
		var types []string
		for _, rr := range rrs {
			types = append(types, dns.TypeToString[rr.Header().Rrtype])
		}
		if types == nil {
			return "-"
		}
		return strings.Join(types, ",")
	}
	tc := "-"
	if m.Truncated {
		tc = "tc"
	}
	return fmt.Sprintf("%s %s %s %s", dns.RcodeToString[m.Rcode], tc, list(m.Answer), list(m.Ns))
}

func TestNameserver_KeepsAddressOrder(t *testing.T) {
	o := quick()
	o.Hosts = map[Fate]int{DeadFirst: 1}
	n := start(t, o)
	if len(n.Hosts()) == 0 {
		t.Skip("not to be had on this system")
	}
	for range 5 {
		m, _, err := ask(t, n, "udp", "h1.test", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Answer[0].(*dns.A).A.String(); got != address(0).String() {
			t.Errorf("first address %s, want the dead one, %s", got, address(0))
		}
	}
}

func TestNameserver_IgnoresCase(t *testing.T) {
	o := quick()
	o.Hosts = map[Fate]int{Healthy: 1}
	n := start(t, o)
	m, _, err := ask(t, n, "udp", "H1.tEsT", dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Answer[0].Header().Name; got != "H1.tEsT." {
		t.Errorf("owner name %q, want that of the question", got)
	}
	if got := n.Queries()[Query{"h1.test", "A"}]; got != 1 {
		t.Errorf("queries %v, want 1 for h1.test", n.Queries())
	}
}

// The first question for a name takes its cold time, for both families
// together; later ones only the latency.
func TestNameserver_ColdThenWarm(t *testing.T) {
	o := quick()
	o.Hosts = map[Fate]int{SlowDNS: 1}
	o.SlowDNS = 150 * time.Millisecond
	o.DNSLatency = 20 * time.Millisecond
	n := start(t, o)
	_, cold, err := ask(t, n, "udp", "h1.test", dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	_, warm, err := ask(t, n, "udp", "h1.test", dns.TypeAAAA)
	if err != nil {
		t.Fatal(err)
	}
	if want := o.SlowDNS + o.DNSLatency; cold < want {
		t.Errorf("first answer after %v, want %v", cold, want)
	}
	if warm < o.DNSLatency || warm >= o.SlowDNS {
		t.Errorf("second answer after %v, want about %v", warm, o.DNSLatency)
	}
}
