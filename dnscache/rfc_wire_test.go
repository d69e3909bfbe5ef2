package dnscache_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// What the RFCs say about names and messages. What they say about what is
// remembered is in rfc_test.go.

// packed is a reply to the A question for a.test, for Rule.Raw.
func packed(t *testing.T, change func(m *dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion("a.test.", dns.TypeA)
	m.Response, m.RecursionAvailable = true, true
	change(m)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC6761_SpecialNamesAreNotAskedFor(t *testing.T) {
	for _, tt := range []struct {
		rfc, name string
		addrs     []string // none: NXDOMAIN; "ask": like any other name
	}{
		{"6761, 6.3", "localhost", []string{"::1", "127.0.0.1"}},
		{"6761, 6.3", "localhost.", []string{"::1", "127.0.0.1"}},
		{"6761, 6.3", "LocalHost", []string{"::1", "127.0.0.1"}},
		{"6761, 6.3", "a.b.localhost", []string{"::1", "127.0.0.1"}},
		{"6761, 6.3", "notlocalhost", []string{"ask"}},
		{"6761, 6.3", "localhost.test", []string{"ask"}},
		{"6761, 6.4", "invalid", nil},
		{"6761, 6.4", "a.b.Invalid.", nil},
		{"6761, 6.4", "invalid.test", []string{"ask"}},
		{"7686, 2", "onion", nil},
		{"7686, 2", "a.b.ONION", nil},
		{"7686, 2", "onion.test", []string{"ask"}},
		{"6761, 6.2", "a.test", []string{"ask"}}, // no different from others to a resolver
		{"6761, 6.5", "a.example", []string{"ask"}},
	} {
		t.Run(tt.rfc+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				asked := slices.Equal(tt.addrs, []string{"ask"})
				switch {
				case asked:
					w.host(tt.name, 300, "192.0.2.1")
					w.gets("ip", tt.name, rtt, "192.0.2.1")
				case tt.addrs == nil:
					w.fails("ip", tt.name, hostwise.DNSNXDomain, 0)
				default:
					w.gets("ip", tt.name, 0, tt.addrs...)
					w.gets("ip6", tt.name, 0, tt.addrs[0])
					w.gets("ip4", tt.name, 0, tt.addrs[1])
				}
				if got := len(w.servers[0].Queries()) > 0; got != asked {
					t.Errorf("asked a nameserver: %v, want %v", got, asked)
				}
			})
		})
	}
}

func TestRFC6891_EDNS(t *testing.T) {
	answer := simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300}
	refusal := func(rcode int) []simnet.Rule { return []simnet.Rule{{Rcode: rcode}, answer} }
	many := simnet.Rule{TTL: 300}
	for i := range 64 { // 1,057 bytes
		many.Addrs = append(many.Addrs, parse(fmt.Sprintf("192.0.2.%d", i))...)
	}
	plain := packed(t, func(m *dns.Msg) { m.Answer = []dns.RR{rrA("a.test.", 300)} })
	for _, tt := range []struct {
		section, name string
		rules         []simnet.Rule
		addrs         int
		sizes         []uint16 // what the queries announce; 0: no OPT
	}{
		{"6.2.3", "1232 bytes are announced", []simnet.Rule{answer}, 1, []uint16{1232}},
		{"6.2.4", "and come over UDP", []simnet.Rule{many}, 64, []uint16{1232}},
		{"6.1.1", "an answer without OPT is good", []simnet.Rule{{Raw: plain}}, 1, []uint16{1232}},
		{"7", "FORMERR without OPT: without EDNS", []simnet.Rule{{NoEDNS: true, Addrs: answer.Addrs, TTL: 300}}, 1, []uint16{1232, 0}},
		{"7", "FORMERR: without EDNS", refusal(dns.RcodeFormatError), 1, []uint16{1232, 0}},
		{"7", "NOTIMP: without EDNS", refusal(dns.RcodeNotImplemented), 1, []uint16{1232, 0}},
		{"6.1.3", "BADVERS: without EDNS", refusal(dns.RcodeBadVers), 1, []uint16{1232, 0}},
		{"7", "SERVFAIL says nothing about EDNS", refusal(dns.RcodeServerFailure), 1, []uint16{1232, 1232}},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeA, tt.rules...)
				got, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test")
				if err != nil || len(got) != tt.addrs {
					t.Errorf("%d addresses, %v, want %d", len(got), err, tt.addrs)
				}
				var sizes []uint16
				for _, q := range w.servers[0].Queries() {
					sizes = append(sizes, q.UDPSize)
				}
				if d := time.Since(w.start); !slices.Equal(sizes, tt.sizes) || d != time.Duration(len(tt.sizes))*rtt {
					t.Errorf("queries announce %v and took %v, want %v and a round trip each", sizes, d, tt.sizes)
				}
				if got := w.r.Stats().TCP; got != 0 {
					t.Errorf("%d queries over TCP, want none", got)
				}
				w.servers[0].AddHost("b.test", 300, parse("192.0.2.2")...)
				w.gets("ip4", "b.test", rtt, "192.0.2.2")
				last := w.servers[0].Queries()[len(tt.sizes)].UDPSize
				if want := tt.sizes[len(tt.sizes)-1]; last != want {
					t.Errorf("the next query announces %d, want %d: it is remembered", last, want)
				}
			})
		})
	}
}

