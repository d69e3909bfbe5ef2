//go:build linux

package network

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// recorder is one run: what is to happen in it, and what did.
type recorder struct {
	scenario *scenario.Scenario
	nonce    string // in the names of this run
	capture  *capture

	mu       sync.Mutex // protects what follows
	packets  []record.Packet
	queries  []record.Query
	requests []record.Request
	lostSYN  map[netip.Addr]bool
	paths    map[flow]scenario.Path
}

// flow is a TCP connection, as far as the client can have two to one port.
type flow struct {
	server     netip.Addr
	clientPort uint16
}

func newRecorder(s *scenario.Scenario, nonce string, c *capture) *recorder {
	return &recorder{scenario: s, nonce: nonce, capture: c, lostSYN: map[netip.Addr]bool{}, paths: map[flow]scenario.Path{}}
}

// path is the path of a packet. A connection keeps the one that its first SYN
// met, so that a scenario that changes with the number of requests never cuts
// a response short.
func (r *recorder) path(server netip.Addr, clientPort uint16, tcp, opens bool) scenario.Path {
	if scenario.IsDeadNameserver(server) {
		return scenario.Path{Fate: scenario.Drop}
	}
	family, index, ok := scenario.Find(server)
	if !ok {
		return scenario.Path{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := flow{server, clientPort}
	if p, ok := r.paths[f]; ok && tcp {
		return p
	}
	p := r.scenario.PathTo(family, index, len(r.requests))
	if opens {
		r.paths[f] = p
	}
	return p
}

// losesSYN reports whether this is the first SYN to an address.
func (r *recorder) losesSYN(server netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.lostSYN[server]
	r.lostSYN[server] = true
	return first
}

func (r *recorder) addPacket(p record.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, p)
}

func (r *recorder) addRequest(q record.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, q)
}

// addQuery returns the number of the query, and how often the same was asked
// up to now.
func (r *recorder) addQuery(q record.Query) (number, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries = append(r.queries, q)
	for _, old := range r.queries {
		if old.Name == q.Name && old.Type == q.Type {
			times++
		}
	}
	return len(r.queries) - 1, times
}

func (r *recorder) answered(number int, answer *dns.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := &r.queries[number]
	q.Answered, q.Rcode, q.Records = time.Now(), dns.RcodeToString[answer.Rcode], len(answer.Answer)
}

// copyTo adds what was recorded up to now to a run.
func (r *recorder) copyTo(run *record.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.Packets, run.Queries, run.Requests = slices.Clone(r.packets), slices.Clone(r.queries), slices.Clone(r.requests)
}
