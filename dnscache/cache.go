package dnscache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	bucketSlots = 7 // with their tags, one cache line
	firstSize   = 16
	fullAt      = 65 // per cent of the slots used, on average, before the table grows
)

// cache holds the entries of a bounded number of names. Reading takes no
// lock. A name has its place in one of two buckets, the emptier one when it
// came. When the cache is full, a bucket makes room by second chance: a name
// that was used since the hand last came by is passed over once.
type cache struct {
	seed  maphash.Seed
	max   int // names
	table atomic.Pointer[table]

	mu        sync.Mutex // one writer at a time; protects what follows
	entries   int
	bytes     int // of the entries
	evictions uint64
}

type table struct{ buckets []bucket }

// bucket is a set of places. Its tags hold a byte of the hash for each slot,
// and the hand in the eighth byte.
type bucket struct {
	tags  atomic.Uint64
	slots [bucketSlots]atomic.Pointer[entry]
}

// place is where a name belongs.
type place struct {
	tag    uint8
	bucket [2]*bucket
}

func newCache(maxHosts int) *cache {
	c := &cache{seed: maphash.MakeSeed(), max: maxHosts}
	c.table.Store(&table{make([]bucket, min(firstSize, c.mostBuckets()))})
	return c
}

// mostBuckets is the size of the table that the bound leads to.
func (c *cache) mostBuckets() int { return c.max*100/(bucketSlots*fullAt) + 1 }

func (t *table) place(hash uint64) place {
	n := uint64(len(t.buckets))
	return place{uint8(hash >> 8), [2]*bucket{&t.buckets[hash>>32*n>>32], &t.buckets[(hash&(1<<32-1))*n>>32]}}
}

// get returns the entry of name, or nil.
func (c *cache) get(name string) *entry {
	p := c.table.Load().place(maphash.String(c.seed, name))
	if e, _ := p.bucket[0].find(p.tag, name); e != nil {
		return e
	}
	e, _ := p.bucket[1].find(p.tag, name)
	return e
}

func (b *bucket) find(tag uint8, name string) (*entry, int) {
	for i, tags := 0, b.tags.Load(); i < bucketSlots; i, tags = i+1, tags>>8 {
		if uint8(tags) == tag {
			if e := b.slots[i].Load(); e != nil && e.is(name) {
				return e, i
			}
		}
	}
	return nil, -1
}

// records returns what is known of name, expired or not.
func (c *cache) records(name string) (r [2]*record) {
	if e := c.get(name); e != nil {
		r = [2]*record{v6: e.record(v6), v4: e.record(v4)}
	}
	return r
}

// record returns what is known of one family of name, expired or not.
func (c *cache) record(name string, f family) *record {
	if e := c.get(name); e != nil {
		return e.record(f)
	}
	return nil
}

// put takes in what was learned of one family of name.
func (c *cache) put(name string, f family, rec *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hash := maphash.String(c.seed, name)
	p := c.table.Load().place(hash)
	var records [2]*record
	records[f] = rec
	for _, b := range p.bucket {
		if old, i := b.find(p.tag, name); old != nil {
			c.replace(&b.slots[i], old, old.with(name, records))
			return
		}
	}
	c.insert(newEntry(name, records), hash)
}

// restore takes in a whole entry. What is known already and holds stays.
func (c *cache) restore(e *entry, now int64) {
	name := e.host()
	c.mu.Lock()
	defer c.mu.Unlock()
	hash := maphash.String(c.seed, name)
	p := c.table.Load().place(hash)
	for _, b := range p.bucket {
		if old, i := b.find(p.tag, name); old != nil {
			records := [2]*record{v6: e.record(v6), v4: e.record(v4)}
			for f := range records {
				if rec := old.record(family(f)); rec.valid(now) || records[f] == nil {
					records[f] = rec
				}
			}
			c.replace(&b.slots[i], old, newEntry(name, records))
			return
		}
	}
	c.insert(e, hash)
}

// insert adds a new name. c.mu is held.
func (c *cache) insert(e *entry, hash uint64) {
	t := c.table.Load()
	if n := len(t.buckets); c.entries*100 >= n*bucketSlots*fullAt && n < c.mostBuckets() {
		t = c.grow(min(2*n, c.mostBuckets()))
	}
	if c.entries >= c.max {
		c.evict(t.crowded(hash))
	}
	c.place(t, e, hash)
	c.entries++
	c.bytes += e.blockBytes()
}