// A server may turn EDNS down with a bare header, as some old ones do.
func TestRFC6891_BareHeader(t *testing.T) {
	for _, o := range []dnscache.Options{{}, {RandomizeCase: true}, {Cookies: true}} {
		withHandler(t, o, func(m *dns.Msg, reply func(*dns.Msg)) {
			if m.IsEdns0() == nil {
				reply(withAddr(m, "192.0.2.1"))
				return
			}
			refusal := new(dns.Msg).SetRcode(m, dns.RcodeFormatError)
			refusal.Question = nil
			reply(refusal)
		}, func(w *world) {
			if o.RandomizeCase { // without a question there is no case to trust
				w.gets("ip4", "a.test", 3*rtt, "192.0.2.99")
				return
			}
			w.gets("ip4", "a.test", 2*rtt, "192.0.2.1")
			w.gets("ip4", "b.test", rtt, "192.0.2.1") // it is remembered
			if got := w.r.Stats().Dropped; got != 0 {
				t.Errorf("%d replies dropped, want none", got)
			}
		})
	}
}

// RFC 6891, section 7: that a server does not know EDNS is believed when a
// query without it does better, and for an hour.
func TestRFC6891_EDNSIsTriedAgain(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		size := func() uint16 {
			queries := w.servers[0].Queries()
			return queries[len(queries)-1].UDPSize
		}
		for _, h := range names(3) {
			w.host(h, 60, "192.0.2.1")
		}
		w.all("bad.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeFormatError})
		w.fails("ip4", "bad.test", hostwise.DNSFormErr, 3*rtt) // with, and twice without
		w.gets("ip4", "h0.test", rtt, "192.0.2.1")
		if got := size(); got != 1232 {
			t.Errorf("after a question that is refused without EDNS, too, a query announces %d, want 1232", got)
		}
		w.all("once.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeFormatError}, simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 60})
		w.gets("ip4", "once.test", 2*rtt, "192.0.2.2")
		time.Sleep(time.Hour - 1)
		w.gets("ip4", "h1.test", rtt, "192.0.2.1")
		if got := size(); got != 0 {
			t.Errorf("within the hour a query announces %d, want none", got)
		}
		w.gets("ip4", "h2.test", rtt, "192.0.2.1")
		if got := size(); got != 1232 {
			t.Errorf("after an hour a query announces %d, want 1232", got)
		}
	})
}

