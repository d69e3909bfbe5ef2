package hostwise_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

// The name does not become an address. No host is charged: it is the name, or
// the nameserver.
var dnsScenarios = []scenario{
	{"NXDOMAIN", replies(rcode(dns.RcodeNameError)), dnsError, hostwise.DNSNXDomain, resolve, false, notFound, nobody},
	{"NXDOMAIN at the end of an alias", replies(alias("gone.test."), rcode(dns.RcodeNameError)), dnsError, hostwise.DNSNXDomain, resolve, false, notFound, nobody},
	{"no address of either family", replies(), dnsError, hostwise.DNSNoData, resolve, false, notFound, nobody},
	{"no address at the end of an alias", replies(alias("empty.test.")), dnsError, hostwise.DNSNoData, resolve, false, notFound, nobody},
	{"a name of the hosts file without address", hostsFile, dnsError, hostwise.DNSNXDomain, resolve, false, notFound, nobody},
	{"a name under invalid", atOnce("http://host.invalid/"), dnsError, hostwise.DNSNXDomain, resolve, false, notFound, nobody},
	{"a label of 64 letters", atOnce("http://" + strings.Repeat("x", 64) + ".test/"), dnsError, hostwise.DNSBadName, resolve, false, notFound, nobody},
	{"an empty label", atOnce("http://host..test/"), dnsError, hostwise.DNSBadName, resolve, false, notFound, nobody},
	{"SERVFAIL", replies(rcode(dns.RcodeServerFailure)), dnsError, hostwise.DNSServFail, resolve, false, temporary, nobody},
	{"SERVFAIL for one family, none for the other", replies(onlyFor(dns.TypeA, rcode(dns.RcodeServerFailure))), dnsError, hostwise.DNSServFail, resolve, false, temporary, nobody},
	{"REFUSED", replies(rcode(dns.RcodeRefused)), dnsError, hostwise.DNSRefused, resolve, false, as[*net.DNSError], nobody},
	{"FORMERR", replies(rcode(dns.RcodeFormatError)), dnsError, hostwise.DNSFormErr, resolve, false, as[*net.DNSError], nobody},
	{"NOTIMP", replies(rcode(dns.RcodeNotImplemented)), dnsError, hostwise.DNSFormErr, resolve, false, as[*net.DNSError], nobody},
	{"an RCODE for updates", replies(rcode(dns.RcodeNotZone)), dnsError, hostwise.DNSLame, resolve, false, as[*net.DNSError], nobody},
	{"a referral", replies(referral), dnsError, hostwise.DNSLame, resolve, false, as[*net.DNSError], nobody},
	{"DNSSEC bogus", replies(rcode(dns.RcodeServerFailure), ede(dns.ExtendedErrorCodeDNSBogus)), dnsError, hostwise.DNSBogus, resolve, false, as[*net.DNSError], nobody},
	{"blocked", replies(rcode(dns.RcodeNameError), ede(dns.ExtendedErrorCodeBlocked)), dnsError, hostwise.DNSBlocked, resolve, false, as[*net.DNSError], nobody},
	{"filtered, without an RCODE", replies(ede(dns.ExtendedErrorCodeFiltered)), dnsError, hostwise.DNSBlocked, resolve, false, as[*net.DNSError], nobody},
	{"prohibited", replies(rcode(dns.RcodeRefused), ede(dns.ExtendedErrorCodeProhibited)), dnsError, hostwise.DNSBlocked, resolve, false, as[*net.DNSError], nobody},
	{"a loop of aliases", replies(aliases("a.test.", "b.test.", "a.test.")), dnsError, hostwise.DNSCNAMELoop, resolve, false, as[*net.DNSError], nobody},
	{"too many aliases", replies(aliases("1.test.", "2.test.", "3.test.", "4.test.", "5.test.", "6.test.", "7.test.", "8.test.", "9.test.", "10.test.", "11.test.", "12.test.", "13.test.")),
		dnsError, hostwise.DNSCNAMELoop, resolve, false, as[*net.DNSError], nobody},
	{"truncated, and no TCP", truncated, dnsError, hostwise.DNSTruncated, resolve, false, as[*net.DNSError], nobody},
	{"a reply that does not parse", overTCP(garbled), dnsError, hostwise.DNSMalformed, resolve, false, as[*net.DNSError], nobody},
	{"a reply about other names", overTCP(writes(otherName)), dnsError, hostwise.DNSMalformed, resolve, false, as[*net.DNSError], nobody},
	{"silent nameserver", silentNameserver, dnsError, hostwise.DNSTimeout, resolve, true, as[*net.DNSError], nobody},
	{"replies with another id", forged, dnsError, hostwise.DNSTimeout, resolve, true, as[*net.DNSError], nobody},
	{"no nameserver at the address", noNameserver("udp"), dnsError, hostwise.DNSServerUnreachable, resolve, false, is(syscall.ECONNREFUSED), nobody},
	{"no nameserver over TCP", noNameserver("tcp"), dnsError, hostwise.DNSServerUnreachable, resolve, false, is(syscall.ECONNREFUSED), nobody},
	{"nameserver over TLS hangs up", hangsUp, dnsError, hostwise.DNSServerUnreachable, resolve, false, as[*net.DNSError], nobody},
	{"nameserver over HTTPS says 500", doh500, dnsError, hostwise.DNSServerUnreachable, resolve, false, as[*net.DNSError], nobody},
}

