package dnscache_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// A flooder is a nameserver on loopback that sends more than it was asked for.
type flooder struct {
	udp  net.PacketConn
	tcp  net.Listener
	sent atomic.Uint64
	stop chan struct{}
	wg   sync.WaitGroup

	copies  int // of each answer
	forged  int // packets a second to each socket that has asked
	endless bool

	mu    sync.Mutex // protects what follows
	peers map[string]net.Addr
	last  []byte // query
}

func (f *flooder) start(t *testing.T) string {
	var err error
	if f.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if f.udp, err = net.ListenPacket("udp", f.tcp.Addr().String()); err != nil {
		t.Skip(err)
	}
	f.stop, f.peers = make(chan struct{}), map[string]net.Addr{}
	f.wg.Go(f.serveUDP)
	f.wg.Go(f.serveTCP)
	if f.forged > 0 {
		f.wg.Go(f.forge)
	}
	return f.tcp.Addr().String()
}

func (f *flooder) close() {
	close(f.stop)
	f.udp.Close()
	f.tcp.Close()
	f.wg.Wait()
}

func (f *flooder) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, peer, err := f.udp.ReadFrom(buf)
		if err != nil {
			select {
			case <-f.stop:
				return
			default: // ICMP: a socket that was closed
				continue
			}
		}
		f.mu.Lock()
		f.peers[peer.String()], f.last = peer, slices.Clone(buf[:n])
		f.mu.Unlock()
		reply := answerTo(buf[:n], 1)
		for range f.copies {
			f.udp.WriteTo(reply, peer)
			f.sent.Add(1)
		}
	}
}

// forge sends answers with other ids, to all that have ever asked.
func (f *flooder) forge() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		f.mu.Lock()
		var peers []net.Addr
		for _, p := range f.peers {
			peers = append(peers, p)
		}
		last := f.last
		f.mu.Unlock()
		for i := range f.forged / 1000 {
			if len(peers) == 0 {
				break
			}
			b := answerTo(last, 1)
			binary.BigEndian.PutUint16(b, uint16(rand.Uint32()))
			f.udp.WriteTo(b, peers[i%len(peers)])
			f.sent.Add(1)
		}
	}
}

func (f *flooder) serveTCP() {
	for {
		c, err := f.tcp.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() {
			defer c.Close()
			defer context.AfterFunc(stopped(f.stop), func() { c.Close() })()
			for {
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				q := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, q); err != nil {
					return
				}
				reply := framed(answerTo(q, 1))
				for {
					if _, err := c.Write(reply); err != nil {
						return
					}
					f.sent.Add(1)
					if !f.endless {
						break
					}
				}
			}
		})
	}
}

// stopped is a context that ends with a channel.
func stopped(stop <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-stop
		cancel()
	}()
	return ctx
}

// A nameserver that floods: the true answers count, in bounded memory.
func TestFlood(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *flooder
		form   string
	}{
		{"no flood", &flooder{copies: 1}, "%s"},
		{"forged packets, up to 100,000 a second", &flooder{copies: 1, forged: 100_000}, "%s"},
		{"forged packets, and no answer over UDP", &flooder{forged: 100_000}, "%s"},
		{"each answer 1,000 times", &flooder{copies: 1000}, "%s"},
		{"the answer for ever, over TCP", &flooder{endless: true}, "tcp://%s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.server
			addr := f.start(t)
			defer f.close()
			r, err := dnscache.New(&dnscache.Options{Servers: []string{fmt.Sprintf(tt.form, addr)}, HostsFile: os.DevNull, DisableIPv6: true})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			before := heapNow()
			var peak uint64
			var took []time.Duration
			cpu := cpuTime()
			begin := time.Now()
			for i := 0; time.Since(begin) < 700*time.Millisecond; i++ {
				start := time.Now()
				addrs, err := r.LookupNetIP(context.Background(), "ip4", fmt.Sprintf("h%d.test", i))
				if err != nil || len(addrs) != 1 || addrs[0] != netip.MustParseAddr("192.0.2.0") {
					t.Fatalf("%v, %v", addrs, err)
				}
				took = append(took, time.Since(start))
				if i%16 == 0 {
					peak = max(peak, heapNow())
				}
				time.Sleep(2 * time.Millisecond)
			}
			slices.Sort(took)
			s := r.Stats()
			grown := max(peak, before) - before
			t.Logf("%d lookups, median %v, longest %v; %d packets and messages sent to us, %d dropped, %d of %d queries over TCP; %d KiB more heap, %v CPU with the server's in %v",
				len(took), took[len(took)/2], took[len(took)-1], f.sent.Load(), s.Dropped, s.TCP, s.Queries, grown>>10, (cpuTime() - cpu).Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
			if worst := took[len(took)-1]; worst > 2*time.Second {
				t.Errorf("a lookup took %v", worst)
			}
			if grown > 32<<20 {
				t.Errorf("the heap has grown by %d KiB", grown>>10)
			}
			if f.copies != 1 && s.Dropped == 0 {
				t.Error("no flood has come")
			}
		})
	}
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A socket that has had 1,000 packets it did not ask for is closed once nobody
// waits for its answers: they cost nothing any more.
func TestFlood_SocketIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		conn, err := n.ListenPacket("192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		var sent, asked atomic.Int64
		go func() {
			buf := make([]byte, 512)
			for {
				k, peer, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				asked.Add(1)
				q := slices.Clone(buf[:k])
				conn.WriteTo(answerTo(q, 1), peer)
				go func() {
					for range 5000 {
						time.Sleep(100 * time.Microsecond)
						conn.WriteTo(answerTo(q, 1), peer)
						sent.Add(1)
					}
				}()
			}
		}()
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: n.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			start := time.Now()
			addrs, err := r.LookupNetIP(context.Background(), "ip4", fmt.Sprintf("h%d.test", i))
			if err != nil || time.Since(start) != 0 {
				t.Errorf("%v, %v after %v", addrs, err, time.Since(start))
			}
			time.Sleep(time.Second)
		}
		s := r.Stats()
		t.Logf("%d packets sent after %d answers, %d read and dropped, %d queries", sent.Load(), asked.Load(), s.Dropped, s.Queries)
		if sent.Load() != 20_000 || s.Dropped != 4*1000 || s.Queries != 4 || asked.Load() != 4 {
			t.Errorf("%d of %d packets dropped, %d queries; want 1,000 for each of 4 sockets, and 4", s.Dropped, sent.Load(), s.Queries)
		}
		r.Close()
		conn.Close()
	})
}