// RFC 6891, section 7: all that were asked before it was known are asked again
// without EDNS, however many servers there are.
func TestRFC6891_ManyLearnAtOnceThatThereIsNoEDNS(t *testing.T) {
	for servers := 1; servers <= 3; servers++ {
		t.Run(fmt.Sprint(servers, " servers"), func(t *testing.T) {
			inWorld(t, servers, dnscache.Options{}, func(w *world) {
				var wg sync.WaitGroup
				for _, h := range names(80) {
					w.all(h, dns.TypeANY, simnet.Rule{NoEDNS: true, Addrs: parse("192.0.2.1", "2001:db8::1"), TTL: 300})
					wg.Go(func() { w.gets("ip", h, 2*rtt, "2001:db8::1", "192.0.2.1") })
				}
				wg.Wait()
			})
		})
	}
}

func TestAnswerSection(t *testing.T) {
	hinfo := &dns.HINFO{Hdr: hdr("a.test.", dns.TypeHINFO, 3789), Cpu: "RFC8482"}
	rrsig := &dns.RRSIG{Hdr: hdr("a.test.", dns.TypeRRSIG, 300), TypeCovered: dns.TypeA, SignerName: "test."}
	dname := &dns.DNAME{Hdr: hdr("test.", dns.TypeDNAME, 300), Target: "example."}
	https := &dns.SVCB{Hdr: hdr("a.test.", dns.TypeHTTPS, 300), Target: "."}
	chain := func(n int) (rrs []dns.RR) {
		names := []string{"a.test."}
		for i := range n {
			names = append(names, fmt.Sprintf("c%d.test.", i))
			rrs = append(rrs, rrCNAME(names[i], uint32(100-i), names[i+1]))
		}
		return append(rrs, rrA(names[n], 300))
	}
	reversed := chain(3)
	slices.Reverse(reversed)
	for _, tt := range []struct {
		rfc, name string
		answer    []dns.RR
		kind      hostwise.Kind
		kept      time.Duration
	}{
		{"1034, 3.6.2", "an alias", chain(1), "", 100 * time.Second},
		{"1034, 3.6.2", "the aliases in any order", reversed, "", 98 * time.Second},
		{"1034, 3.6.2", "eleven aliases", chain(11), "", 90 * time.Second},
		{"1034, 3.6.2", "twelve are too many", chain(12), hostwise.DNSCNAMELoop, time.Second},
		{"1034, 3.6.2", "a loop", []dns.RR{rrCNAME("a.test.", 60, "b.test."), rrCNAME("b.test.", 60, "a.test.")}, hostwise.DNSCNAMELoop, time.Second},
		{"1034, 3.6.2", "an alias of itself", []dns.RR{rrCNAME("a.test.", 60, "a.test.")}, hostwise.DNSCNAMELoop, time.Second},
		{"1034, 3.6.2", "an alias without an end", []dns.RR{rrCNAME("a.test.", 60, "b.test.")}, hostwise.DNSNoData, time.Minute},
		{"1034, 3.6.2", "other names' aliases", []dns.RR{rrCNAME("b.test.", 1, "c.test."), rrA("a.test.", 300)}, "", 300 * time.Second},
		{"4343, 3", "names in any case", []dns.RR{rrCNAME("A.tEST.", 300, "B.test."), rrA("b.TEST.", 300)}, "", 300 * time.Second},
		{"6672, 3.1", "a DNAME beside its alias", []dns.RR{dname, rrCNAME("a.test.", 300, "a.example."), rrA("a.example.", 300)}, "", 300 * time.Second},
		{"8482, 4.2", "an HINFO record beside", []dns.RR{hinfo, rrA("a.test.", 300)}, "", 300 * time.Second},
		{"8482, 4.2", "an HINFO record alone", []dns.RR{hinfo}, hostwise.DNSNoData, 5 * time.Minute},
		{"8482, 4.2", "an HINFO record alone, without an SOA", []dns.RR{hinfo}, hostwise.DNSNoData, 5 * time.Second},
		{"4035, 3.1.1", "an RRSIG record beside", []dns.RR{rrA("a.test.", 300), rrsig}, "", 300 * time.Second},
		{"4035, 3.1.1", "an RRSIG record alone", []dns.RR{rrsig}, hostwise.DNSNoData, 5 * time.Minute},
		{"9460, 2.1", "an HTTPS record beside", []dns.RR{https, rrA("a.test.", 300)}, "", 300 * time.Second},
		{"2181, 5.2", "the least TTL of a set", []dns.RR{rrA("a.test.", 300), rrA("a.test.", 60)}, "", time.Minute},
		{"2181, 8", "a TTL with the top bit is 0", []dns.RR{rrA("a.test.", 1<<31)}, "", 30 * time.Second},
		{"2181, 8", "so is that of an alias", []dns.RR{rrCNAME("a.test.", 1<<32-1, "b.test."), rrA("b.test.", 300)}, "", 30 * time.Second},
		{"2181, 8", "the greatest TTL", []dns.RR{rrA("a.test.", 1<<31-1)}, "", 24 * time.Hour},
	} {
		t.Run(tt.rfc+" "+tt.name, func(t *testing.T) {
			for after, elapsed := range map[time.Duration]time.Duration{tt.kept - 1: 0, tt.kept: rtt} {
				addrs := 0
				for _, rr := range tt.answer {
					if rr.Header().Rrtype == dns.TypeA {
						addrs++
					}
				}
				inWorld(t, 1, dnscache.Options{}, func(w *world) {
					rule := simnet.Rule{Answer: tt.answer}
					if tt.kind == hostwise.DNSNoData && tt.kept > 5*time.Second {
						rule.Authority = []dns.RR{rrSOA(300, 300)}
					}
					w.all("a.test", dns.TypeA, rule)
					for _, elapsed := range []time.Duration{rtt, elapsed} {
						if tt.kind != "" {
							w.fails("ip4", "a.test", tt.kind, elapsed)
						} else {
							w.gets("ip4", "a.test", elapsed, slices.Repeat([]string{"192.0.2.1"}, addrs)...)
						}
						time.Sleep(after)
					}
				})
			}
		})
	}
}

