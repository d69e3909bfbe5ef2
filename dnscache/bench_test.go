package dnscache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"
)

// filled returns a resolver that knows n names, and their names in the order
// of a zipf law.
func filled(tb testing.TB, n int) (*Resolver, []string) {
	r, err := New(&Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, MaxHosts: 1 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	now := r.clock.exact()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("www.host%d.example", i)
		r.cache.put(names[i], v4, &record{state: positive, addrs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})}, ttl: time.Hour, expires: now + int64(time.Hour)})
		r.cache.put(names[i], v6, &record{state: negative, err: nodata(names[i]), ttl: time.Hour, expires: now + int64(time.Hour)})
	}
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, uint64(n-1))
	order := make([]string, 1<<16)
	for i := range order {
		order[i] = names[z.Uint64()]
	}
	return r, order
}

func BenchmarkLookupHit(b *testing.B) {
	for _, n := range []int{1, 10_000, 1_000_000} {
		r, order := filled(b, n)
		b.Run(fmt.Sprintf("hosts=%d/Append", n), func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]netip.Addr, 0, 4)
			for i := 0; b.Loop(); i++ {
				if _, err := r.AppendNetIP(context.Background(), dst, "ip", order[i%len(order)]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("hosts=%d/Lookup", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := r.LookupNetIP(context.Background(), "ip", order[i%len(order)]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("hosts=%d/AppendParallel", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				dst := make([]netip.Addr, 0, 4)
				for i := rand.IntN(len(order)); pb.Next(); i++ {
					if _, err := r.AppendNetIP(context.Background(), dst, "ip", order[i%len(order)]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
