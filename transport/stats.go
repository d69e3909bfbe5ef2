package transport

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

type counters struct {
	requests, responses, dials, attempts atomic.Uint64

	wins [2]atomic.Uint64 // by family
	by   [happyeyeballs.MaxAttempts]atomic.Uint64
	lost atomic.Uint64

	mu       sync.Mutex // protects failures
	failures map[hostwise.Kind]uint64
}

// won counts a dial whose i-th attempt has won.
func (c *counters) won(i int, f happyeyeballs.Family) {
	c.wins[f].Add(1)
	c.by[min(i, len(c.by)-1)].Add(1)
}

func (c *counters) failed(k hostwise.Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[k]++
}

// Stats are a Transport's counters since New.
type Stats struct {
	Requests        uint64                   // calls of RoundTrip for http and https
	Responses       uint64                   // of these, with response headers
	Failures        map[hostwise.Kind]uint64 // the others, by Kind
	Dials           uint64                   // races begun
	Attempts        uint64                   // addresses tried in them
	Conns           int                      // connections open or being dialled
	AddressesSilent int                      // addresses, with a port, that have timed out for three names and not answered since
	Race            RaceStats                // how the dials went

	// Functions of the caller's: see the package's section on them.
	HookPanics     uint64 // that have panicked, or ended their goroutine, where it was not the caller's
	FirstHookPanic string // what the first of them did, with its stack; "": there was none
	HooksDropped   uint64 // calls of OnChange and OnOutage that there was no room for, since one does not return

	// The circuit breaker.
	HostsDown   int           // hosts that are down now
	HostsPaused int           // hosts that have asked for a pause (BreakerOptions.HonorRetryAfter), which is not over
	Trips       uint64        // times that a host went down, or stayed down after its probe
	Refused     uint64        // requests that it has refused
	TimeSaved   time.Duration // by refusing them: for each, what the failure took that its host went down with

	// Outages of the local network: Options.OnOutage.
	Outage       bool      // the local network is suspected to be down
	OutageSince  time.Time // zero: it is not
	Outages      uint64    // times that it was
	Canaries     uint64    // dials let through in them
	LocalRefused uint64    // dials refused because of them
}

// RaceStats are the counters of the races between a host's addresses, and
// what is known of the two families.
type RaceStats struct {
	Dials          uint64    // races begun, as Stats.Dials
	Attempts       uint64    // addresses tried in them, as Stats.Attempts
	Hedges         uint64    // of these, begun while others might still succeed
	WinsIPv6       uint64    // races won by an IPv6 address
	WinsIPv4       uint64    // and by an IPv4 address
	WinsByIndex    [8]uint64 // the same, by the attempt that won: the first, the second and so on
	LostHandshakes uint64    // attempts that had connected when another one won, and were closed

	IPv6Down      bool     // it has been losing everywhere, and is tried last unless there is DisableMemory
	IPv4Down      bool     // the same of IPv4
	FamilyChanges int      // times that one of them went down or came back
	Canaries      int      // dials that tried a family that was down first
	DeadIPv6      []string // host:port of hosts whose IPv6 has lost twice or more and never won; at most 100
}

// Stats returns the current counters.
func (t *Transport) Stats() Stats {
	c := &t.counters
	s := Stats{
		Requests: c.requests.Load(), Responses: c.responses.Load(), Dials: c.dials.Load(), Attempts: c.attempts.Load(),
		Conns: int(t.conns.open.Load()), AddressesSilent: t.addresses.silent(),
		Trips: t.breaker.tripped.Load(), Refused: t.breaker.refused.Load(), TimeSaved: time.Duration(t.breaker.saved.Load()),
	}
	s.HostsDown, s.HostsPaused = t.breaker.notUp(time.Now())
	s.Race = t.raceStats()
	since, over := t.outage.suspicion()
	s.Outage, s.OutageSince = over != nil, since
	s.Outages, s.Canaries, s.LocalRefused = t.outage.outages.Load(), t.outage.canaries.Load(), t.outage.refused.Load()
	s.HookPanics, s.FirstHookPanic = t.calls.Count()
	s.HooksDropped = t.breaker.changes.dropped.Load() + t.outage.changes.dropped.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Failures = maps.Clone(c.failures)
	return s
}

func (t *Transport) raceStats() RaceStats {
	c, h := &t.counters, t.history.Summary()
	const v6, v4 = happyeyeballs.IPv6, happyeyeballs.IPv4
	r := RaceStats{
		Dials: c.dials.Load(), Attempts: c.attempts.Load(), Hedges: uint64(t.budget.hedges.Load()),
		WinsIPv6: c.wins[v6].Load(), WinsIPv4: c.wins[v4].Load(), LostHandshakes: c.lost.Load(),
		IPv6Down: h.Down[v6], IPv4Down: h.Down[v4], FamilyChanges: h.Changes[v6] + h.Changes[v4],
		Canaries: h.Canaries[v6] + h.Canaries[v4], DeadIPv6: h.DeadIPv6,
	}
	for i := range c.by {
		r.WinsByIndex[i] = c.by[i].Load()
	}
	return r
}

// notUp is the number of hosts that are down, and of those that are paused.
func (b *breaker) notUp(now time.Time) (down, paused int) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.RLock()
		for e := s.order[1].Front(); e != nil; e = e.Next() {
			switch e.Value.(*hostBreaker).state(now) {
			case StateDown, StateProbing:
				down++
			case StatePaused:
				paused++
			}
		}
		s.mu.RUnlock()
	}
	return down, paused
}