func temporary(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsTemporary
}

func atOnce(url string) fixture {
	return func(l *lab) string {
		l.atOnce = true
		return url
	}
}

func hostsFile(l *lab) string {
	l.atOnce = true
	l.dns.Hosts = map[string][]netip.Addr{hostName: nil}
	return "http://" + hostName
}

// replies has the nameserver give the reply that the changes make of an empty
// one.
func replies(changes ...func(*dns.Msg)) fixture {
	return func(l *lab) string {
		l.nameserver(func(w dns.ResponseWriter, q *dns.Msg) {
			l.ready()
			m := new(dns.Msg)
			m.SetReply(q)
			m.RecursionAvailable = true
			if q.IsEdns0() != nil {
				m.SetEdns0(dns.DefaultMsgSize, false)
			}
			for _, change := range changes {
				change(m)
			}
			w.WriteMsg(m)
		})
		return "http://" + hostName
	}
}

func rcode(code int) func(*dns.Msg) { return func(m *dns.Msg) { m.Rcode = code } }

func onlyFor(qtype uint16, change func(*dns.Msg)) func(*dns.Msg) {
	return func(m *dns.Msg) {
		if m.Question[0].Qtype == qtype {
			change(m)
		}
	}
}

// ede adds an extended error: RFC 8914.
func ede(code uint16) func(*dns.Msg) {
	return func(m *dns.Msg) {
		if o := m.IsEdns0(); o != nil {
			o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: code})
		}
	}
}

func alias(target string) func(*dns.Msg) { return aliases(target) }

// aliases makes each name an alias of the next one.
func aliases(targets ...string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		owner := m.Question[0].Name
		for _, target := range targets {
			m.Answer = append(m.Answer, &dns.CNAME{Hdr: rrHeader(owner, dns.TypeCNAME), Target: target})
			owner = target
		}
	}
}

func rrHeader(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 60}
}

func referral(m *dns.Msg) {
	m.RecursionAvailable = false
	m.Ns = append(m.Ns, &dns.NS{Hdr: rrHeader("test.", dns.TypeNS), Ns: "ns.test."})
}

func otherName(m *dns.Msg) {
	m.Answer = append(m.Answer, &dns.A{Hdr: rrHeader("other.test.", dns.TypeA), A: net.IPv4(192, 0, 2, 1)},
		&dns.AAAA{Hdr: rrHeader("other.test.", dns.TypeAAAA), AAAA: net.ParseIP("2001:db8::1")})
}

// truncated has more to say than goes into UDP, and hangs up on TCP.
func truncated(l *lab) string {
	l.nameserver(func(w dns.ResponseWriter, q *dns.Msg) {
		if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
			l.ready()
			w.Close()
			return
		}
		m := new(dns.Msg)
		m.SetReply(q)
		m.Truncated = true
		w.WriteMsg(m)
	})
	return "http://" + hostName
}

func writes(change func(*dns.Msg)) func(*lab, dns.ResponseWriter, *dns.Msg) {
	return func(l *lab, w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		change(m)
		w.WriteMsg(m)
	}
}

// garbled has a good header and question, and nothing of the record that it
// announces.
func garbled(_ *lab, w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	b, _ := m.Pack()
	b[7] = 1 // ANCOUNT
	w.Write(b)
}

// overTCP asks over TCP only, where nobody can forge a reply, and so no
// better one is waited for.
func overTCP(f func(*lab, dns.ResponseWriter, *dns.Msg)) fixture {
	return func(l *lab) string {
		l.nameserver(func(w dns.ResponseWriter, q *dns.Msg) {
			l.ready()
			f(l, w, q)
		})
		l.dns.Servers[0] = "tcp://" + l.dns.Servers[0]
		return "http://" + hostName
	}
}

func silentNameserver(l *lab) string {
	l.silent = true
	l.nameserver(func(dns.ResponseWriter, *dns.Msg) { l.hang() })
	return "http://" + hostName
}

func forged(l *lab) string {
	l.silent = true
	l.nameserver(func(w dns.ResponseWriter, q *dns.Msg) {
		l.ready()
		m := new(dns.Msg)
		m.SetReply(q)
		m.Id++
		otherName(m)
		w.WriteMsg(m)
		if w.RemoteAddr().Network() == "tcp" {
			<-l.done
		}
	})
	return "http://" + hostName
}

func noNameserver(protocol string) fixture {
	return func(l *lab) string {
		l.dns.Hosts = nil
		l.dns.Servers = []string{protocol + "://" + net.JoinHostPort(localhost, l.closedPort())}
		l.dns.Dial = l.dialer().DialContext
		return "http://" + hostName
	}
}

func hangsUp(l *lab) string {
	l.dns.Hosts = nil
	port := l.serve(func(c net.Conn) {
		c.Read(make([]byte, 1))
		l.ready()
	})
	l.dns.Servers = []string{"tls://" + net.JoinHostPort(localhost, port)}
	return "http://" + hostName
}

func doh500(l *lab) string {
	l.dns.Hosts = nil
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		l.ready()
		w.WriteHeader(http.StatusInternalServerError)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	l.t.Cleanup(s.Close)
	l.dns.Servers = []string{s.URL + "/dns-query"}
	l.dns.TLSConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	return "http://" + hostName
}
