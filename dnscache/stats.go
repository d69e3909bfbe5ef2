package dnscache

import (
	"sync/atomic"
	"unsafe"
)

type counters struct {
	hits                               [hitStripes]hitCounters
	misses, coalesced, refreshes       atomic.Uint64
	queries, retransmits, tcp, dropped atomic.Uint64
}

// hitStripes is the number of places hits are counted in, so that the cores
// do not fight for one cache line.
const hitStripes = 16

// hitCounters count answers from the cache by the states of IPv6 and of IPv4,
// so that an answer of both takes one atomic addition.
type hitCounters [staleNegative + 1][staleNegative + 1]atomic.Uint64

// hit counts an answer from the cache, by the states of IPv6 and of IPv4;
// unknown is one that is not to be counted. Goroutines differ in the place of
// their stacks.
func (c *counters) hit(s6, s4 state) {
	var here byte
	c.hits[uintptr(unsafe.Pointer(&here))>>11%hitStripes][s6][s4].Add(1)
}

// addHits adds up the hits, by family.
func (c *counters) addHits(sum *Stats) {
	for i := range c.hits {
		for s6 := range c.hits[i] {
			for s4 := range c.hits[i][s6] {
				n := c.hits[i][s6][s4].Load()
				for _, s := range [...]int{s6, s4} {
					switch state(s) {
					case unknown:
					case positive:
						sum.Hits += n
					case stale:
						sum.StaleHits += n
					default:
						sum.NegativeHits += n
					}
				}
			}
		}
	}
}

// Stats are a Resolver's counters since New. Lookups are counted by family:
// one for "ip" counts twice. What NetResolver has nameservers answer (MX, TXT
// and so on) is not counted.
type Stats struct {
	Hits         uint64 // answered from the cache with addresses
	StaleHits    uint64 // answered from the cache with addresses that are out of date
	NegativeHits uint64 // answered from the cache with an error
	Misses       uint64 // asked a nameserver, refreshes included
	Coalesced    uint64 // waited for another caller's question
	Refreshes    uint64 // asked ahead of the expiry
	Queries      uint64 // messages sent to nameservers
	Retransmits  uint64 // of these, repetitions without an answer
	TCP          uint64 // of these, over TCP
	Dropped      uint64 // packets received that answer no question
	Entries      int    // names in the cache
	Bytes        int    // of memory for them, about
	Evictions    uint64 // names dropped for lack of room
	Servers      []ServerStats

	HookPanics     uint64 // functions of the caller's that have panicked, or ended their goroutine, where it was not the caller's
	FirstHookPanic string // what the first of them did, with its stack; "": there was none
	HooksDropped   uint64 // calls of Options.Hooks that there was no room for, since others take too long
}

// Stats returns the current counters.
func (r *Resolver) Stats() Stats {
	c := &r.counters
	s := Stats{
		Misses: c.misses.Load(), Coalesced: c.coalesced.Load(), Refreshes: c.refreshes.Load(),
		Queries: c.queries.Load(), Retransmits: c.retransmits.Load(), TCP: c.tcp.Load(), Dropped: c.dropped.Load(),
	}
	c.addHits(&s)
	s.HookPanics, s.FirstHookPanic = r.calls.Count()
	s.HooksDropped = r.hooks.Dropped()
	s.Entries, s.Bytes, s.Evictions = r.cache.stats()
	for _, srv := range r.conf.Load().servers {
		s.Servers = append(s.Servers, srv.stats())
	}
	return s
}
