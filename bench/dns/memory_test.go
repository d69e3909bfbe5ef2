package dns

import (
	"runtime"
	"testing"
	"time"
)

// What a million hosts take: bytes and objects a host, and the time of a
// garbage collection beyond that of an empty cache.
func BenchmarkMemory(b *testing.B) {
	n := hosts(1_000_000)
	for _, c := range newCaches(b) {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				before, gcBefore := collect()
				fill(b, n, c.lookup)
				after, gcAfter := collect()
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/host")
				b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/float64(n), "objects/host")
				b.ReportMetric(float64((gcAfter-gcBefore).Microseconds())/1000, "ms/GC")
			}
			runtime.KeepAlive(c)
		})
	}
}

// collect returns the state of the heap after a garbage collection, and how
// long that takes: the least of three.
func collect() (m runtime.MemStats, least time.Duration) {
	least = time.Hour
	for range 3 {
		start := time.Now()
		runtime.GC()
		least = min(least, time.Since(start))
	}
	runtime.ReadMemStats(&m)
	return m, least
}
