package dns

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// nextName makes names that nobody has asked for yet.
var nextName atomic.Int64

func coldName() string { return "h" + strconv.FormatInt(nextName.Add(1), 10) + ".test." }

// A cold name costs two queries, A and AAAA, over real sockets. The server is
// in the same process, and its part of the time and memory is in the figures.
func BenchmarkLookupCold(b *testing.B) {
	dial := overUDP(localServer(b).addr)
	hostwise, r := newHostwise(b, dial)
	defer r.Close()
	for _, c := range []client{hostwise, newNet(dial)} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n, err := c.lookup(coldName()); err != nil || n != 2 {
					b.Fatalf("%d addresses, %v", n, err)
				}
			}
		})
	}
}

// The server is in a process of its own, so that CPU and allocations are the
// client's. What the system calls alone cost is in it for comparison.
func BenchmarkLookupColdRemote(b *testing.B) {
	addr := remoteServer(b)
	hostwise, r := newHostwise(b, overUDP(addr))
	defer r.Close()
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("hostwise/callers=%d", callers), func(b *testing.B) {
			before := r.Stats()
			cold(b, callers, hostwise.lookup)
			b.ReportMetric(float64(r.Stats().Retransmits-before.Retransmits), "resent")
		})
		b.Run(fmt.Sprintf("net/callers=%d", callers), func(b *testing.B) { cold(b, callers, newNet(overUDP(addr)).lookup) })
	}
	b.Run("system-calls", func(b *testing.B) { systemCalls(b, addr) })
}

// cold looks b.N new names up.
func cold(b *testing.B, callers int, lookup lookupFunc) {
	b.ReportAllocs()
	var left, lost atomic.Int64
	left.Store(int64(b.N))
	measure(b, func() {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if n, err := lookup(coldName()); err != nil || n != 2 {
						lost.Add(1)
					}
				}
			})
		}
		wg.Wait()
	})
	b.ReportMetric(float64(lost.Load()), "lost")
}

// systemCalls sends two queries and receives two replies for each name, on
// four sockets with 32 queries on their way on each, and does nothing else.
func systemCalls(b *testing.B, addr string) {
	measure(b, func() {
		var wg sync.WaitGroup
		for i := range 4 {
			conn, err := net.Dial("udp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			n := (2*b.N + i) / 4
			room := make(chan struct{}, 32)
			wg.Go(func() {
				for buf := make([]byte, 1500); n > 0; n-- {
					if _, err := conn.Read(buf); err != nil {
						b.Error(err)
						return
					}
					<-room
				}
			})
			queries := n
			wg.Go(func() {
				query := []byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07h123456\x04test\x00\x00\x01\x00\x01")
				for range queries {
					room <- struct{}{}
					_, _ = conn.Write(query)
				}
			})
		}
		wg.Wait()
	})
}

// measure reports what b.N names cost.
func measure(b *testing.B, run func()) {
	b.ResetTimer()
	cpu := cpuTime()
	run()
	cpu = cpuTime() - cpu
	b.StopTimer()
	b.ReportMetric(math.Round(float64(b.N)/b.Elapsed().Seconds()), "names/s")
	if cpu > 0 {
		b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "µs-cpu/name")
	}
}