// place puts an entry where it belongs, in the place of another if need be.
func (c *cache) place(t *table, e *entry, hash uint64) {
	p := t.place(hash)
	b := p.bucket[0]
	if p.bucket[1].used() < b.used() {
		b = p.bucket[1]
	}
	if b.used() == bucketSlots {
		c.evict(b)
	}
	b.set(b.free(), p.tag, e)
}

// evict makes room in a bucket that is not empty.
func (c *cache) evict(b *bucket) {
	i := b.victim()
	c.entries--
	c.bytes -= b.slots[i].Load().blockBytes()
	c.evictions++
	b.slots[i].Store(nil)
}

// crowded returns the fuller of a name's two buckets or, if both are empty,
// the next one that is not.
func (t *table) crowded(hash uint64) *bucket {
	p := t.place(hash)
	b := p.bucket[0]
	if p.bucket[1].used() > b.used() {
		b = p.bucket[1]
	}
	for i := hash % uint64(len(t.buckets)); b.used() == 0; i++ {
		b = &t.buckets[i%uint64(len(t.buckets))]
	}
	return b
}

func (b *bucket) used() (n int) {
	for i := range b.slots {
		if b.slots[i].Load() != nil {
			n++
		}
	}
	return n
}

// free returns an empty slot, or -1.
func (b *bucket) free() int {
	for i := range b.slots {
		if b.slots[i].Load() == nil {
			return i
		}
	}
	return -1
}

// set fills a slot. A reader that comes between the two steps does not find
// the name, and asks.
func (b *bucket) set(i int, tag uint8, e *entry) {
	b.slots[i].Store(e)
	shift := 8 * i
	b.tags.Store(b.tags.Load()&^(0xff<<shift) | uint64(tag)<<shift)
}

// victim returns the slot of the name to give up.
func (b *bucket) victim() int {
	const handShift = 8 * bucketSlots
	tags := b.tags.Load()
	for i := int(tags >> handShift); ; i++ {
		i %= bucketSlots
		e := b.slots[i].Load()
		if e == nil || e.flags.And(^uint32(flagUsed))&flagUsed != 0 {
			continue
		}
		b.tags.Store(tags&(1<<handShift-1) | uint64((i+1)%bucketSlots)<<handShift)
		return i
	}
}

// grow moves all entries to a table of n buckets. Readers of the old one go
// on with what it has.
func (c *cache) grow(n int) *table {
	t := &table{make([]bucket, n)}
	for e := range c.table.Load().all {
		c.place(t, e, maphash.String(c.seed, e.host()))
	}
	c.table.Store(t)
	return t
}

// all yields every entry.
func (t *table) all(yield func(*entry) bool) {
	for i := range t.buckets {
		for j := range t.buckets[i].slots {
			if e := t.buckets[i].slots[j].Load(); e != nil && !yield(e) {
				return
			}
		}
	}
}

// forget removes a name.
func (c *cache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.table.Load().place(maphash.String(c.seed, name))
	for _, b := range p.bucket {
		if e, i := b.find(p.tag, name); e != nil {
			b.slots[i].Store(nil)
			c.entries--
			c.bytes -= e.blockBytes()
		}
	}
}

// forgetErrors removes all that is known but addresses; or only the failures,
// not the nameservers' word that there are none.
func (c *cache) forgetErrors(onlyFailures bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	for i := range t.buckets {
		for j := range t.buckets[i].slots {
			slot := &t.buckets[i].slots[j]
			e := slot.Load()
			if e == nil {
				continue
			}
			holds := func(f family) bool {
				s := e.state[f]
				return s.hasAddrs() || onlyFailures && s != failed && s != unknown
			}
			has6, has4 := holds(v6), holds(v4)
			switch {
			case has6 && has4:
			case has6:
				c.replace(slot, e, newEntry(e.host(), [2]*record{v6: e.record(v6)}))
			case has4:
				c.replace(slot, e, newEntry(e.host(), [2]*record{v4: e.record(v4)}))
			default:
				slot.Store(nil)
				c.entries--
				c.bytes -= e.blockBytes()
			}
		}
	}
}

// replace puts an entry in the place of an older one. c.mu is held.
func (c *cache) replace(slot *atomic.Pointer[entry], old, e *entry) {
	e.flags.Store(old.flags.Load() & flagUsed)
	slot.Store(e)
	c.bytes += e.blockBytes() - old.blockBytes()
}

// stats returns the names held, the bytes they and the table take, and the
// names that have made room for others.
func (c *cache) stats() (entries, bytes int, evictions uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries, c.bytes + len(c.table.Load().buckets)*64, c.evictions
}
