package dnscache_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// What the RFCs say about what is remembered. What they say about messages is
// in rfc_wire_test.go.

func hdr(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func rrA(name string, ttl uint32) dns.RR {
	return &dns.A{Hdr: hdr(name, dns.TypeA, ttl), A: net.IPv4(192, 0, 2, 1)}
}

func rrCNAME(name string, ttl uint32, target string) dns.RR {
	return &dns.CNAME{Hdr: hdr(name, dns.TypeCNAME, ttl), Target: target}
}

func rrNS() dns.RR { return &dns.NS{Hdr: hdr("test.", dns.TypeNS, 300), Ns: "ns.test."} }

func rrSOA(ttl, minimum uint32) dns.RR {
	return &dns.SOA{Hdr: hdr("test.", dns.TypeSOA, ttl), Ns: "ns.test.", Mbox: "x.test.", Minttl: minimum}
}

// negatives are what a test has in the authority section, by the types of
// RFC 2308, section 2.
var (
	soaAndNS = []dns.RR{rrNS(), rrSOA(60, 900)}
	soaOnly  = []dns.RR{rrSOA(60, 900)}
	nsOnly   = []dns.RR{rrNS()}
)

func TestRFC2308_NegativeAnswers(t *testing.T) {
	nx := dns.RcodeNameError
	alias := func(ttl uint32) []dns.RR { return []dns.RR{rrCNAME("a.test.", ttl, "b.test.")} }
	for _, tt := range []struct {
		section, name string
		rule          simnet.Rule
		kind          hostwise.Kind
		kept          time.Duration
	}{
		{"2.1", "NXDOMAIN, type 1: SOA and NS", simnet.Rule{Rcode: nx, Authority: soaAndNS}, hostwise.DNSNXDomain, time.Minute},
		{"2.1", "NXDOMAIN, type 2: SOA", simnet.Rule{Rcode: nx, Authority: soaOnly}, hostwise.DNSNXDomain, time.Minute},
		{"2.1", "NXDOMAIN, type 3: neither", simnet.Rule{Rcode: nx, NoSOA: true}, hostwise.DNSNXDomain, 5 * time.Second},
		{"2.1", "NXDOMAIN, type 4: NS", simnet.Rule{Rcode: nx, Authority: nsOnly}, hostwise.DNSNXDomain, 5 * time.Second},
		{"2.1", "NXDOMAIN of an alias's target", simnet.Rule{Rcode: nx, Answer: alias(300), Authority: soaOnly}, hostwise.DNSNXDomain, time.Minute},
		{"2.2", "NODATA, type 1: SOA and NS", simnet.Rule{Authority: soaAndNS}, hostwise.DNSNoData, time.Minute},
		{"2.2", "NODATA, type 2: SOA", simnet.Rule{Authority: soaOnly}, hostwise.DNSNoData, time.Minute},
		{"2.2", "NODATA, type 3: neither", simnet.Rule{NoSOA: true}, hostwise.DNSNoData, 5 * time.Second},
		{"2.2", "NODATA of an alias's target", simnet.Rule{Answer: alias(300), Authority: soaOnly}, hostwise.DNSNoData, time.Minute},
		{"5", "MINIMUM is less", simnet.Rule{Rcode: nx, NegTTL: 900, SOAMinimum: 60}, hostwise.DNSNXDomain, time.Minute},
		{"5", "the SOA's TTL is less", simnet.Rule{NegTTL: 60, SOAMinimum: 900}, hostwise.DNSNoData, time.Minute},
		{"5", "no less than 5 s", simnet.Rule{NegTTL: 1, SOAMinimum: 1}, hostwise.DNSNoData, 5 * time.Second},
		{"5", "no more than 3 h", simnet.Rule{Rcode: nx, NegTTL: 86400, SOAMinimum: 86400}, hostwise.DNSNXDomain, 3 * time.Hour},
		{"5", "no longer than the alias that led there", simnet.Rule{Answer: alias(20), Authority: soaOnly}, hostwise.DNSNoData, 20 * time.Second},
		{"5", "nor when the target does not exist", simnet.Rule{Rcode: nx, Answer: alias(20), Authority: soaOnly}, hostwise.DNSNXDomain, 20 * time.Second},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeANY, tt.rule)
				e := w.fails("ip4", "a.test", tt.kind, rtt)
				if e.Cached || e.Server != "192.0.2.53:53" {
					t.Errorf("Cached = %v, Server = %q, want a fresh error of 192.0.2.53:53", e.Cached, e.Server)
				}
				if want := time.Now().Add(tt.kept); !e.RetryAt.Equal(want) {
					t.Errorf("RetryAt = %v, want %v", e.RetryAt, want)
				}
				time.Sleep(tt.kept - 1)
				if e := w.fails("ip4", "a.test", tt.kind, 0); !e.Cached {
					t.Error("the second error is not marked as cached")
				}
				w.asked("a.test", dns.TypeA, 1)
				time.Sleep(time.Nanosecond)
				w.fails("ip4", "a.test", tt.kind, rtt)
				w.asked("a.test", dns.TypeA, 2)
			})
		})
	}
}

