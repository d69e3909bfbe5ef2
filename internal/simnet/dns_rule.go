package simnet

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// A Rule says what becomes of a query. The zero Rule answers NODATA: no error
// and no records, with an SOA.
type Rule struct {
	// Answer is the answer section.
	Answer []dns.RR

	// Addrs is a short cut for A or AAAA records in Answer: those of the
	// addresses that fit the type asked for, owned by the name asked for.
	Addrs []netip.Addr

	// TTL is the TTL of the records made from Addrs, in seconds.
	TTL uint32

	// Authority is the authority section, instead of an SOA: a referral, for
	// instance.
	Authority []dns.RR

	// Rcode is the response code, dns.RcodeSuccess by default.
	Rcode int

	// NegTTL and SOAMinimum are the TTL and the MINIMUM field of the SOA of a
	// negative answer, in seconds. If only one is set the other is the same;
	// by default both are 300.
	NegTTL, SOAMinimum uint32

	// NoSOA leaves the SOA out of a negative answer.
	NoSOA bool

	// Delay is the time from the arrival of the query to the answer.
	Delay time.Duration

	// Silent gives no answer.
	Silent bool

	// Truncate answers with TC and no records over UDP. Over TCP the answer
	// is whole.
	Truncate bool

	// NoTCP closes a TCP connection instead of answering.
	NoTCP bool

	// NoEDNS answers FORMERR, without an OPT, to a query with an OPT, as
	// servers do that do not know EDNS: RFC 6891, section 7.
	NoEDNS bool

	// EDE and EDEText are an extended DNS error, RFC 8914, which the answer to
	// a query with an OPT has if either is set.
	EDE     uint16
	EDEText string

	// Raw is sent in place of an answer, as it is, but for the ID of the query
	// that is put in its first two bytes unless RawID is set.
	Raw   []byte
	RawID bool

	// Forge are packets sent to the client in addition, over UDP only.
	Forge []Forgery

	// Times is the number of queries the rule covers, 1 by default.
	Times int
}

// A script is the rules for one question, and how far they are used up.
type script struct {
	rules []Rule
	used  int // queries that the first rule has answered
}

// next returns the rule for the next query.
func (s *script) next() *Rule {
	rule := &s.rules[0]
	if s.used++; s.used >= max(rule.Times, 1) && len(s.rules) > 1 {
		s.rules, s.used = s.rules[1:], 0
	}
	return rule
}

// Handle sets the script for the queries for a name, in any case and with or
// without the final dot, and a type: the first query gets the first rule, and
// so on, and the last rule repeats. A rule with Times n takes n turns. Queries
// over UDP and TCP take turns from the same script, also when they are
// repetitions. A script for dns.TypeANY covers the types that have none.
//
// A name with a script for some type answers NODATA for the others, and a name
// without any NXDOMAIN, both with an SOA.
//
// Handle replaces the script there was. It panics without rules.
func (d *DNS) Handle(name string, qtype uint16, rules ...Rule) {
	if len(rules) == 0 {
		panic("simnet: a script without rules")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name = dns.CanonicalName(name)
	d.names[name] = true
	d.scripts[question{name, qtype}] = &script{rules: append([]Rule(nil), rules...)}
}

// AddHost sets scripts that answer with addrs, of either family or both. For a
// family without addresses the answer is NODATA with an SOA.
func (d *DNS) AddHost(name string, ttl uint32, addrs ...netip.Addr) {
	rule := Rule{Addrs: addrs, TTL: ttl}
	d.Handle(name, dns.TypeA, rule)
	d.Handle(name, dns.TypeAAAA, rule)
}

// ruleLocked returns the rule for a question and takes its turn. The caller
// holds d.mu.
func (d *DNS) ruleLocked(asked dns.Question) *Rule {
	name := dns.CanonicalName(asked.Name)
	for _, qtype := range [...]uint16{asked.Qtype, dns.TypeANY} {
		if s := d.scripts[question{name, qtype}]; s != nil {
			return s.next()
		}
	}
	if d.names[name] {
		return &Rule{}
	}
	return &Rule{Rcode: dns.RcodeNameError}
}
