package transport_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// atLoopback resolves every name to 127.0.0.1.
type atLoopback struct{}

func (atLoopback) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

// descriptors is the number of file descriptors of this process, or 0 where
// nothing tells.
func descriptors() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(fds)
}

// Some of the fixtures over the sockets of this system, to see that it is no
// kindness of the simulated network that nothing is left. How long each may
// take, and of what Kind its end is, is the simulation's to say: a thousand
// connections at once may keep this machine busy.
func TestBounds_Sockets(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 2,000 sockets at a time; run without -short")
	}
	const (
		requests = 1000
		bound    = time.Second
		slack    = 10 * time.Second
	)
	for _, name := range []string{"silent TCP", "silent TLS", "silence in the body"} {
		t.Run(name, func(t *testing.T) {
			var f *fixture
			for i := range fixtures {
				if fixtures[i].name == name {
					f = &fixtures[i]
				}
			}
			goroutines, fds := clientGoroutines(), descriptors()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			end := make(chan struct{})
			var served sync.WaitGroup
			served.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					served.Go(func() { f.accept(c, tls.Certificate{}, end) })
				}
			})
			port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
			tr, err := transport.New(&http.Transport{}, &transport.Options{
				Resolver: atLoopback{}, MaxConns: -1, MaxConnsPerHost: -1,
				TLSHandshakeTimeout: bound, ResponseHeaderTimeout: bound, IdleBodyTimeout: bound,
			})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			kinds, timeouts := map[hostwise.Kind]int{}, 0
			start := time.Now()
			for i := range requests {
				wg.Go(func() {
					req, err := http.NewRequest("GET", f.scheme+"://h"+strconv.Itoa(i)+".test:"+port+"/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					resp, err := tr.RoundTrip(req)
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					mu.Lock()
					defer mu.Unlock()
					k := hostwise.KindOf(err)
					if kinds[k]++; k.Timeout() {
						timeouts++
					}
				})
			}
			wg.Wait()
			took := time.Since(start)
			if timeouts != requests || took > bound+slack {
				t.Errorf("requests ended %v, the last after %v, want time-outs after %v", kinds, took, bound)
			}
			gone := time.Now()
			left := func() (int, int) { return clientGoroutines() - goroutines, tr.Stats().Conns }
			g, c := left()
			for ; (g > 0 || c > 0) && time.Since(gone) < slack; g, c = left() {
				time.Sleep(10 * ms)
			}
			after := time.Since(gone)
			if g > 0 || c > 0 {
				t.Errorf("%d goroutines and %d connections left %v after the last request", g, c, after)
			}
			tr.Close()
			l.Close()
			close(end)
			served.Wait()
			if got := descriptors(); got > fds {
				t.Errorf("%d descriptors, %d before", got, fds)
			}
			t.Logf("%d requests: %v after %v, nothing left %v later", requests, kinds, took.Round(ms), after.Round(ms))
		})
	}
}
