package dnscache

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

func header(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func rrA(name string, ttl uint32, addr string) dns.RR {
	return &dns.A{Hdr: header(name, dns.TypeA, ttl), A: net.ParseIP(addr)}
}

func rrAAAA(name string, ttl uint32, addr string) dns.RR {
	return &dns.AAAA{Hdr: header(name, dns.TypeAAAA, ttl), AAAA: net.ParseIP(addr)}
}

func rrCNAME(name string, ttl uint32, target string) dns.RR {
	return &dns.CNAME{Hdr: header(name, dns.TypeCNAME, ttl), Target: target}
}

func rrSOA(ttl, minimum uint32) dns.RR {
	return &dns.SOA{Hdr: header("test.", dns.TypeSOA, ttl), Ns: "ns.test.", Mbox: "x.test.", Minttl: minimum}
}

func rrNS() dns.RR { return &dns.NS{Hdr: header("test.", dns.TypeNS, 300), Ns: "ns.test."} }

// reply packs a reply to the question for a.test.
func reply(t testing.TB, f family, change func(m *dns.Msg)) []byte {
	t.Helper()
	var m dns.Msg
	m.Response, m.RecursionAvailable, m.Compress = true, true, true
	m.Question = []dns.Question{{Name: "a.test.", Qtype: f.qtype(), Qclass: dns.ClassINET}}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withEDE adds extended errors.
func withEDE(m *dns.Msg, codes ...uint16) {
	m.SetEdns0(udpSize, false)
	for _, c := range codes {
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: c, ExtraText: fmt.Sprint("code ", c)})
	}
}

func TestParseReply_Answers(t *testing.T) {
	many := func(n int) (rrs []dns.RR) {
		for i := range n {
			rrs = append(rrs, rrA("a.test.", 300, fmt.Sprintf("192.0.2.%d", i)))
		}
		return rrs
	}
	for _, tt := range []struct {
		name   string
		family family
		answer []dns.RR
		want   []string
		ttl    time.Duration
	}{
		{"one", v4, []dns.RR{rrA("a.test.", 300, "192.0.2.1")}, []string{"192.0.2.1"}, 300 * time.Second},
		{"in the order of the answer", v6, []dns.RR{rrAAAA("a.test.", 300, "2001:db8::2"), rrAAAA("a.test.", 60, "2001:db8::1")}, []string{"2001:db8::2", "2001:db8::1"}, time.Minute},
		{"the owner in another case", v4, []dns.RR{rrA("A.tEST.", 300, "192.0.2.1")}, []string{"192.0.2.1"}, 300 * time.Second},
		{"the other family's records are ignored", v4, []dns.RR{rrAAAA("a.test.", 1, "2001:db8::1"), rrA("a.test.", 300, "192.0.2.1")}, []string{"192.0.2.1"}, 300 * time.Second},
		{"other names' records are ignored", v4, []dns.RR{rrA("b.test.", 1, "192.0.2.2"), rrA("a.test.", 300, "192.0.2.1")}, []string{"192.0.2.1"}, 300 * time.Second},
		{"other classes are ignored", v4, []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeA, Class: dns.ClassCHAOS, Ttl: 1}, A: net.IPv4(192, 0, 2, 2)}, rrA("a.test.", 300, "192.0.2.1")},
			[]string{"192.0.2.1"}, 300 * time.Second},
		{"the least TTL of the chain", v4, []dns.RR{rrCNAME("a.test.", 20, "b.test."), rrCNAME("b.test.", 10, "c.test."), rrA("c.test.", 300, "192.0.2.1")}, []string{"192.0.2.1"}, 10 * time.Second},
		{"a TTL with the top bit is 0: RFC 2181, section 8", v4, []dns.RR{rrA("a.test.", 1<<31, "192.0.2.1")}, []string{"192.0.2.1"}, 0},
		{"the greatest TTL", v4, []dns.RR{rrA("a.test.", 1<<31-1, "192.0.2.1")}, []string{"192.0.2.1"}, (1<<31 - 1) * time.Second},
		{"sixty-four at most", v4, many(65), func() (s []string) {
			for i := range 64 {
				s = append(s, fmt.Sprintf("192.0.2.%d", i))
			}
			return s
		}(), 300 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseReply(reply(t, tt.family, func(m *dns.Msg) { m.Answer = tt.answer }), "a.test", tt.family)
			if !ok || got.kind != "" || !slices.Equal(got.addrs, list(tt.want...)) || got.ttl != tt.ttl {
				t.Errorf("parseReply = %v for %v, kind %q, %v, want %v for %v", got.addrs, got.ttl, got.kind, ok, tt.want, tt.ttl)
			}
		})
	}
}

