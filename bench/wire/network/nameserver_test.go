//go:build linux

package network

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// asker is a dns.ResponseWriter that keeps the answer.
type asker struct {
	dns.ResponseWriter
	answer *dns.Msg
}

func (a *asker) RemoteAddr() net.Addr      { return &net.UDPAddr{} }
func (a *asker) WriteMsg(m *dns.Msg) error { a.answer = m; return nil }

func TestNameserver_AnswersAsTheScenarioSays(t *testing.T) {
	host := scenario.Host{V6: []int{0, 1}, V4: []int{0}}
	for _, tt := range []struct {
		what      string
		queryType uint16
		rule      scenario.Answer
		name      string // default: the host's
		rcode     int    // -1: no answer
		records   int
		soa       bool
		after     time.Duration
	}{
		{what: "A", queryType: dns.TypeA, records: 1},
		{what: "AAAA", queryType: dns.TypeAAAA, records: 2},
		{what: "another type", queryType: dns.TypeHTTPS, soa: true},
		{what: "late", queryType: dns.TypeA, rule: scenario.Answer{Delay: 20 * ms}, records: 1, after: 20 * ms},
		{what: "silent", queryType: dns.TypeA, rule: scenario.Answer{Silent: true}, rcode: -1},
		{what: "SERVFAIL", queryType: dns.TypeA, rule: scenario.Answer{Rcode: dns.RcodeServerFailure}, rcode: dns.RcodeServerFailure},
		{what: "NXDOMAIN", queryType: dns.TypeA, rule: scenario.Answer{Rcode: dns.RcodeNameError}, rcode: dns.RcodeNameError, soa: true},
		{what: "another name", queryType: dns.TypeA, name: "example.", rcode: dns.RcodeNameError, soa: true},
		{what: "an older run's name", queryType: dns.TypeA, name: "h0-0." + scenario.Zone + ".", rcode: dns.RcodeNameError, soa: true},
		{what: "no such host", queryType: dns.TypeA, name: "h1-1a2b." + scenario.Zone + ".", rcode: dns.RcodeNameError, soa: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			host := host
			host.A = tt.rule
			n := new(Network)
			r := newRecorder(&scenario.Scenario{Hosts: []scenario.Host{host}}, "1a2b", nil)
			n.current.Store(r)
			if tt.name == "" {
				tt.name = "H0-1a2b." + scenario.Zone + "."
			}
			start := time.Now()
			a := new(asker)
			n.handleQuery(a, new(dns.Msg).SetQuestion(tt.name, tt.queryType))
			if got := time.Since(start); got != tt.after {
				t.Errorf("%s: took %v, want %v", tt.what, got, tt.after)
			}
			if a.answer == nil {
				if tt.rcode != -1 {
					t.Errorf("%s: no answer", tt.what)
				}
				return
			}
			if a.answer.Rcode != tt.rcode || len(a.answer.Answer) != tt.records || len(a.answer.Ns) == 1 != tt.soa {
				t.Errorf("%s: got %v", tt.what, a.answer)
			}
		})
	}
}

func TestNameserver_FailsTheFirstQueriesOnly(t *testing.T) {
	n := new(Network)
	r := newRecorder(&scenario.Scenario{Hosts: []scenario.Host{{V4: []int{0}, A: scenario.Answer{Silent: true, Times: 1}}}}, "1a2b", nil)
	n.current.Store(r)
	for i := range 3 {
		for _, queryType := range []uint16{dns.TypeA, dns.TypeAAAA} {
			a := new(asker)
			n.handleQuery(a, new(dns.Msg).SetQuestion("h0-1a2b."+scenario.Zone+".", queryType))
			if silent := a.answer == nil; silent != (i == 0 && queryType == dns.TypeA) {
				t.Errorf("try %d, type %d: got silence: %v", i, queryType, silent)
			}
		}
	}
	var run record.Run
	r.copyTo(&run)
	if len(run.Queries) != 6 || !run.Queries[0].Answered.IsZero() || run.Queries[2].Records != 1 {
		t.Errorf("recorded: %+v", run.Queries)
	}
}
