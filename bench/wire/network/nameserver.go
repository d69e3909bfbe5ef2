//go:build linux

package network

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// serveDNS serves at the good nameserver's addresses, over UDP and TCP.
func (n *Network) serveDNS() error {
	handler := dns.HandlerFunc(n.handleQuery)
	return namespace.Inside(n.pair.Internet, func() error {
		for _, a := range []string{nameserver4, nameserver6} {
			pc, err := net.ListenPacket("udp", a)
			if err != nil {
				return err
			}
			n.servers = append(n.servers, func() { pc.Close() })
			l, err := net.Listen("tcp", a)
			if err != nil {
				return err
			}
			n.servers = append(n.servers, func() { l.Close() })
			for _, server := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
				go func() { _ = server.ActivateAndServe() }() // until the socket is closed
			}
		}
		return nil
	})
}

var (
	nameserver4 = net.JoinHostPort(scenario.Nameserver4.String(), "53")
	nameserver6 = net.JoinHostPort(scenario.Nameserver6.String(), "53")
)

func (n *Network) handleQuery(w dns.ResponseWriter, query *dns.Msg) {
	asked := time.Now()
	r := n.current.Load()
	if r == nil || len(query.Question) != 1 {
		return
	}
	question := query.Question[0]
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	client, _ := netip.ParseAddrPort(w.RemoteAddr().String())
	number, times := r.addQuery(record.Query{
		Name:       strings.ToLower(question.Name),
		Type:       dns.TypeToString[question.Qtype],
		ClientPort: client.Port(),
		Asked:      asked,
		TCP:        tcp,
	})
	m := reply(query)
	host := r.host(question.Name)
	if host == nil {
		m.Rcode, m.Ns = dns.RcodeNameError, soa()
		_ = w.WriteMsg(m)
		return
	}
	var rule scenario.Answer
	switch question.Qtype {
	case dns.TypeA:
		rule, m.Answer = host.A, records(question, 4, host.V4)
	case dns.TypeAAAA:
		rule, m.Answer = host.AAAA, records(question, 6, host.V6)
	}
	time.Sleep(rule.Delay)
	if rule.Times == 0 || times <= rule.Times {
		if rule.Silent {
			return
		}
		if rule.Rcode != dns.RcodeSuccess {
			m.Rcode, m.Answer = rule.Rcode, nil
		}
	}
	if len(m.Answer) == 0 && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
		m.Ns = soa()
	}
	_ = w.WriteMsg(m)
	r.answered(number, m)
}

// host is the host of a name of this run, or nil.
func (r *recorder) host(name string) *scenario.Host {
	i, nonce, ok := scenario.ParseHostName(name)
	if !ok || nonce != r.nonce || i >= len(r.scenario.Hosts) {
		return nil
	}
	return &r.scenario.Hosts[i]
}

func reply(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(query)
	m.Authoritative, m.RecursionAvailable = true, true
	if query.IsEdns0() != nil {
		m.SetEdns0(1232, false)
	}
	return m
}

func records(question dns.Question, family int, indexes []int) (rrs []dns.RR) {
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 60}
	for _, i := range indexes {
		a := scenario.Server(family, i)
		if family == 4 {
			rrs = append(rrs, &dns.A{Hdr: header, A: a.AsSlice()})
		} else {
			rrs = append(rrs, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	return rrs
}

// soa makes a negative answer: RFC 2308, section 3.
func soa() []dns.RR {
	return []dns.RR{&dns.SOA{
		Hdr:     dns.RR_Header{Name: scenario.Zone + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns:      "ns." + scenario.Zone + ".",
		Mbox:    "mail." + scenario.Zone + ".",
		Serial:  1,
		Refresh: 3600,
		Retry:   900,
		Expire:  604800,
		Minttl:  60,
	}}
}

const dnsPort = 53

// questionType is the type that a DNS query asks for, or "".
func questionType(query []byte) string {
	var m dns.Msg
	if m.Unpack(query) != nil || len(m.Question) != 1 {
		return ""
	}
	return dns.TypeToString[m.Question[0].Qtype]
}
