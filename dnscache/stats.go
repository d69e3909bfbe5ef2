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

type hitCounters struct {
	fresh, stale, negative atomic.Uint64
	_                      [64 - 3*8]byte
}

// hit counts an answer from the cache. Goroutines differ in the place of
// their stacks.
func (c *counters) hit(s state) {
	var here byte
	h := &c.hits[uintptr(unsafe.Pointer(&here))>>11%hitStripes]
	switch s {
	case positive:
		h.fresh.Add(1)
	case stale:
		h.stale.Add(1)
	default:
		h.negative.Add(1)
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
}

// Stats returns the current counters.
func (r *Resolver) Stats() Stats {
	c := &r.counters
	s := Stats{
		Misses: c.misses.Load(), Coalesced: c.coalesced.Load(), Refreshes: c.refreshes.Load(),
		Queries: c.queries.Load(), Retransmits: c.retransmits.Load(), TCP: c.tcp.Load(), Dropped: c.dropped.Load(),
	}
	for i := range c.hits {
		s.Hits += c.hits[i].fresh.Load()
		s.StaleHits += c.hits[i].stale.Load()
		s.NegativeHits += c.hits[i].negative.Load()
	}
	s.Entries, s.Bytes, s.Evictions = r.cache.stats()
	for _, srv := range r.conf.Load().servers {
		s.Servers = append(s.Servers, srv.stats())
	}
	return s
}