func TestParseReply_Kinds(t *testing.T) {
	rcode := func(code int, ede ...uint16) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.Rcode = code
			if len(ede) > 0 || code > 15 {
				withEDE(m, ede...)
			}
		}
	}
	referral := func(m *dns.Msg) { m.Ns, m.RecursionAvailable = []dns.RR{rrNS()}, false }
	for _, tt := range []struct {
		name   string
		change func(m *dns.Msg)
		kind   hostwise.Kind
		ok     bool
	}{
		{"NXDOMAIN", rcode(dns.RcodeNameError), hostwise.DNSNXDomain, true},
		{"NODATA with an SOA", func(m *dns.Msg) { m.Ns = []dns.RR{rrSOA(60, 60)} }, hostwise.DNSNoData, true},
		{"NODATA without one", nil, hostwise.DNSNoData, true},
		{"NODATA at the end of an alias", func(m *dns.Msg) { m.Answer = []dns.RR{rrCNAME("a.test.", 60, "b.test.")} }, hostwise.DNSNoData, true},
		{"NODATA with an SOA and records of other names", func(m *dns.Msg) {
			m.Answer, m.Ns = []dns.RR{rrA("b.test.", 60, "192.0.2.1")}, []dns.RR{rrSOA(60, 60)}
		}, hostwise.DNSNoData, true},
		{"records of other names only", func(m *dns.Msg) { m.Answer = []dns.RR{rrA("b.test.", 60, "192.0.2.1")} }, hostwise.DNSMalformed, false},
		{"a referral is lame", referral, hostwise.DNSLame, true},
		{"not from a recursive server", func(m *dns.Msg) { referral(m); m.RecursionAvailable = true }, hostwise.DNSNoData, true},
		{"nor from an authority", func(m *dns.Msg) { referral(m); m.Authoritative = true }, hostwise.DNSNoData, true},
		{"nor with an SOA", func(m *dns.Msg) { referral(m); m.Ns = append(m.Ns, rrSOA(60, 60)) }, hostwise.DNSNoData, true},
		{"a loop", func(m *dns.Msg) { m.Answer = []dns.RR{rrCNAME("a.test.", 60, "a.test.")} }, hostwise.DNSCNAMELoop, true},
		{"SERVFAIL", rcode(dns.RcodeServerFailure), hostwise.DNSServFail, true},
		{"REFUSED", rcode(dns.RcodeRefused), hostwise.DNSRefused, true},
		{"FORMERR", rcode(dns.RcodeFormatError), hostwise.DNSFormErr, true},
		{"NOTIMP", rcode(dns.RcodeNotImplemented), hostwise.DNSFormErr, true},
		{"BADVERS", rcode(dns.RcodeBadVers), hostwise.DNSFormErr, true},
		{"another RCODE", rcode(dns.RcodeNotAuth), hostwise.DNSLame, true},

		{"SERVFAIL, EDE 4: forged", rcode(dns.RcodeServerFailure, 4), hostwise.DNSServFail, true},
		{"SERVFAIL, EDE 5: indeterminate", rcode(dns.RcodeServerFailure, 5), hostwise.DNSBogus, true},
		{"SERVFAIL, EDE 6: bogus", rcode(dns.RcodeServerFailure, 6), hostwise.DNSBogus, true},
		{"SERVFAIL, EDE 12: NSEC missing", rcode(dns.RcodeServerFailure, 12), hostwise.DNSBogus, true},
		{"SERVFAIL, EDE 13: cached error", rcode(dns.RcodeServerFailure, 13), hostwise.DNSServFail, true},
		{"SERVFAIL, EDE 22 and 6", rcode(dns.RcodeServerFailure, 22, 6), hostwise.DNSBogus, true},
		{"NXDOMAIN, EDE 6: not a failure", rcode(dns.RcodeNameError, 6), hostwise.DNSNXDomain, true},
		{"SERVFAIL, EDE 14: not ready", rcode(dns.RcodeServerFailure, 14), hostwise.DNSServFail, true},
		{"NXDOMAIN, EDE 15: blocked", rcode(dns.RcodeNameError, 15), hostwise.DNSBlocked, true},
		{"REFUSED, EDE 16: censored", rcode(dns.RcodeRefused, 16), hostwise.DNSBlocked, true},
		{"NODATA, EDE 17: filtered", rcode(dns.RcodeSuccess, 17), hostwise.DNSBlocked, true},
		{"REFUSED, EDE 18: prohibited", rcode(dns.RcodeRefused, 18), hostwise.DNSBlocked, true},
		{"NXDOMAIN, EDE 19: stale", rcode(dns.RcodeNameError, 19), hostwise.DNSNXDomain, true},
		{"an address, EDE 17", func(m *dns.Msg) { rcode(0, 17)(m); m.Answer = []dns.RR{rrA("a.test.", 60, "192.0.2.1")} }, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseReply(reply(t, v4, tt.change), "a.test", v4)
			if got.kind != tt.kind || ok != tt.ok {
				t.Errorf("parseReply = %q, %v, want %q, %v", got.kind, ok, tt.kind, tt.ok)
			}
		})
	}
}

