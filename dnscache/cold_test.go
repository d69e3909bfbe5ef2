package dnscache_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/hostwise-go/hostwise/dnscache"
)

// A cold name costs two queries, A and AAAA, over real sockets. The server
// runs in the same process and takes its part of the time.
func BenchmarkLookupCold(b *testing.B) {
	addr := serveLoopback(b).addr
	r, err := dnscache.New(&dnscache.Options{Servers: []string{addr}, HostsFile: os.DevNull})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	std := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	for _, resolver := range []struct {
		name   string
		lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	}{{"hostwise", r.LookupNetIP}, {"net.Resolver", std.LookupNetIP}} {
		var next atomic.Int64
		lookup := func(b *testing.B) {
			name := "h" + strconv.FormatInt(next.Add(1), 10) + ".test."
			if addrs, err := resolver.lookup(context.Background(), "ip", name); err != nil || len(addrs) != 2 {
				b.Errorf("%s: %v, %v", name, addrs, err)
			}
		}
		b.Run(resolver.name+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lookup(b)
			}
		})
		b.Run(resolver.name+"/parallel-64", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lookup(b)
				}
			})
		})
	}
}
