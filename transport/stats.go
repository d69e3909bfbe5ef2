package transport

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/hostwise-go/hostwise"
)

type counters struct {
	requests, responses, dials, attempts atomic.Uint64

	mu       sync.Mutex // protects failures
	failures map[hostwise.Kind]uint64
}

func (c *counters) failed(k hostwise.Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[k]++
}

// Stats are a Transport's counters since New.
type Stats struct {
	Requests  uint64                   // calls of RoundTrip for http and https
	Responses uint64                   // of these, with response headers
	Failures  map[hostwise.Kind]uint64 // the others, by Kind
	Dials     uint64                   // races begun
	Attempts  uint64                   // addresses tried in them
	Conns     int                      // connections open or being dialled
	HostsDown int                      // hosts whose breaker is open
}

// Stats returns the current counters.
func (t *Transport) Stats() Stats {
	c := &t.counters
	s := Stats{
		Requests: c.requests.Load(), Responses: c.responses.Load(), Dials: c.dials.Load(), Attempts: c.attempts.Load(),
		Conns: int(t.conns.open.Load()), HostsDown: t.breaker.open(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Failures = maps.Clone(c.failures)
	return s
}

// open is the number of hosts that are down.
func (b *breaker) open() (n int) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.RLock()
		for _, h := range s.hosts {
			h.mu.Lock()
			if h.open {
				n++
			}
			h.mu.Unlock()
		}
		s.mu.RUnlock()
	}
	return n
}
