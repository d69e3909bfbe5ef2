package result

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/packet"
	"github.com/hostwise-go/hostwise/bench/wire/contract"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// Analyze reads a run of a scenario.
func Analyze(s *scenario.Scenario, run *record.Run) *Result {
	a := &analysis{scenario: s, run: run, firstData: map[connection]time.Time{}}
	a.stampQueries()
	a.start = a.firstQuery()
	r := &Result{
		Scenario: s.Name,
		Queries:  a.queries(),
		Attempts: a.attempts(),
		WallMS:   run.End.Sub(run.Start).Seconds() * 1000,
		Exit:     run.Exit,
		Output:   excerpt(run),
	}
	requested := a.fetches(r)
	assign(r, requested)
	return r
}

type analysis struct {
	scenario  *scenario.Scenario
	run       *record.Run
	start     time.Time                // all times are counted from it
	firstData map[connection]time.Time // when the first byte of a response reached the client
}

// connection is a connection, as far as a client can have two to one port.
type connection struct {
	server     netip.Addr
	clientPort uint16
}

// since is a time in milliseconds, to 10 µs.
func (a *analysis) since(t time.Time) float64 {
	if t.IsZero() {
		return Never
	}
	return math.Round(t.Sub(a.start).Seconds()*1e5) / 100
}

func (a *analysis) firstQuery() time.Time {
	start := a.run.Start
	for _, q := range a.run.Queries {
		if _, ok := a.ownHost(q.Name); ok {
			start = q.Asked
			break
		}
	}
	for _, p := range a.run.Packets { // a query to a dead nameserver is seen by the router only
		if p.ToServer && scenario.IsDeadNameserver(p.Server) && p.At.Before(start) {
			start = p.At
		}
	}
	return start
}

// ownHost is the host of a name that was to be fetched in this run.
func (a *analysis) ownHost(name string) (host int, ok bool) {
	host, nonce, ok := scenario.ParseHostName(name)
	return host, ok && nonce == a.run.Nonce
}

// stampQueries gives the queries the times at which they passed the router,
// and their order: a nameserver that handles each in a goroutine of its own
// sees two that come together in any order.
func (a *analysis) stampQueries() {
	type key struct {
		port     uint16
		question string
	}
	seen := map[key][]time.Time{}
	for _, p := range a.run.Packets {
		if p.ToServer && p.Question != "" && !p.Dropped && !scenario.IsDeadNameserver(p.Server) {
			k := key{p.ClientPort, p.Question}
			seen[k] = append(seen[k], p.At)
		}
	}
	for i := range a.run.Queries {
		q := &a.run.Queries[i]
		k := key{q.ClientPort, q.Type}
		if times := seen[k]; len(times) > 0 && !q.TCP && !times[0].After(q.Asked) {
			q.Asked, seen[k] = times[0], times[1:]
		}
	}
	slices.SortStableFunc(a.run.Queries, func(x, y record.Query) int { return x.Asked.Compare(y.Asked) })
}

func (a *analysis) queries() (queries []Query) {
	for _, q := range a.run.Queries {
		if host, ok := a.ownHost(q.Name); ok {
			queries = append(queries, Query{
				Type:    q.Type,
				At:      a.since(q.Asked),
				Answer:  a.since(q.Answered),
				Rcode:   q.Rcode,
				Records: q.Records,
				TCP:     q.TCP,
				Host:    host,
			})
		}
	}
	return queries
}

// attempts follows the packets of each connection.
func (a *analysis) attempts() (attempts []Attempt) {
	known := map[connection]int{}
	for _, p := range a.run.Packets {
		family, index, ok := scenario.Find(p.Server)
		if !ok || p.Protocol != packet.TCP || p.ServerPort != a.scenario.Port() {
			continue
		}
		c := connection{p.Server, p.ClientPort}
		i, seen := known[c]
		switch opens := p.ToServer && p.Flags&(packet.SYN|packet.ACK) == packet.SYN; {
		case opens && seen:
			attempts[i].SYNs++
		case opens:
			known[c] = len(attempts)
			attempts = append(attempts, Attempt{
				Address: scenario.AddressName(family, index),
				Family:  family,
				At:      a.since(p.At),
				SYNs:    1,
				Up:      Never,
				Reply:   Never,
			})
		case !seen:
		case !p.ToServer && !p.Dropped:
			if attempts[i].Reply < 0 {
				attempts[i].Reply = a.since(p.At)
			}
			if _, had := a.firstData[c]; !had && p.Payload > 0 && p.Flags&(packet.SYN|packet.RST) == 0 {
				a.firstData[c] = p.At
			}
		case p.ToServer && p.Flags&(packet.SYN|packet.RST|packet.ACK) == packet.ACK:
			if attempts[i].Up < 0 && attempts[i].Reply >= 0 {
				attempts[i].Up = a.since(p.At)
			}
		}
	}
	return attempts
}

// fetches joins what the client says to what the servers saw: the requests
// come in order, and a fetch that failed has none. It returns when each fetch
// was requested; one without a request has the time of the one before.
func (a *analysis) fetches(r *Result) (requested []float64) {
	var outcomes []contract.Outcome
	for line := range strings.Lines(a.run.Output) {
		if o, ok := contract.ParseOutcome(line); ok {
			outcomes = append(outcomes, o)
		}
	}
	used := make([]bool, len(a.run.Requests))
	last := math.Inf(-1)
	for i, host := range a.scenario.Fetches {
		f := Fetch{FirstByte: Never, ClientMS: Never}
		if i < len(outcomes) {
			f.OK, f.ClientMS, f.Class = outcomes[i].OK, outcomes[i].MS, outcomes[i].Class
		}
		if i >= len(outcomes) || outcomes[i].OK {
			if n := a.requestFor(host, used); n >= 0 {
				used[n] = true
				a.fetched(&f, n)
				last = a.since(a.run.Requests[n].At)
			}
		}
		requested = append(requested, last)
		r.Fetches = append(r.Fetches, f)
	}
	return requested
}

func (a *analysis) requestFor(host int, used []bool) int {
	for n, q := range a.run.Requests {
		if h, ok := a.ownHost(q.Host); ok && h == host && !used[n] {
			return n
		}
	}
	return -1
}

// fetched fills in what the n-th request tells about a fetch.
func (a *analysis) fetched(f *Fetch, n int) {
	q := a.run.Requests[n]
	family, index, _ := scenario.Find(q.Server)
	f.OK, f.Family, f.Winner = true, family, scenario.AddressName(family, index)
	if at, ok := a.firstData[connection{q.Server, q.ClientPort}]; ok && !a.scenario.TLS {
		f.FirstByte = a.since(at)
		return
	}
	// Below TLS, the first data is not the response.
	f.FirstByte = a.since(q.At.Add(a.scenario.PathTo(family, index, n).RTT))
}

// assign counts each attempt for the fetch under way: the first one requested
// after it, or the last one.
func assign(r *Result, requested []float64) {
	for i := range r.Attempts {
		t := &r.Attempts[i]
		t.Fetch = len(requested) - 1
		for n, at := range requested {
			if t.At <= at {
				t.Fetch = n
				break
			}
		}
		f := &r.Fetches[t.Fetch]
		if t.Family == 6 {
			f.SYN6++
		} else {
			f.SYN4++
		}
		if t.Up >= 0 {
			f.Up++
		}
	}
}

func excerpt(run *record.Run) string {
	out := run.Output[:min(len(run.Output), 600)]
	if text := strings.TrimSpace(run.Errors); text != "" {
		out += "stderr: " + text[:min(len(text), 300)]
	}
	return out
}