func TestRFC8020_NXDomainCutsTheName(t *testing.T) {
	for _, tt := range []struct {
		section, name string
		cut           bool // Options.NXDomainCut
		rule          simnet.Rule
		host          string // asked for as ip6 after a.test as ip4
		queries       int
	}{
		{"2", "it covers the other family", true, simnet.Rule{Rcode: dns.RcodeNameError}, "a.test", 0},
		{"2", "also behind an alias", true, simnet.Rule{Rcode: dns.RcodeNameError, Answer: []dns.RR{rrCNAME("a.test.", 300, "b.test.")}}, "a.test", 0},
		{"2", "and names below", true, simnet.Rule{Rcode: dns.RcodeNameError}, "b.a.test", 0},
		{"2", "but not those below an alias", true, simnet.Rule{Rcode: dns.RcodeNameError, Answer: []dns.RR{rrCNAME("a.test.", 300, "b.test.")}}, "c.a.test", 1},
		{"2", "NODATA does not", true, simnet.Rule{}, "a.test", 1},
		{"2", "names beside are asked for", true, simnet.Rule{Rcode: dns.RcodeNameError}, "b.test", 1},
		{"2", "names above are asked for", true, simnet.Rule{Rcode: dns.RcodeNameError}, "test", 1},
		{"2", "not asked for, it covers nothing else", false, simnet.Rule{Rcode: dns.RcodeNameError}, "a.test", 1},
		{"2", "nor names below", false, simnet.Rule{Rcode: dns.RcodeNameError}, "b.a.test", 1},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{NXDomainCut: tt.cut}, func(w *world) {
				w.all("a.test", dns.TypeANY, tt.rule)
				w.r.LookupNetIP(context.Background(), "ip4", "a.test")
				w.r.LookupNetIP(context.Background(), "ip6", tt.host)
				w.asked(tt.host, dns.TypeAAAA, tt.queries)
			})
		})
	}
}

// Section 3.2: failures are remembered for a second, twice as long each time,
// for five minutes at most.
func TestRFC9520_FailuresAreRemembered(t *testing.T) {
	for _, tt := range []struct {
		section, name string
		rule          simnet.Rule
		link          simnet.Link
		kind          hostwise.Kind
		elapsed       time.Duration // a lone server is asked twice; after a format error, twice without EDNS
	}{
		{"2.1", "server failure", simnet.Rule{Rcode: dns.RcodeServerFailure}, simnet.Link{RTT: rtt}, hostwise.DNSServFail, 2 * rtt},
		{"2.2", "refused", simnet.Rule{Rcode: dns.RcodeRefused}, simnet.Link{RTT: rtt}, hostwise.DNSRefused, 2 * rtt},
		{"2.3", "timeout", simnet.Rule{Silent: true}, simnet.Link{RTT: rtt}, hostwise.DNSTimeout, 4 * time.Second},
		{"2.3", "unreachable", simnet.Rule{}, simnet.Link{RTT: rtt, Fault: simnet.Refuse}, hostwise.DNSServerUnreachable, 2 * rtt},
		{"2.5", "alias loop", simnet.Rule{Answer: []dns.RR{rrCNAME("a.test.", 60, "a.test.")}}, simnet.Link{RTT: rtt}, hostwise.DNSCNAMELoop, rtt},
		{"2.6", "validation failure", simnet.Rule{Rcode: dns.RcodeServerFailure, EDE: 6}, simnet.Link{RTT: rtt}, hostwise.DNSBogus, 2 * rtt},
		{"2.7", "format error", simnet.Rule{Rcode: dns.RcodeFormatError}, simnet.Link{RTT: rtt}, hostwise.DNSFormErr, 3 * rtt},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				server := netip.MustParseAddr("192.0.2.53")
				w.all("a.test", dns.TypeA, tt.rule)
				w.net.SetLink(server, tt.link)
				for _, kept := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
					e := w.fails("ip4", "a.test", tt.kind, tt.elapsed)
					if want := time.Now().Add(kept * time.Second); e.Cached || !e.RetryAt.Equal(want) {
						t.Errorf("Cached = %v, RetryAt = %v, want a fresh error until %v", e.Cached, e.RetryAt, want)
					}
					time.Sleep(kept*time.Second - 1)
					if e := w.fails("ip4", "a.test", tt.kind, 0); !e.Cached {
						t.Error("the second error is not marked as cached")
					}
					time.Sleep(time.Nanosecond)
				}
				// An answer begins it again.
				w.net.SetLink(server, simnet.Link{RTT: rtt})
				w.host("a.test", 60, "192.0.2.1")
				w.gets("ip4", "a.test", rtt, "192.0.2.1")
				w.r.Forget("a.test")
				w.all("a.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure})
				e := w.fails("ip4", "a.test", hostwise.DNSServFail, 2*rtt)
				if want := time.Now().Add(time.Second); !e.RetryAt.Equal(want) {
					t.Errorf("the first failure after an answer: RetryAt = %v, want %v", e.RetryAt, want)
				}
			})
		})
	}
}

