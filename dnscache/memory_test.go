package dnscache

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// A million hosts cost the operator this much.
func TestMemory(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raceEnabled {
		n = 50_000
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("www.host%d.example", i)
	}
	heap := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.GC() // what other tests had in pools
		runtime.ReadMemStats(&m)
		return m
	}
	before := heap()
	c := newCache(n)
	for i, name := range names {
		c.put(name, v4, &record{state: positive, addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})}, ttl: time.Hour})
		c.put(name, v6, &record{state: negative, err: nodata(name), ttl: time.Hour})
	}
	after := heap()
	start := time.Now()
	runtime.GC()
	gc := time.Since(start)

	bytes := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
	objects := float64(after.HeapObjects-before.HeapObjects) / float64(n)
	entries, own, evictions := c.stats()
	t.Logf("%d hosts (%d evicted): %.1f B and %.2f objects a host, %v for a garbage collection", entries, evictions, bytes, objects, gc)
	if bytes > 110 && !raceEnabled {
		t.Errorf("%.1f B a host, want at most 110", bytes)
	}
	if objects > 1.01 && !raceEnabled {
		t.Errorf("%.2f objects a host, want 1", objects)
	}
	if evictions > uint64(n)/10_000 {
		t.Errorf("%d of %d hosts evicted though there was room", evictions, n)
	}
	if o := float64(own) / float64(n); o < 0.8*bytes || o > 1.2*bytes {
		t.Errorf("Stats says %.1f B a host, the runtime %.1f", o, bytes)
	}
	runtime.KeepAlive(names)
}

// Ten million names pass through a cache of a hundred thousand.
func TestMemory_StaysFlat(t *testing.T) {
	names, room := 10_000_000, 100_000
	if testing.Short() || raceEnabled {
		names, room = 300_000, 3_000
	}
	c := newCache(room)
	rec := &record{state: positive, addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})}, ttl: time.Hour}
	var sizes []uint64
	for i := range names {
		c.put(fmt.Sprintf("www.host%d.example", i), v4, rec)
		if (i+1)%(names/5) == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			sizes = append(sizes, m.HeapAlloc)
		}
	}
	entries, _, evictions := c.stats()
	t.Logf("%d names: heap %d KiB after a fifth, %d KiB at the end; %d entries", names, sizes[0]>>10, sizes[4]>>10, entries)
	if entries > room || entries < room*99/100 || int(evictions) != names-entries {
		t.Errorf("%d entries and %d evictions, want %d and the rest", entries, evictions, room)
	}
	if sizes[4] > sizes[0]+sizes[0]/20 {
		t.Errorf("the heap grew from %d to %d bytes", sizes[0], sizes[4])
	}
}