// RFC 5452, section 9: what is not the answer is dropped, and waiting goes on.
// The forgeries themselves are in forgery_test.go, what matches in
// TestMatches.
func TestRFC5452_ACutAnswerIsNone(t *testing.T) {
	for name, whole := range map[string][]byte{
		"addresses": packed(t, func(m *dns.Msg) {
			m.Answer = []dns.RR{rrCNAME("a.test.", 60, "b.test."), rrA("b.test.", 60), rrA("b.test.", 60)}
			m.SetEdns0(1232, false)
		}),
		"NODATA": packed(t, func(m *dns.Msg) { m.Ns = []dns.RR{rrNS(), rrSOA(60, 60)} }),
	} {
		for n := range whole {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeA, simnet.Rule{Raw: whole[:n]}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
				w.gets("ip4", "a.test", 400*time.Millisecond+rtt, "192.0.2.1")
				if got := w.r.Stats().Dropped; got != 1 {
					t.Errorf("%s cut to %d of %d bytes: %d packets dropped, want 1", name, n, len(whole), got)
				}
			})
		}
	}
}

// RFC 9520, section 3.1: no server is asked more than three times over one
// transport for one question.
func TestRFC9520_ThreeTimesOverUDP(t *testing.T) {
	silent, answer := simnet.Rule{Silent: true}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300}
	thrice := silent
	thrice.Times = 3
	for _, tt := range []struct {
		section, name string
		servers       int
		o             dnscache.Options
		rules         []simnet.Rule
		noTCP         bool
		udp, tcp      int // queries to each server
		kind          hostwise.Kind
		elapsed       time.Duration
	}{
		{"3.1", "a lone server is asked over TCP in the end", 1, dnscache.Options{}, []simnet.Rule{silent}, false, 3, 1, hostwise.DNSTimeout, 4 * time.Second},
		{"3.1", "which helps where UDP does not pass", 1, dnscache.Options{}, []simnet.Rule{thrice, answer}, false, 3, 1, "", 2*time.Second + 2*rtt},
		{"3.1", "and does no harm without TCP", 1, dnscache.Options{}, []simnet.Rule{silent}, true, 3, 0, hostwise.DNSTimeout, 4 * time.Second},
		{"3.1", "two servers", 2, dnscache.Options{}, []simnet.Rule{silent}, false, 2, 0, hostwise.DNSTimeout, 4 * time.Second},
		{"3.1", "many tries", 2, dnscache.Options{Tries: 5, Timeout: time.Minute}, []simnet.Rule{silent}, false, 3, 2, hostwise.DNSTimeout, 5 * time.Minute},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, tt.servers, tt.o, func(w *world) {
				w.all("a.test", dns.TypeA, tt.rules...)
				if tt.noTCP {
					w.servers[0].RefuseTCP()
				}
				if tt.kind != "" {
					w.fails("ip4", "a.test", tt.kind, tt.elapsed)
				} else {
					w.gets("ip4", "a.test", tt.elapsed, "192.0.2.1")
				}
				for i, s := range w.servers {
					udp, tcp := 0, 0
					for _, q := range s.Queries() {
						if q.TCP {
							tcp++
						} else {
							udp++
						}
					}
					if udp != tt.udp || tcp != tt.tcp {
						t.Errorf("server %d: %d queries over UDP and %d over TCP, want %d and %d", i, udp, tcp, tt.udp, tt.tcp)
					}
				}
			})
		})
	}
}

