package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// A Transport whose tables are full meets many more hosts: dead ones, and such
// that answer once and close the connection. They add nothing.
func TestMemory_OfManyHosts(t *testing.T) {
	if withRaceDetector() {
		t.Skip("takes a minute with the race detector, which changes what is measured")
	}
	for _, tt := range []struct {
		name string
		dial dialFunc
		kind hostwise.Kind
	}{
		{"dead", refuse, hostwise.ConnectRefused},
		{"answering once", answerOnce, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := New(&http.Transport{DialContext: tt.dial}, &Options{Resolver: everyHost{}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			host := 0
			meet := func(hosts int) (perHost int64) {
				before := settledHeap()
				var workers sync.WaitGroup
				for w := range 4 {
					workers.Go(func() {
						for i := w; i < hosts; i += 4 {
							req, err := http.NewRequest("GET", fmt.Sprintf("http://h%d.a.test/", host+i), nil)
							if err != nil {
								t.Error(err)
								return
							}
							resp, err := tr.RoundTrip(req)
							if err == nil {
								_, err = io.Copy(io.Discard, resp.Body)
								resp.Body.Close()
							}
							if got := hostwise.KindOf(err); got != tt.kind {
								t.Errorf("%s: %v, kind %q, want %q", req.Host, err, got, tt.kind)
							}
						}
					})
				}
				workers.Wait()
				host += hosts
				return (settledHeap() - before) / int64(hosts)
			}
			for i := range 2 * maxBreakers { // else it takes a minute
				key := fmt.Sprintf("h%d.a.test:80", 1_000_000+i)
				tr.breaker.failure(key, time.Now(), dialError(key), time.Second, false, nil, 0)
				addr := everyHost{}.address(uint32(1_000_000 + i))
				tr.history.Ended(key, happyeyeballs.Plan{}, happyeyeballs.Outcome{Winner: addr}, time.Now())
				tr.history.Measured(addr, time.Second, time.Now())
			}
			meet(leastPoolHosts) // whole pools, so that the last one is as full each time
			const hosts = 4 * leastPoolHosts
			perHost := meet(hosts)
			t.Logf("%d further hosts: %d B each", hosts, perHost)
			if perHost > 100 {
				t.Errorf("%d B for each further host, want 100 at most", perHost)
			}
			runtime.KeepAlive(tr)
		})
	}
}

// settledHeap is heap once goroutines that end have ended.
func settledHeap() int64 {
	heap()
	return heap()
}

// everyHost knows h1.a.test and so on, each in a network of its own.
type everyHost struct{}

func (everyHost) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	var n uint32
	if _, err := fmt.Sscanf(host, "h%d.", &n); err != nil || network != "ip4" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{everyHost{}.address(n)}, nil
}

func (everyHost) address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n<<8+1)))
}

func refuse(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// answerOnce connects to a server that closes the connection after one
// response.
func answerOnce(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		if _, err := server.Read(make([]byte, 4<<10)); err == nil {
			io.WriteString(server, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		}
	}()
	return client, nil
}
