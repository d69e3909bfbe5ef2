package dnscache

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
)

// inFlight holds the queries on their way over one connection, each under an
// unpredictable id. server.mu protects it.
type inFlight struct {
	server  *server
	pending map[uint16]*query
	live    int // of these, those that somebody waits for
	served  int
	retired bool // takes no more queries, closes when the last is answered
}

func newInFlight(s *server) inFlight {
	return inFlight{server: s, pending: map[uint16]*query{}}
}

// register gives q an id that is free on the connection. server.mu is held.
func (c *inFlight) register(q *query) {
	for {
		q.id = uint16(rand.Uint32())
		if _, taken := c.pending[q.id]; !taken {
			break
		}
	}
	q.on = c
	c.pending[q.id] = q
	if !q.over.Load() {
		c.live++
	}
	c.served++
	c.server.sent++
	binary.BigEndian.PutUint16(q.message, q.id)
}

// find returns the query that a reply answers, or nil.
func (c *inFlight) find(reply []byte) *query {
	if len(reply) < headerSize {
		return nil
	}
	c.server.mu.Lock()
	q := c.pending[binary.BigEndian.Uint16(reply)]
	c.server.mu.Unlock()
	if q == nil || !matches(q.message, reply) && !refusesEDNS(q.message, reply) {
		return nil
	}
	return q
}

func (c *inFlight) remove(q *query) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.forget(q)
}

// forget removes q, if it is still there. server.mu is held.
func (c *inFlight) forget(q *query) {
	if c.pending[q.id] != q {
		return
	}
	delete(c.pending, q.id)
	c.server.settled(q)
	if !q.over.Load() {
		c.live--
	}
}

// takeAll removes all queries and returns them; no more are taken.
func (c *inFlight) takeAll() []*query {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.retired = true
	all := slices.Collect(maps.Values(c.pending))
	for _, q := range all {
		c.server.settled(q)
	}
	clear(c.pending)
	c.live = 0
	return all
}
