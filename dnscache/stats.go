package dnscache

import "sync/atomic"

type counters struct {
	hits, negativeHits, misses, coalesced atomic.Uint64
	queries, retransmits, tcp, dropped    atomic.Uint64
}

// Stats are a Resolver's counters since New. Lookups are counted by family:
// one for "ip" counts twice.
type Stats struct {
	Hits         uint64 // answered from the cache
	NegativeHits uint64 // of a cached error
	Misses       uint64 // asked a nameserver
	Coalesced    uint64 // waited for another caller's question
	Queries      uint64 // messages sent to nameservers
	Retransmits  uint64 // of these, repetitions without an answer
	TCP          uint64 // of these, over TCP
	Dropped      uint64 // packets received that answer no question
	Entries      int    // names in the cache
	Evictions    uint64 // names dropped for lack of room
	Servers      []ServerStats
}

// Stats returns the current counters.
func (r *Resolver) Stats() Stats {
	c := &r.counters
	s := Stats{
		Hits: c.hits.Load(), NegativeHits: c.negativeHits.Load(), Misses: c.misses.Load(), Coalesced: c.coalesced.Load(),
		Queries: c.queries.Load(), Retransmits: c.retransmits.Load(), TCP: c.tcp.Load(), Dropped: c.dropped.Load(),
	}
	s.Entries, s.Evictions = r.cache.stats()
	for _, srv := range r.servers {
		s.Servers = append(s.Servers, srv.stats())
	}
	return s
}
