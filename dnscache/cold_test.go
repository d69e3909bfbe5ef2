package dnscache_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/hostwise-go/hostwise/dnscache"
)

// udpServer answers every query on the loopback interface with one address,
// using as little time and memory as it can.
func udpServer(b *testing.B) (addr string) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(4 << 20)
	for range 2 {
		go answerLoopback(conn, new(atomic.Bool))
	}
	return conn.LocalAddr().String()
}

// answerLoopback answers every query for an A or AAAA record with one, until
// conn is closed.
func answerLoopback(conn *net.UDPConn, silent *atomic.Bool) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n < 17 || silent.Load() {
			continue
		}
		end := 12
		for buf[end] != 0 {
			end += 1 + int(buf[end])
		}
		end += 5
		qtype, size := binary.BigEndian.Uint16(buf[end-4:]), 4
		if qtype == 28 {
			size = 16
		}
		copy(buf[2:], []byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0})                              // flags and counts
		reply := append(buf[:end], 0xc0, 12, 0, byte(qtype), 0, 1, 0, 0, 1, 44, 0, byte(size)) // the question's name, 300 s
		reply = append(reply, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)[:len(reply)+size]
		_, _ = conn.WriteToUDPAddrPort(reply, from)
	}
}

// A cold name costs two queries, A and AAAA, over real sockets. The server
// runs in the same process and takes its part of the time.
func BenchmarkLookupCold(b *testing.B) {
	addr := udpServer(b)
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
