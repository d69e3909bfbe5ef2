package dnscache

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// usual replies to the question for a.test, A: parseUsual must read them.
var usual = map[string]func(m *dns.Msg){
	"an address":             func(m *dns.Msg) { m.Answer = []dns.RR{rrA("a.test.", 300, "192.0.2.1")} },
	"with an OPT":            func(m *dns.Msg) { m.Answer = []dns.RR{rrA("a.test.", 300, "192.0.2.1")}; withEDE(m) },
	"in upper case":          func(m *dns.Msg) { m.Answer = []dns.RR{rrA("A.Test.", 300, "192.0.2.1")} },
	"not compressed":         func(m *dns.Msg) { m.Answer, m.Compress = []dns.RR{rrA("a.test.", 300, "192.0.2.1")}, false },
	"a TTL with the top bit": func(m *dns.Msg) { m.Answer = []dns.RR{rrA("a.test.", 1<<31, "192.0.2.1")} },
	"two aliases": func(m *dns.Msg) {
		m.Answer = []dns.RR{rrCNAME("a.test.", 60, "b.test."), rrCNAME("b.test.", 30, "c.example."), rrA("c.example.", 90, "192.0.2.1"), rrA("c.example.", 90, "192.0.2.2")}
	},
	"eleven aliases": func(m *dns.Msg) { m.Answer = chain(11) },
	"64 addresses": func(m *dns.Msg) {
		for i := range 64 {
			m.Answer = append(m.Answer, rrA("a.test.", 300, fmt.Sprintf("192.0.2.%d", i)))
		}
	},
	"NODATA": func(m *dns.Msg) { m.Ns = []dns.RR{rrSOA(60, 90)} },
	"NODATA of an alias": func(m *dns.Msg) {
		m.Answer, m.Ns = []dns.RR{rrCNAME("a.test.", 60, "b.test.")}, []dns.RR{rrSOA(60, 90)}
	},
	"NXDOMAIN of an alias": func(m *dns.Msg) {
		m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, []dns.RR{rrCNAME("a.test.", 60, "b.test.")}, []dns.RR{rrSOA(90, 60)}
	},
	"NXDOMAIN": func(m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{rrSOA(90, 60)} },
}

// unusual ones parseUsual must leave alone.
var unusual = map[string]func(m *dns.Msg){
	"no SOA":            nil,
	"SERVFAIL":          func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
	"BADVERS":           func(m *dns.Msg) { m.Rcode = dns.RcodeBadVers; withEDE(m) },
	"an extended error": func(m *dns.Msg) { m.Answer = []dns.RR{rrA("a.test.", 300, "192.0.2.1")}; withEDE(m, 3) },
	"twelve aliases":    func(m *dns.Msg) { m.Answer = chain(12) },
	"aliases in a circle": func(m *dns.Msg) {
		m.Answer = []dns.RR{rrCNAME("a.test.", 60, "b.test."), rrCNAME("b.test.", 60, "a.test.")}
	},
	"aliases back to front": func(m *dns.Msg) {
		m.Answer = []dns.RR{rrA("b.test.", 60, "192.0.2.1"), rrCNAME("a.test.", 60, "b.test.")}
	},
	"an alias after all": func(m *dns.Msg) {
		m.Answer = []dns.RR{rrA("a.test.", 60, "192.0.2.1"), rrCNAME("a.test.", 60, "b.test.")}
	},
	"another name":     func(m *dns.Msg) { m.Answer = []dns.RR{rrA("b.test.", 60, "192.0.2.1")} },
	"the other family": func(m *dns.Msg) { m.Answer = []dns.RR{rrAAAA("a.test.", 60, "2001:db8::1")} },
	"65 addresses": func(m *dns.Msg) {
		usual["64 addresses"](m)
		m.Answer = append(m.Answer, rrA("a.test.", 1, "192.0.2.65"))
	},
	"NXDOMAIN and addresses": func(m *dns.Msg) { usual["an address"](m); usual["NXDOMAIN"](m) },
	"a referral":             func(m *dns.Msg) { m.Ns = []dns.RR{rrNS()} },
	"two of authority":       func(m *dns.Msg) { usual["an address"](m); m.Ns = []dns.RR{rrSOA(60, 60), rrNS()} },
	"glue":                   func(m *dns.Msg) { usual["an address"](m); m.Extra = []dns.RR{rrA("b.test.", 60, "192.0.2.1")} },
	"another class": func(m *dns.Msg) {
		usual["an address"](m)
		m.Answer[0].Header().Class = dns.ClassCHAOS
	},
}

// chain is n aliases and an address.
func chain(n int) (rrs []dns.RR) {
	owner := "a.test."
	for i := range n {
		target := fmt.Sprintf("a%d.test.", i)
		rrs = append(rrs, rrCNAME(owner, 60, target))
		owner = target
	}
	return append(rrs, rrA(owner, 60, "192.0.2.1"))
}

func TestParseUsual(t *testing.T) {
	for name, change := range usual {
		b := reply(t, v4, change)
		want, _ := parseAny(b, "a.test", v4)
		if got, ok := parseUsual(b, v4); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: parseUsual = %+v, %v, want %+v", name, got, ok, want)
		}
		for n := range b[:len(b)-1] {
			if n < len(question(b))+headerSize {
				continue
			}
			if got, ok := parseUsual(b[:n], v4); ok {
				t.Errorf("%s, cut to %d bytes: parseUsual = %+v, want none", name, n, got)
			}
		}
	}
	for name, change := range unusual {
		if got, ok := parseUsual(reply(t, v4, change), v4); ok {
			t.Errorf("%s: parseUsual = %+v, want none", name, got)
		}
	}
}

// Names of a message are compared as the strings that miekg/dns makes of
// them are, and what it refuses is refused.
func FuzzNames(f *testing.F) {
	f.Add([]byte("\x01a\x04test\x00\x01A\xc0\x02"), uint16(0), uint16(8))
	f.Add([]byte("\x01a\x00\xc0\x00\xc0\x03"), uint16(0), uint16(5))
	f.Add([]byte("\x03a.b\x00\x01a\x01b\x00"), uint16(0), uint16(5))
	f.Add([]byte("\x02\xc0\x00\xc0\x01"), uint16(0), uint16(3))
	f.Add([]byte(strings.Repeat("\x3f"+strings.Repeat("a", 63), 4)+"\x00"), uint16(0), uint16(64))
	f.Fuzz(func(t *testing.T, msg []byte, x, y uint16) {
		off := []int{int(x), int(y)}
		var names []string
		for _, o := range off {
			end, ok := skipName(msg, o)
			if !ok {
				return
			}
			name, want, err := dns.UnpackDomainName(msg, o)
			if err != nil || end != want {
				t.Fatalf("%x: the name at %d ends at %d, want %d, %v", msg, o, end, want, err)
			}
			names = append(names, name)
		}
		if got, want := sameName(msg, off[0], off[1]), strings.EqualFold(names[0], names[1]); got != want {
			t.Errorf("%x: %q and %q: same = %v, want %v", msg, names[0], names[1], got, want)
		}
	})
}

func BenchmarkParseReply(b *testing.B) {
	msg := reply(b, v4, usual["two aliases"])
	for name, parse := range map[string]func() (result, bool){
		"usual": func() (result, bool) { return parseUsual(msg, v4) },
		"any":   func() (result, bool) { return parseAny(msg, "a.test", v4) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := parse(); !ok {
					b.Fatal("no result")
				}
			}
		})
	}
}