// known is a name with an answer that has just expired.
func (w *world) known(rules ...simnet.Rule) {
	w.t.Helper()
	w.all("a.test", dns.TypeA, append([]simnet.Rule{{Addrs: parse("192.0.2.1"), TTL: 60}}, rules...)...)
	w.gets("ip4", "a.test", rtt, "192.0.2.1")
	time.Sleep(time.Minute)
}

func TestRFC8767_ServeStale(t *testing.T) {
	const patience = 1800 * time.Millisecond
	fresh := func(delay time.Duration) simnet.Rule {
		return simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 60, Delay: delay}
	}
	servfail, silent := simnet.Rule{Rcode: dns.RcodeServerFailure}, simnet.Rule{Silent: true}
	for _, tt := range []struct {
		section, name string
		rules         []simnet.Rule // after the first answer
		elapsed       time.Duration
		addr          string
		kind          hostwise.Kind
	}{
		{"4", "a new answer is better", []simnet.Rule{fresh(0)}, rtt, "192.0.2.2", ""},
		{"4", "NXDOMAIN is an answer", []simnet.Rule{{Rcode: dns.RcodeNameError}}, rtt, "", hostwise.DNSNXDomain},
		{"4", "NODATA is an answer", []simnet.Rule{{}}, rtt, "", hostwise.DNSNoData},
		{"5", "a failure ends the waiting", []simnet.Rule{servfail}, 2 * rtt, "192.0.2.1", ""},
		{"5", "so does refusal", []simnet.Rule{{Rcode: dns.RcodeRefused}}, 2 * rtt, "192.0.2.1", ""},
		{"5", "one failure does not", []simnet.Rule{servfail, fresh(0)}, 2 * rtt, "192.0.2.2", ""},
		{"5", "silence does after 1.8 s", []simnet.Rule{silent}, patience, "192.0.2.1", ""},
		{"5", "an answer within 1.8 s", []simnet.Rule{fresh(patience - rtt - 1), silent}, patience - 1, "192.0.2.2", ""},
		{"5", "an answer after 1.8 s", []simnet.Rule{fresh(patience - rtt + 1), silent}, patience, "192.0.2.1", ""},
		{"5", "NXDOMAIN after 1.8 s", []simnet.Rule{{Rcode: dns.RcodeNameError, Delay: patience}, silent}, patience, "192.0.2.1", ""},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.known(tt.rules...)
				if tt.kind != "" {
					w.fails("ip4", "a.test", tt.kind, tt.elapsed)
					return
				}
				w.gets("ip4", "a.test", tt.elapsed, tt.addr)
			})
		})
	}
}

