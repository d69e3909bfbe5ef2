package simnet

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// ednsSize is the UDP payload size the server announces: DNS flag day 2020.
const ednsSize = 1232

// defaultNegTTL is the TTL and the MINIMUM of an SOA, in seconds.
const defaultNegTTL = 300

// reply returns the bytes that answer query by the rule, or nil for silence.
// It panics if the rule's records cannot be packed.
func (r *Rule) reply(query *dns.Msg, tcp bool) []byte {
	switch {
	case r.Silent:
		return nil
	case r.Raw != nil:
		b := append([]byte{}, r.Raw...)
		if !r.RawID && len(b) >= 2 {
			b[0], b[1] = byte(query.Id>>8), byte(query.Id)
		}
		return b
	}
	m := r.message(query, tcp)
	if !tcp && m.Len() > udpSize(query) {
		truncate(m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// message returns the answer to query by the rule.
func (r *Rule) message(query *dns.Msg, tcp bool) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	m.Compress = true
	m.Rcode = r.Rcode
	opt := query.IsEdns0()
	if r.NoEDNS && opt != nil {
		m.Rcode = dns.RcodeFormatError
		return m
	}
	if opt != nil {
		m.SetEdns0(ednsSize, opt.Do())
		if r.EDE != 0 || r.EDEText != "" {
			reply := m.IsEdns0()
			reply.Option = append(reply.Option, &dns.EDNS0_EDE{InfoCode: r.EDE, ExtraText: r.EDEText})
		}
	}
	m.Answer = append(addrRecords(query.Question[0], r.TTL, r.Addrs), copyRecords(r.Answer)...)
	m.Ns = copyRecords(r.Authority)
	if r.isNegative(m) && !r.NoSOA {
		m.Ns = []dns.RR{r.soa(query.Question[0].Name)}
	}
	if r.Truncate && !tcp {
		truncate(m)
	}
	return m
}

// isNegative reports whether m says that the name or its data does not exist,
// RFC 2308, and has no authority section of its own.
func (r *Rule) isNegative(m *dns.Msg) bool {
	if len(r.Authority) > 0 {
		return false
	}
	return m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0
}

// soa returns the SOA of a negative answer: that of the name's parent.
func (r *Rule) soa(name string) *dns.SOA {
	ttl, minimum := r.NegTTL, r.SOAMinimum
	switch {
	case ttl == 0 && minimum == 0:
		ttl, minimum = defaultNegTTL, defaultNegTTL
	case ttl == 0:
		ttl = minimum
	case minimum == 0:
		minimum = ttl
	}
	zone := "."
	if i, end := dns.NextLabel(name, 0); !end {
		zone = name[i:]
	}
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      "ns.invalid.",
		Mbox:    "hostmaster.invalid.",
		Serial:  1,
		Refresh: 3600,
		Retry:   600,
		Expire:  86400,
		Minttl:  minimum,
	}
}

// addrRecords returns A or AAAA records for the addresses that fit the type
// asked for.
func addrRecords(asked dns.Question, ttl uint32, addrs []netip.Addr) []dns.RR {
	var rrs []dns.RR
	hdr := dns.RR_Header{Name: asked.Name, Rrtype: asked.Qtype, Class: dns.ClassINET, Ttl: ttl}
	for _, addr := range addrs {
		switch ip := net.IP(addr.AsSlice()); {
		case asked.Qtype == dns.TypeA && addr.Is4():
			rrs = append(rrs, &dns.A{Hdr: hdr, A: ip})
		case asked.Qtype == dns.TypeAAAA && addr.Is6():
			rrs = append(rrs, &dns.AAAA{Hdr: hdr, AAAA: ip})
		}
	}
	return rrs
}

// copyRecords returns a deep copy, since packing writes to the records and
// several answers may be packed at once.
func copyRecords(rrs []dns.RR) []dns.RR {
	var copies []dns.RR
	for _, rr := range rrs {
		copies = append(copies, dns.Copy(rr))
	}
	return copies
}

// udpSize returns the size of the largest answer that query accepts over UDP:
// RFC 1035, section 4.2.1, and RFC 6891, section 6.2.3.
func udpSize(query *dns.Msg) int {
	if opt := query.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// truncate sets TC and leaves the question and the OPT.
func truncate(m *dns.Msg) {
	m.Truncated = true
	m.Answer, m.Ns = nil, nil
}
