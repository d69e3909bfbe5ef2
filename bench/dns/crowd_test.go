package dns

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A thousand callers want one name that nobody has asked for yet, from a
// nameserver that takes 20 ms: queries it gets.
func BenchmarkCrowd(b *testing.B) {
	s := localServer(b)
	s.delay = 20 * time.Millisecond
	dial := overUDP(s.addr)
	hostwise, r := newHostwise(b, dial)
	defer r.Close()
	for _, c := range []client{hostwise, newNet(dial), newRS(&net.Resolver{PreferGo: true, Dial: dial}), newNcruces(dial)} {
		b.Run(c.name, func(b *testing.B) {
			before := s.queries.Load()
			for b.Loop() {
				name := coldName()
				var wg sync.WaitGroup
				for range 1000 {
					wg.Go(func() {
						if n, err := c.lookup(name); err != nil || n != 2 {
							b.Errorf("%d addresses, %v", n, err)
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(float64(s.queries.Load()-before)/float64(b.N), "queries")
		})
	}
}
