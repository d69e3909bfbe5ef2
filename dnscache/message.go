package dnscache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

const (
	maxMessage  = 65535
	headerSize  = 12   // RFC 1035, section 4.1.1
	udpSize     = 1232 // advertised: RFC 6891, and DNS Flag Day 2020
	maxCNAMEs   = 11   // aliases followed in one answer
	maxAddrs    = 64   // addresses taken from one answer
	flagQR      = 1 << 15
	flagTC      = 1 << 9
	flagRD      = 1 << 8
	flagRA      = 1 << 7
	opcodeMask  = 0xf << 11
	rcodeMask   = 0xf
	maxNegative = 3 * time.Hour // RFC 2308, section 5
	minNegative = 5 * time.Second
)

func (f family) qtype() uint16 { return [...]uint16{dns.TypeAAAA, dns.TypeA}[f] }

// A queryForm is what varies about query messages.
type queryForm struct {
	edns      bool   // with an OPT record; servers that do not know EDNS get none (RFC 6891, section 7)
	cookie    []byte // RFC 7873, section 4; needs edns
	padded    bool   // RFC 7830; needs edns
	mixedCase bool   // letters of the name are upper or lower case at random
}

const (
	optSize      = 11  // of an OPT record without options: RFC 6891, section 6.1.2
	optionHeader = 4   // the code and the length of an option
	paddedTo     = 128 // bytes, or a multiple: RFC 8467, section 4.1
)

// appendQuery appends the query message for a normalized name to b, without
// an id.
func appendQuery(b []byte, name string, f family, form queryForm) []byte {
	start := len(b)
	b = append(b, 0, 0, flagRD>>8, 0, 0, 1, 0, 0, 0, 0, 0, 0) // one question: RFC 1035, section 4.1.1
	for more := true; more; {
		var label string
		label, name, more = strings.Cut(name, ".")
		b = append(append(b, byte(len(label))), label...)
	}
	if form.mixedCase {
		mixCase(b[start+headerSize:])
	}
	b = append(b, 0, 0, byte(f.qtype()), 0, dns.ClassINET)
	if !form.edns {
		return b
	}
	b[start+headerSize-1] = 1                                                          // ARCOUNT
	b = append(b, 0, 0, byte(dns.TypeOPT), udpSize>>8, udpSize&0xff, 0, 0, 0, 0, 0, 0) // RFC 6891, section 6.1.2
	options := len(b)
	if form.cookie != nil {
		b = append(appendOption(b, dns.EDNS0COOKIE, len(form.cookie)), form.cookie...)
	}
	if form.padded {
		n := paddedTo - (len(b)-start+optionHeader)%paddedTo
		b = append(appendOption(b, dns.EDNS0PADDING, n%paddedTo), make([]byte, n%paddedTo)...)
	}
	binary.BigEndian.PutUint16(b[options-2:], uint16(len(b)-options))
	return b
}

func appendOption(b []byte, code uint16, size int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, code), uint16(size))
}

// mixCase turns letters of a packed lower-case name into upper case, each as
// a coin falls: draft-vixie-dnsext-dns0x20.
func mixCase(name []byte) {
	var coins uint64
	for i, c := range name {
		if i%64 == 0 {
			coins = rand.Uint64()
		}
		if 'a' <= c && c <= 'z' && coins&1 == 1 {
			name[i] = c - 'a' + 'A'
		}
		coins >>= 1
	}
}

// sameCase reports whether a reply that matches the query has its question in
// the same case.
func sameCase(query, reply []byte) bool {
	return bytes.HasPrefix(reply[headerSize:], question(query))
}

// hasOPT reports whether a packed query has the OPT record.
func hasOPT(query []byte) bool { return binary.BigEndian.Uint16(query[10:]) > 0 }

// question is the question section of a packed query with one question.
func question(query []byte) []byte {
	i := headerSize
	for query[i] != 0 {
		i += 1 + int(query[i])
	}
	return query[headerSize : i+1+4]
}

// matches reports whether reply is an answer to query: RFC 5452, section 9.
// The caller has matched the id and the peer.
func matches(query, reply []byte) bool {
	if len(reply) < headerSize {
		return false
	}
	flags := binary.BigEndian.Uint16(reply[2:])
	q := question(query)
	return flags&flagQR != 0 && flags&opcodeMask == 0 &&
		binary.BigEndian.Uint16(reply[4:]) == 1 && // QDCOUNT
		len(reply) >= headerSize+len(q) && bytes.EqualFold(reply[headerSize:headerSize+len(q)], q)
}

// refusesEDNS reports whether reply is a bare header with which a server that
// does not know EDNS turns down a query with it: RFC 6891, section 7. It has
// no question to compare, so it is no answer, only a reason to ask without
// EDNS.
func refusesEDNS(query, reply []byte) bool {
	if len(reply) != headerSize || !hasOPT(query) {
		return false
	}
	flags := binary.BigEndian.Uint16(reply[2:])
	rcode := flags & rcodeMask
	return flags&flagQR != 0 && flags&opcodeMask == 0 && (rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented) &&
		binary.BigEndian.Uint64(reply[4:]) == 0 // all four counts
}

// A result is what one matching reply says about one name and family.
type result struct {
	addrs   []netip.Addr  // found, if any
	ttl     time.Duration // of the addresses, or of a negative answer; 0: a failure
	kind    hostwise.Kind // why there are none
	rcode   int
	aliased bool // the name is an alias, and kind is about what it stands for
	ede     []hostwise.EDE
	cause   error
}

