package dns

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// What many hosts take: bytes and objects a host, and the time of a
// garbage collection beyond that of an empty cache.
func BenchmarkMemory(b *testing.B) {
	for _, c := range newCaches(b) {
		n := hosts(c.most)
		b.Run(fmt.Sprintf("%s/hosts=%d", c.name, n), func(b *testing.B) {
			for b.Loop() {
				before, gcBefore := collect()
				fill(b, n, c.lookup)
				after, gcAfter := collect()
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/host")
				b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/float64(n), "objects/host")
				b.ReportMetric(max(0, float64((gcAfter-gcBefore).Microseconds())/1000), "ms/GC")
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