func TestRFC8914_ExtendedErrors(t *testing.T) {
	nx := dns.RcodeNameError
	for _, tt := range []struct {
		section, name string
		rule          simnet.Rule
		kind          hostwise.Kind
		kept          time.Duration
	}{
		{"4.7", "bogus", simnet.Rule{Rcode: dns.RcodeServerFailure, EDE: 6}, hostwise.DNSBogus, time.Second},
		{"4.8", "signature expired", simnet.Rule{Rcode: dns.RcodeServerFailure, EDE: 7}, hostwise.DNSBogus, time.Second},
		{"4.16", "blocked", simnet.Rule{Rcode: nx, EDE: 15, NegTTL: 60}, hostwise.DNSBlocked, time.Minute},
		{"4.17", "censored", simnet.Rule{Rcode: nx, EDE: 16, NegTTL: 60}, hostwise.DNSBlocked, time.Minute},
		{"4.18", "filtered", simnet.Rule{EDE: 17, NegTTL: 60}, hostwise.DNSBlocked, time.Minute},
		{"4.19", "prohibited", simnet.Rule{Rcode: dns.RcodeRefused, EDE: 18}, hostwise.DNSBlocked, time.Second},
		{"4.20", "stale NXDOMAIN", simnet.Rule{Rcode: nx, EDE: 19, NegTTL: 60}, hostwise.DNSNXDomain, time.Minute},
		{"4.23", "no reachable authority", simnet.Rule{Rcode: dns.RcodeServerFailure, EDE: 22}, hostwise.DNSServFail, time.Second},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 2, dnscache.Options{}, func(w *world) {
				tt.rule.EDEText = strings.Repeat("why", 16)
				w.all("a.test", dns.TypeA, tt.rule)
				elapsed := rtt
				if tt.kept == time.Second { // a failure: the other server is asked too
					elapsed = 2 * rtt
				}
				check := func(elapsed time.Duration) {
					t.Helper()
					e := w.fails("ip4", "a.test", tt.kind, elapsed)
					if want := []hostwise.EDE{{Code: tt.rule.EDE, Text: tt.rule.EDEText}}; !slices.Equal(e.EDE, want) || e.Rcode != tt.rule.Rcode {
						t.Errorf("EDE %v, rcode %d, want %v, %d", e.EDE, e.Rcode, want, tt.rule.Rcode)
					}
				}
				check(elapsed)
				time.Sleep(tt.kept - 1)
				check(0)
				time.Sleep(time.Nanosecond)
				check(elapsed)
			})
		})
	}
}