// parseReply reads a reply that matches the query. It returns false when
// the reply cannot be a nameserver's answer, so that a better one should be
// waited for: it does not parse, or it answers with records of other names
// only.
func parseReply(reply []byte, name string, f family) (result, bool) {
	if r, ok := parseUsual(reply, f); ok {
		return r, true
	}
	return parseAny(reply, name, f)
}

// parseAny is parseReply for replies of all kinds.
func parseAny(reply []byte, name string, f family) (result, bool) {
	var m dns.Msg
	err := m.Unpack(reply)
	if err == nil && !isWhole(&m, reply) { // Unpack does not mind
		err = errors.New("records are missing")
	}
	if err != nil {
		return result{kind: hostwise.DNSMalformed, cause: err}, false
	}
	r := result{rcode: m.Rcode, ede: extendedErrors(&m)}
	switch m.Rcode {
	case dns.RcodeSuccess:
		var ok bool
		if r, ok = r.fromAnswer(&m, name, f); !ok || r.kind == "" {
			return r, ok
		}
	case dns.RcodeNameError:
		r.kind = hostwise.DNSNXDomain
		r.aliased = len(m.Answer) > 0
		r.ttl = negativeTTL(&m)
	case dns.RcodeServerFailure:
		r.kind = hostwise.DNSServFail
	case dns.RcodeRefused:
		r.kind = hostwise.DNSRefused
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		r.kind = hostwise.DNSFormErr
	default:
		r.kind = hostwise.DNSLame
		r.cause = fmt.Errorf("rcode %s", dns.RcodeToString[m.Rcode])
	}
	for _, e := range r.ede { // RFC 8914, section 4, says more than the RCODE
		switch {
		case 5 <= e.Code && e.Code <= 12 && m.Rcode == dns.RcodeServerFailure:
			r.kind = hostwise.DNSBogus
		case 15 <= e.Code && e.Code <= 18:
			r.kind = hostwise.DNSBlocked
		}
	}
	return r, true
}

// isWhole reports whether m has the records that the header of its message
// counts.
func isWhole(m *dns.Msg, message []byte) bool {
	for i, records := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		if len(records) != int(binary.BigEndian.Uint16(message[6+2*i:])) {
			return false
		}
	}
	return true
}

// fromAnswer walks the aliases from the question's name (RFC 1034,
// section 3.6.2) and takes the addresses at their end. Records of other
// names are ignored.
func (r result) fromAnswer(m *dns.Msg, name string, f family) (result, bool) {
	owner := name + "."
	ttl := uint32(1<<31 - 1)
	related := false
	for hop := 0; ; hop++ {
		next := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, owner) {
				continue
			}
			var a netip.Addr
			switch rr := rr.(type) {
			case *dns.CNAME:
				next = rr.Target
				ttl = min(ttl, saneTTL(h.Ttl))
			case *dns.A:
				if f == v4 {
					a, _ = netip.AddrFromSlice(rr.A.To4())
				}
			case *dns.AAAA:
				if f == v6 {
					a, _ = netip.AddrFromSlice(rr.AAAA.To16())
				}
			}
			related = related || a.IsValid() || h.Rrtype != f.qtype()
			if a.IsValid() && len(r.addrs) < maxAddrs {
				r.addrs = append(r.addrs, a)
				ttl = min(ttl, saneTTL(h.Ttl))
			}
		}
		switch {
		case len(r.addrs) > 0:
			r.ttl = time.Duration(ttl) * time.Second
			return r, true
		case next == "":
			return r.empty(m, related)
		case hop == maxCNAMEs:
			r.kind = hostwise.DNSCNAMELoop
			return r, true
		}
		owner = next
	}
}

// empty interprets a NOERROR reply without an address: NODATA, or no answer
// at all (RFC 2308, section 2.2).
func (r result) empty(m *dns.Msg, related bool) (result, bool) {
	soa, ns := false, false
	for _, rr := range m.Ns {
		switch rr.(type) {
		case *dns.SOA:
			soa = true
		case *dns.NS:
			ns = true
		}
	}
	switch {
	case len(m.Answer) > 0 && !related && !soa:
		r.kind = hostwise.DNSMalformed
		r.cause = fmt.Errorf("the answer is about other names")
		return r, false
	case ns && !soa && !m.Authoritative && !m.RecursionAvailable:
		r.kind = hostwise.DNSLame
	default:
		r.kind = hostwise.DNSNoData
		r.ttl = negativeTTL(m)
	}
	return r, true
}

// negativeTTL is the time for which a negative answer holds: the SOA's
// MINIMUM, or its own TTL if that is less (RFC 2308, section 5), and no longer
// than the aliases that led to it; within bounds.
func negativeTTL(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl := min(saneTTL(soa.Minttl), saneTTL(soa.Hdr.Ttl))
			for _, rr := range m.Answer {
				if rr.Header().Rrtype == dns.TypeCNAME {
					ttl = min(ttl, saneTTL(rr.Header().Ttl))
				}
			}
			return boundNegative(ttl)
		}
	}
	return minNegative
}

func boundNegative(ttl uint32) time.Duration {
	return min(max(time.Duration(ttl)*time.Second, minNegative), maxNegative)
}

// saneTTL is ttl, or 0 when its top bit is set: RFC 2181, section 8.
func saneTTL(ttl uint32) uint32 {
	if ttl >= 1<<31 {
		return 0
	}
	return ttl
}

// extendedErrors returns the RFC 8914 options of a reply.
func extendedErrors(m *dns.Msg) (ede []hostwise.EDE) {
	opt := m.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			ede = append(ede, hostwise.EDE{Code: e.InfoCode, Text: e.ExtraText})
		}
	}
	return ede
}