func TestParseReply_KeepsRcodeAndExtendedErrors(t *testing.T) {
	got, ok := parseReply(reply(t, v4, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure; withEDE(m, 22, 23) }), "a.test", v4)
	want := []hostwise.EDE{{Code: 22, Text: "code 22"}, {Code: 23, Text: "code 23"}}
	if !ok || got.rcode != dns.RcodeServerFailure || !slices.Equal(got.ede, want) {
		t.Errorf("rcode %d, EDE %v, want %d, %v", got.rcode, got.ede, dns.RcodeServerFailure, want)
	}
}

// RFC 2308, section 5.
func TestNegativeTTL(t *testing.T) {
	for _, tt := range []struct {
		name      string
		authority []dns.RR
		want      time.Duration
	}{
		{"the SOA's TTL", []dns.RR{rrSOA(60, 900)}, time.Minute},
		{"its MINIMUM", []dns.RR{rrSOA(900, 60)}, time.Minute},
		{"behind another record", []dns.RR{rrNS(), rrSOA(60, 60)}, time.Minute},
		{"the floor", []dns.RR{rrSOA(4, 4)}, 5 * time.Second},
		{"the ceiling", []dns.RR{rrSOA(10801, 10801)}, 3 * time.Hour},
		{"a MINIMUM with the top bit is 0", []dns.RR{rrSOA(60, 1<<31)}, 5 * time.Second},
		{"no SOA", []dns.RR{rrNS()}, 5 * time.Second},
		{"nothing", nil, 5 * time.Second},
	} {
		if got := negativeTTL(&dns.Msg{Ns: tt.authority}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// RFC 5452, section 9.
func TestMatches(t *testing.T) {
	query := appendQuery(nil, "a.test", v4, queryForm{edns: true})
	good := reply(t, v4, nil)
	changed := func(change func(b []byte) []byte) []byte { return change(slices.Clone(good)) }
	for _, tt := range []struct {
		name  string
		reply []byte
		want  bool
	}{
		{"the reply", good, true},
		{"in another case", changed(func(b []byte) []byte { return []byte(strings.Replace(string(b), "test", "TeSt", 1)) }), true},
		{"with records behind", append(slices.Clone(good), 1, 2, 3), true},
		{"nothing", nil, false},
		{"a header cut short", good[:11], false},
		{"a header only", good[:12], false},
		{"a question cut short", good[:len(good)-1], false},
		{"QR = 0", changed(func(b []byte) []byte { b[2] &^= 0x80; return b }), false},
		{"another opcode", changed(func(b []byte) []byte { b[2] |= 0x28; return b }), false},
		{"no question", changed(func(b []byte) []byte { b[5] = 0; return b }), false},
		{"two questions", changed(func(b []byte) []byte { b[5] = 2; return b }), false},
		{"another name", changed(func(b []byte) []byte { b[13] = 'b'; return b }), false},
		{"another type", reply(t, v6, nil), false},
		{"another class", changed(func(b []byte) []byte { b[len(b)-1] = 3; return b }), false},
	} {
		if got := matches(query, tt.reply); got != tt.want {
			t.Errorf("%s: matches = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRefusesEDNS(t *testing.T) {
	with, without := appendQuery(nil, "a.test", v4, queryForm{edns: true}), appendQuery(nil, "a.test", v4, queryForm{})
	header := func(flags uint16, questions byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0, 0}, flags), 0, questions, 0, 0, 0, 0, 0, 0)
	}
	for _, tt := range []struct {
		name         string
		query, reply []byte
		want         bool
	}{
		{"FORMERR", with, header(1<<15|dns.RcodeFormatError, 0), true},
		{"NOTIMP", with, header(1<<15|dns.RcodeNotImplemented, 0), true},
		{"to a query without EDNS", without, header(1<<15|dns.RcodeFormatError, 0), false},
		{"SERVFAIL", with, header(1<<15|dns.RcodeServerFailure, 0), false},
		{"NXDOMAIN", with, header(1<<15|dns.RcodeNameError, 0), false},
		{"a query", with, header(dns.RcodeFormatError, 0), false},
		{"another opcode", with, header(1<<15|5<<11|dns.RcodeFormatError, 0), false},
		{"with a question that is not there", with, header(1<<15|dns.RcodeFormatError, 1), false},
		{"with more behind", with, append(header(1<<15|dns.RcodeFormatError, 0), 0), false},
		{"cut short", with, header(1<<15|dns.RcodeFormatError, 0)[:11], false},
	} {
		if got := refusesEDNS(tt.query, tt.reply); got != tt.want {
			t.Errorf("%s: refusesEDNS = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestAppendQuery(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, name := range []string{"a.test", "test", "_a.b-c.x--1.test", long + "." + long + "." + long + "." + long[:61]} {
		for _, edns := range []bool{true, false} {
			for _, f := range []family{v6, v4} {
				checkQuery(t, name, f, edns)
			}
		}
	}
	if b := appendQuery([]byte("x"), "a.test", v4, queryForm{edns: true}); b[0] != 'x' {
		t.Error("appendQuery does not append")
	}
}

// RFC 8467, section 4.1: queries are padded to a multiple of 128 bytes.
func TestAppendQuery_Options(t *testing.T) {
	for n := 1; n <= 200; n++ {
		name := strings.Repeat("a.", n/2) + strings.Repeat("a", n%2+1)
		for _, cookie := range [][]byte{nil, make([]byte, 8), make([]byte, 40)} {
			b := appendQuery(nil, name, v4, queryForm{edns: true, cookie: cookie, padded: true, mixedCase: true})
			var m dns.Msg
			if err := m.Unpack(b); err != nil || m.IsEdns0() == nil || len(b)%128 != 0 {
				t.Fatalf("%q, a cookie of %d: %d bytes, %v, want a query with OPT in a multiple of 128 bytes", name, len(cookie), len(b), err)
			}
			if !strings.EqualFold(m.Question[0].Name, name+".") || m.Question[0].Qtype != dns.TypeA {
				t.Errorf("%q: question %v", name, m.Question[0])
			}
			var got []byte
			for _, o := range m.IsEdns0().Option {
				if c, ok := o.(*dns.EDNS0_COOKIE); ok {
					got, _ = hex.DecodeString(c.Cookie)
				}
			}
			if !bytes.Equal(got, cookie) {
				t.Errorf("%q: cookie %x, want %x", name, got, cookie)
			}
		}
	}
}

// checkQuery compares a query with what miekg/dns makes of the same.
func checkQuery(t *testing.T, name string, f family, edns bool) {
	t.Helper()
	m := dns.Msg{
		MsgHdr:   dns.MsgHdr{RecursionDesired: true},
		Question: []dns.Question{{Name: name + ".", Qtype: f.qtype(), Qclass: dns.ClassINET}},
	}
	if edns {
		m.SetEdns0(1232, false)
	}
	want, err := m.Pack()
	if got := appendQuery(nil, name, f, queryForm{edns: edns}); err != nil || !bytes.Equal(got, want) {
		t.Errorf("query for %q: %x, want %x, %v", name, got, want, err)
	}
	if got := len(question(want)); got != 1+len(name)+1+4 {
		t.Errorf("%q: question is %d bytes long", name, got)
	}
}

// FuzzParseReply gives parseReply replies as they come, and as they would be
// with a header and a question that match.
func FuzzParseReply(f *testing.F) {
	for _, fam := range []family{v6, v4} {
		for _, change := range []func(m *dns.Msg){
			nil,
			func(m *dns.Msg) {
				m.Answer = []dns.RR{rrCNAME("a.test.", 60, "b.test."), rrA("b.test.", 60, "192.0.2.1"), rrAAAA("b.test.", 60, "2001:db8::1")}
			},
			func(m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{rrSOA(60, 60)} },
			func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure; withEDE(m, 6) },
			func(m *dns.Msg) { m.Ns, m.RecursionAvailable = []dns.RR{rrNS()}, false },
			func(m *dns.Msg) { m.Truncated = true },
			func(m *dns.Msg) { m.Answer = []dns.RR{&dns.AAAA{Hdr: header("a.test.", dns.TypeAAAA, 1)}} },
		} {
			f.Add(reply(f, fam, change), fam == v6)
		}
	}
	for _, replies := range []map[string]func(m *dns.Msg){usual, unusual} {
		for _, change := range replies {
			f.Add(reply(f, v4, change), false)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, is6 bool) {
		fam := v4
		if is6 {
			fam = v6
		}
		query := appendQuery(nil, "a.test", fam, queryForm{edns: true})
		checkReply(t, query, b, fam)
		if len(b) < headerSize {
			return
		}
		fixed := slices.Concat(b[:headerSize], question(query), b[min(len(b), headerSize+len(question(query))):])
		fixed[2] = fixed[2]&^0x78 | 0x80 // QR, opcode 0
		binary.BigEndian.PutUint16(fixed[4:], 1)
		if !matches(query, fixed) {
			t.Fatal("a reply with the query's question does not match")
		}
		checkReply(t, query, fixed, fam)
	})
}

func checkReply(t *testing.T, query, b []byte, f family) {
	if !matches(query, b) {
		return
	}
	isTruncated(b)
	r, ok := parseReply(b, "a.test", f)
	if usual, is := parseUsual(b, f); is {
		if slow, ok := parseAny(b, "a.test", f); !ok || !reflect.DeepEqual(usual, slow) {
			t.Errorf("parseUsual = %+v, parseAny = %+v, %v", usual, slow, ok)
		}
	}
	switch {
	case !ok:
		if r.kind != hostwise.DNSMalformed || r.cause == nil || len(r.addrs) > 0 {
			t.Errorf("refused as %q, cause %v, with %d addresses; want %q, a cause and none", r.kind, r.cause, len(r.addrs), hostwise.DNSMalformed)
		}
	case (r.kind == "") != (len(r.addrs) > 0):
		t.Errorf("kind %q with %d addresses", r.kind, len(r.addrs))
	case len(r.addrs) > 64:
		t.Errorf("%d addresses, want at most 64", len(r.addrs))
	case r.ttl < 0 || r.ttl >= 1<<31*time.Second || r.kind != "" && r.ttl != 0 && (r.ttl < 5*time.Second || r.ttl > 3*time.Hour):
		t.Errorf("kind %q for %v", r.kind, r.ttl)
	}
	for _, a := range r.addrs {
		if a.Is4() != (f == v4) || a.Is6() != (f == v6) || a.Zone() != "" {
			t.Errorf("%v is no address for %s", a, f.network())
		}
	}
}
