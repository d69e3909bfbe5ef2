package dnscache

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

// owners are the names in a record set of FuzzWalk: the question's first, in
// two spellings, and enough for a chain that is too long.
var owners = []string{
	"a.test.", "A.tEST.", "b.test.", "c.test.", "C.test.", "d.test.", "e.test.", "f.test.", "g.test.", "h.test.",
	"i.test.", "j.test.", "k.test.", "l.test.", "m.test.", "sub.a.test.",
}

// recordSet makes records of bytes, three for each: owner and type, target or
// address, TTL.
func recordSet(b []byte) (rrs []dns.RR) {
	ttls := []uint32{0, 1, 4, 5, 6, 29, 30, 60, 300, 10800, 10801, 86400, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	for ; len(b) >= 3; b = b[3:] {
		owner, ttl := owners[b[0]&15], ttls[int(b[2])%len(ttls)]
		switch b[0] >> 4 {
		case 0, 1, 2, 3, 4, 5, 6, 7:
			rrs = append(rrs, rrCNAME(owner, ttl, owners[b[1]&15]))
		case 8, 9, 10:
			rrs = append(rrs, rrA(owner, ttl, fmt.Sprintf("192.0.2.%d", b[1])))
		case 11, 12, 13:
			rrs = append(rrs, rrAAAA(owner, ttl, fmt.Sprintf("2001:db8::%x", b[1])))
		case 14:
			rrs = append(rrs, &dns.TXT{Hdr: header(owner, dns.TypeTXT, ttl), Txt: []string{"x"}})
		default:
			rr := rrA(owner, ttl, "192.0.2.66")
			rr.Header().Class = dns.ClassCHAOS
			rrs = append(rrs, rr)
		}
	}
	return rrs
}

// slowWalk is what a NOERROR reply with these records says of name: RFC 1034,
// section 3.6.2, with the bounds of this package. It works on sets, name by
// name, as the RFC puts it.
func slowWalk(answer []dns.RR, soa *dns.SOA, name string, f family) (addrs []netip.Addr, ttl time.Duration, kind hostwise.Kind, ok bool) {
	of := map[string][]dns.RR{} // by owner
	for _, rr := range answer {
		if rr.Header().Class == dns.ClassINET {
			owner := strings.ToLower(rr.Header().Name)
			of[owner] = append(of[owner], rr)
		}
	}
	var used []dns.RR // whose TTLs count
	related := false
	owner := name + "."
	for aliases := 0; ; aliases++ {
		var target string
		for _, rr := range of[owner] {
			related = true
			switch rr := rr.(type) {
			case *dns.CNAME:
				target, used = strings.ToLower(rr.Target), append(used, rr)
			case *dns.A:
				if f == v4 && len(addrs) < 64 {
					addrs, used = append(addrs, netip.AddrFrom4([4]byte(rr.A.To4()))), append(used, rr)
				}
			case *dns.AAAA:
				if f == v6 && len(addrs) < 64 {
					addrs, used = append(addrs, netip.AddrFrom16([16]byte(rr.AAAA))), append(used, rr)
				}
			}
		}
		if len(addrs) > 0 {
			return addrs, slowTTL(used, 1<<31-1), "", true
		}
		if target == "" {
			break
		}
		if aliases == 11 {
			return nil, 0, hostwise.DNSCNAMELoop, true
		}
		owner = target
	}
	if len(answer) > 0 && !related && soa == nil {
		return nil, 0, hostwise.DNSMalformed, false
	}
	if soa == nil {
		return nil, 5 * time.Second, hostwise.DNSNoData, true
	}
	for _, rr := range answer {
		if rr.Header().Rrtype == dns.TypeCNAME && !slices.Contains(used, rr) {
			used = append(used, rr)
		}
	}
	ttl = min(slowTTL(used, 1<<31-1), slowTTL([]dns.RR{soa}, soa.Minttl))
	return nil, min(max(ttl, 5*time.Second), 3*time.Hour), hostwise.DNSNoData, true
}

// slowTTL is the least TTL of the records, and least; RFC 2181, section 8.
func slowTTL(rrs []dns.RR, least uint32) time.Duration {
	ttls := []uint32{least}
	for _, rr := range rrs {
		ttls = append(ttls, rr.Header().Ttl)
	}
	for i, ttl := range ttls {
		if ttl > 1<<31-1 {
			ttls[i] = 0
		}
	}
	return time.Duration(slices.Min(ttls)) * time.Second
}

func FuzzWalk(f *testing.F) {
	chain := func(n int) (b []byte) {
		for i := range byte(n) {
			b = append(b, i+2, i+3, 8)
		}
		return append([]byte{0, 2, 8}, b...)
	}
	f.Add([]byte{0x80, 1, 7}, true, false)
	f.Add(append(chain(2), 0x84, 1, 7), false, true)
	f.Add(append(chain(10), 0x8c, 1, 7), false, false)
	f.Add(append(chain(11), 0x8d, 1, 7), true, true)
	f.Add([]byte{0, 2, 8, 2, 0, 8}, false, true)                          // a loop
	f.Add([]byte{0, 2, 8, 0, 3, 1, 0x82, 1, 8, 0x93, 2, 8}, false, false) // two aliases of one name
	f.Add([]byte{0xe0, 0, 0, 0xf0, 0, 0, 0x81, 9, 13}, true, false)
	f.Fuzz(func(t *testing.T, b []byte, withSOA, is6 bool) {
		answer := recordSet(b[:min(len(b), 3*200)])
		fam := v4
		if is6 {
			fam = v6
		}
		var soa *dns.SOA
		if withSOA {
			soa = rrSOA(uint32(len(b)), 600).(*dns.SOA)
		}
		message := reply(t, fam, func(m *dns.Msg) {
			m.Answer = answer
			if soa != nil {
				m.Ns = []dns.RR{soa}
			}
		})
		got, ok := parseReply(message, "a.test", fam)
		addrs, ttl, kind, wantOK := slowWalk(answer, soa, "a.test", fam)
		if !slices.Equal(got.addrs, addrs) || got.ttl != ttl || got.kind != kind || ok != wantOK {
			t.Errorf("%v\nparseReply: %v for %v, kind %q, %v\nwant        %v for %v, kind %q, %v", answer, got.addrs, got.ttl, got.kind, ok, addrs, ttl, kind, wantOK)
		}
	})
}
