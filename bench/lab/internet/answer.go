//go:build linux

package internet

import (
	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// answerOptions are what an answer depends on besides the question.
type answerOptions struct {
	try uint64 // how often this was asked, with this time
	ttl uint32
	tcp bool
}

// answer makes the reply to a query of one question. A nil host is a name that
// does not exist.
func (d *nameServers) answer(q *dns.Msg, h *world.Host, o answerOptions) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	switch {
	case h == nil || h.Fate == world.NXDomain:
		m.Rcode = dns.RcodeNameError
		m.Ns = d.soa()
	case h.Fate == world.ServFail, h.ServFailFirst && o.try == 1:
		m.Rcode = dns.RcodeServerFailure
	case h.Truncated && !o.tcp:
		m.Truncated = true
	default:
		m.Answer = d.records(q.Question[0], h, o)
		if len(m.Answer) == len(h.CNAME) { // NODATA: RFC 2308, section 2.2
			m.Ns = d.soa()
		}
	}
	if q.IsEdns0() != nil {
		m.SetEdns0(1232, false)
	}
	return m
}

// records are the aliases and the addresses of a host.
func (d *nameServers) records(question dns.Question, h *world.Host, o answerOptions) []dns.RR {
	var rrs []dns.RR
	owner := question.Name
	header := func(rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: o.ttl}
	}
	for _, alias := range h.CNAME {
		rrs = append(rrs, &dns.CNAME{Hdr: header(dns.TypeCNAME), Target: alias + "."})
		owner = alias + "."
	}
	switch question.Qtype {
	case dns.TypeA:
		addrs := h.V4
		if h.Moved != nil && d.moved.Load() {
			addrs = []world.Addr{*h.Moved}
		}
		for k := range addrs { // in another order each time, as resolvers do
			a := addrs[(k+int(o.try))%len(addrs)]
			rrs = append(rrs, &dns.A{Hdr: header(dns.TypeA), A: a.IP.AsSlice()})
		}
	case dns.TypeAAAA:
		for _, a := range h.V6 {
			rrs = append(rrs, &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: a.IP.AsSlice()})
		}
	}
	return rrs
}

// soa is what makes a negative answer cacheable: RFC 2308, section 3.
func (d *nameServers) soa() []dns.RR {
	ttl := uint32(300)
	if s := d.w.Scenario.TTLScale; s > 0 {
		ttl = uint32(max(1, 300/s))
	}
	return []dns.RR{&dns.SOA{
		Hdr:     dns.RR_Header{Name: world.Domain + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      "ns1." + world.Domain + ".",
		Mbox:    "root." + world.Domain + ".",
		Serial:  1,
		Refresh: 3600,
		Retry:   600,
		Expire:  86400,
		Minttl:  ttl,
	}}
}
