//go:build linux

package dnscache_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// zoneText is what the nameservers under test have to tell. The negative TTL
// is the SOA's MINIMUM, which is less than its TTL (RFC 2308, section 5).
const zoneText = `
$ORIGIN interop.example.
@         90  IN SOA   ns hostmaster 1 3600 600 86400 40
@         90  IN NS    ns
ns        90  IN A     127.0.0.1
both      300 IN A     192.0.2.1
both      300 IN A     192.0.2.2
both      200 IN AAAA  2001:db8::1
only4     300 IN A     192.0.2.4
only6     300 IN AAAA  2001:db8::6
text      300 IN TXT   "no address"
alias1    250 IN CNAME alias2
alias2    60  IN CNAME alias3.sub
alias3.sub 250 IN CNAME both
nowhere   300 IN CNAME gone
*.many    300 IN A     192.0.2.7
*.many    300 IN AAAA  2001:db8::7
$GENERATE 1-60  large   300 A    198.51.100.$
$GENERATE 1-60  large   300 AAAA 2001:db8:1::$
$GENERATE 1-100 hundred 300 A    198.51.100.$
$GENERATE 1-100 hundred 300 AAAA 2001:db8:2::$
$GENERATE 1-8   chain$  300 CNAME chain${1}
chain9    300 IN A     192.0.2.9
loop1     300 IN CNAME loop2
loop2     300 IN CNAME loop1
`

const origin = "interop.example."

// An authority is an authoritative nameserver on a loopback socket, which the
// recursive ones ask. Names that begin with "fail" get SERVFAIL.
type authority struct {
	addr string
	zone map[string][]dns.RR
	soa  dns.RR
}

// startAuthority starts an authority that ends with the test.
func startAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{zone: map[string][]dns.RR{}}
	zp := dns.NewZoneParser(strings.NewReader(zoneText), "", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		name := rr.Header().Name
		a.zone[name] = append(a.zone[name], rr)
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	a.soa = a.zone[origin][0]
	pc, l := listenBoth(t)
	a.addr = l.Addr().String()
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: a}, {Listener: l, Handler: a}} {
		served := make(chan error, 1)
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { served <- s.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-served:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.Shutdown()
			<-served
		})
	}
	return a
}

// listenBoth opens a UDP and a TCP socket on the same free port.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			break
		}
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			return pc, l
		}
		l.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// ServeDNS answers from the zone.
func (a *authority) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	a.answer(m, q.Question[0])
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		m.SetEdns0(1232, opt.Do())
	}
	if w.LocalAddr().Network() == "udp" {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func (a *authority) answer(m *dns.Msg, q dns.Question) {
	name := strings.ToLower(q.Name)
	switch {
	case !dns.IsSubDomain(origin, name):
		m.Rcode = dns.RcodeRefused
		return
	case strings.HasPrefix(name, "fail"):
		m.Rcode = dns.RcodeServerFailure
		return
	}
	for range 10 { // aliases
		rrs, exists := a.records(name)
		next := ""
		for _, rr := range rrs {
			cname, isAlias := rr.(*dns.CNAME)
			switch {
			case rr.Header().Rrtype == q.Qtype:
				m.Answer = append(m.Answer, rr)
			case isAlias:
				m.Answer = append(m.Answer, rr)
				next = cname.Target
			}
		}
		if next == "" {
			if !exists {
				m.Rcode = dns.RcodeNameError
			}
			if !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == q.Qtype }) {
				m.Ns = []dns.RR{a.soa}
			}
			return
		}
		name = next
	}
}

// records returns the records of a name, and whether it exists, be it for
// names below it only (RFC 8020, section 2).
func (a *authority) records(name string) (rrs []dns.RR, exists bool) {
	if rrs, exists = a.zone[name]; exists {
		return rrs, true
	}
	_, parent, _ := strings.Cut(name, ".")
	if wild, ok := a.zone["*."+parent]; ok {
		for _, rr := range wild {
			rr = dns.Copy(rr)
			rr.Header().Name = name
			rrs = append(rrs, rr)
		}
		return rrs, true
	}
	for other := range a.zone {
		if dns.IsSubDomain(name, other) {
			return nil, true
		}
	}
	return nil, false
}
