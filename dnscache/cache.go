package dnscache

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A record is what is known of one name and family. It is never changed
// once made, and its slice is never handed out.
type record struct {
	addrs      []netip.Addr
	err        *hostwise.DNSError // nil, or why there are none
	expires    time.Time
	remember   bool          // err may be cached
	failureTTL time.Duration // of a failure: how long it is remembered
}

func (r *record) valid(now time.Time) bool { return r != nil && now.Before(r.expires) }

// covers reports whether the record answers for the other family too, of
// which nothing is known: a name that does not exist has no records at all
// (RFC 8020, section 2).
func (r *record) covers() bool { return r.err != nil && r.err.Kind == hostwise.DNSNXDomain }

const cacheShards = 64

// cache holds the records of a bounded number of names. A full shard makes
// room by second chance: a name that was used since the hand last came by is
// passed over once.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu        sync.RWMutex // protects what follows
	max       int
	entries   map[string]*entry
	ring      []*entry
	hand      int
	evictions uint64
	_         [64]byte // shards do not share a cache line
}

type entry struct {
	name    string
	records [2]*record  // by family; cacheShard.mu protects them
	used    atomic.Bool // since the hand last came by
}

func newCache(maxHosts int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].max = max(1, maxHosts/cacheShards)
		c.shards[i].entries = map[string]*entry{}
	}
	return c
}

func (c *cache) shard(name string) *cacheShard {
	return &c.shards[maphash.String(c.seed, name)%cacheShards]
}

// get returns what is known of name, expired or not.
func (c *cache) get(name string) (records [2]*record) {
	s := c.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[name]
	if e == nil {
		return records
	}
	if !e.used.Load() { // most often it is: do not touch the cache line
		e.used.Store(true)
	}
	return e.records
}

func (c *cache) put(name string, f family, rec *record) {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil {
		e = &entry{name: name}
		s.insert(e)
	}
	e.records[f] = rec
}

// insert adds a new entry, in the place of another if the shard is full.
func (s *cacheShard) insert(e *entry) {
	s.entries[e.name] = e
	if len(s.ring) < s.max {
		s.ring = append(s.ring, e)
		return
	}
	for s.ring[s.hand].used.Swap(false) {
		s.hand = (s.hand + 1) % len(s.ring)
	}
	delete(s.entries, s.ring[s.hand].name)
	s.ring[s.hand] = e
	s.hand = (s.hand + 1) % len(s.ring)
	s.evictions++
}

// forget removes the records of name but keeps its place.
func (c *cache) forget(name string) {
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil {
		e.records = [2]*record{}
		e.used.Store(false)
	}
}

func (c *cache) stats() (entries int, evictions uint64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += len(s.entries)
		evictions += s.evictions
		s.mu.RUnlock()
	}
	return entries, evictions
}