// Section 5: the failure recheck timer. A stale answer serves for 30 s, and
// the next question is not asked before.
func TestRFC8767_StaleForThirtySeconds(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.known(simnet.Rule{Rcode: dns.RcodeServerFailure})
		for i := range 120 { // an hour
			w.gets("ip4", "a.test", 2*rtt, "192.0.2.1")
			time.Sleep(30*time.Second - 1)
			w.gets("ip4", "a.test", 0, "192.0.2.1")
			w.asked("a.test", dns.TypeA, 3+2*i)
			time.Sleep(time.Nanosecond)
		}
	})
}

// Section 5: the question goes on while the stale answer is used.
func TestRFC8767_LateAnswerReplacesTheStaleOne(t *testing.T) {
	for _, tt := range []struct {
		section, name string
		rule          simnet.Rule
		kind          hostwise.Kind
	}{
		{"5", "address", simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 60}, ""},
		{"4", "NXDOMAIN", simnet.Rule{Rcode: dns.RcodeNameError}, hostwise.DNSNXDomain},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				tt.rule.Delay = 3 * time.Second
				w.known(tt.rule, simnet.Rule{Silent: true})
				w.gets("ip4", "a.test", 1800*time.Millisecond, "192.0.2.1")
				time.Sleep(3*time.Second + rtt - 1800*time.Millisecond - 1)
				w.gets("ip4", "a.test", 0, "192.0.2.1")
				time.Sleep(2 * time.Nanosecond)
				if tt.kind != "" {
					w.fails("ip4", "a.test", tt.kind, 0)
					return
				}
				w.gets("ip4", "a.test", 0, "192.0.2.2")
			})
		})
	}
}

// Section 4: an answer that the name does not exist ends the use of the old
// one for good.
func TestRFC8767_NeverPastNXDomain(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.known(simnet.Rule{Rcode: dns.RcodeNameError, NegTTL: 5}, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.fails("ip4", "a.test", hostwise.DNSNXDomain, rtt)
		time.Sleep(5 * time.Second)
		w.fails("ip4", "a.test", hostwise.DNSServFail, 2*rtt)
	})
}

// Section 5: the maximum stale timer, from the expiry to the last use,
// however often the answer was used again.
func TestRFC8767_MaximumStale(t *testing.T) {
	const failing = 2 * rtt // a lone server is asked twice
	for _, tt := range []struct {
		max, after time.Duration
		used       bool
	}{
		{0, 24 * time.Hour, true}, {0, 24*time.Hour + 1, false},
		{time.Hour, time.Hour, true}, {time.Hour, time.Hour + 1, false},
		{-1, failing, false},
	} {
		t.Run(fmt.Sprint("5 ", tt.max, " ", tt.after), func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{MaxStale: tt.max}, func(w *world) {
				w.known(simnet.Rule{Rcode: dns.RcodeServerFailure})
				time.Sleep(tt.after - failing)
				if tt.used {
					w.gets("ip4", "a.test", failing, "192.0.2.1")
				} else {
					w.fails("ip4", "a.test", hostwise.DNSServFail, failing)
				}
			})
		})
	}
	t.Run("5 used all the time", func(t *testing.T) {
		inWorld(t, 1, dnscache.Options{MaxStale: time.Hour}, func(w *world) {
			w.known(simnet.Rule{Rcode: dns.RcodeServerFailure})
			expired := time.Now()
			for time.Since(expired) <= time.Hour-rtt {
				if _, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test"); err != nil {
					t.Fatalf("%v after the expiry: %v", time.Since(expired), err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Until(expired.Add(time.Hour + 1)))
			w.fails("ip4", "a.test", hostwise.DNSServFail, failing)
		})
	})
}

// Section 3.2 again: a failure soon after the last one counts as the same, one
// after half a minute of quiet does not.
func TestRFC9520_FailuresAreForgotten(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.all("a.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure})
		for _, tt := range []struct{ quiet, kept time.Duration }{
			{0, 1}, {0, 2}, {0, 4}, {30*time.Second - 2*rtt - 1, 8}, {30*time.Second - 2*rtt, 1}, {0, 2}, {time.Minute, 1},
		} {
			time.Sleep(tt.quiet)
			e := w.fails("ip4", "a.test", hostwise.DNSServFail, 2*rtt)
			if want := time.Now().Add(tt.kept * time.Second); !e.RetryAt.Equal(want) {
				t.Errorf("after %v of quiet kept until %v, want %v", tt.quiet, e.RetryAt, want)
			}
			time.Sleep(tt.kept * time.Second)
		}
	})
}
