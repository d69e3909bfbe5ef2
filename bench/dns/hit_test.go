package dns

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hosts returns n, or less when every benchmark is run only once, to see
// whether it works.
func hosts(n int) int {
	if flag.Lookup("test.benchtime").Value.String() == "1x" {
		return min(n, 10_000)
	}
	return n
}

func hostName(i int64) string { return fmt.Sprintf("www.host%d.example", i) }

// fill looks n names up.
func fill(tb testing.TB, n int, lookup lookupFunc) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if got, err := lookup(hostName(i)); err != nil || got != 2 {
					tb.Errorf("%s: %d addresses, %v", hostName(i), got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// zipf returns names out of n, as a crawl would ask for them.
func zipf(n int) []string {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, uint64(n-1))
	order := make([]string, hosts(1<<20))
	for i := range order {
		order[i] = hostName(int64(z.Uint64()))
	}
	return order
}

// Names that are in the cache. Both families have one address.
func BenchmarkLookupHit(b *testing.B) {
	for _, n := range []int{1, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			n := hosts(n)
			order := zipf(n)
			for _, c := range newCaches(b) {
				if n > c.most {
					continue
				}
				table := sync.OnceFunc(func() { fill(b, n, c.lookup) })
				b.Run(c.name, func(b *testing.B) { table(); hit(b, order, c.lookup) })
				if c.append != nil {
					b.Run(c.name+"-append", func(b *testing.B) { table(); hit(b, order, c.append) })
				}
			}
		})
	}
}

// newCaches returns the resolvers that remember, each with a nameserver in
// memory.
func newCaches(b *testing.B) []client {
	hostwise, r := newHostwise(b, inMemoryUDP)
	b.Cleanup(func() { r.Close() })
	return []client{hostwise, newRS(inMemory{}), newNcruces(inMemoryTCP)}
}

func hit(b *testing.B, order []string, lookup lookupFunc) {
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		cpu := cpuTime()
		for i := 0; b.Loop(); i++ {
			if n, err := lookup(order[i%len(order)]); err != nil || n != 2 {
				b.Fatalf("%d addresses, %v", n, err)
			}
		}
		reportCPU(b, cpuTime()-cpu)
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		cpu := cpuTime()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(order)); pb.Next(); i++ {
				if n, err := lookup(order[i%len(order)]); err != nil || n != 2 {
					b.Errorf("%d addresses, %v", n, err)
					return
				}
			}
		})
		reportCPU(b, cpuTime()-cpu)
	})
}

// reportCPU reports the processor time of a hit: what it costs on a machine
// that has other things to do.
func reportCPU(b *testing.B, cpu time.Duration) {
	if cpu > 0 {
		b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	}
}
