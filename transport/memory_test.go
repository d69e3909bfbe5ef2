package transport_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/transport"
)

type oneAddress struct{ netip.Addr }

func (r oneAddress) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	return []netip.Addr{r.Addr}, nil
}

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what has a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

var _ = pprof.Lookup
var _ = os.Create
var _ = bufio.NewReader
var _ = io.EOF
var _ = time.Now

func TestMemory_OfManyHosts(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	tr, err := transport.New(&http.Transport{DialContext: dial}, &transport.Options{Resolver: oneAddress{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	const batch = 100_000
	for b := range 3 {
		before := heap()
		start := time.Now()
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := w; i < batch; i += 4 {
					req, _ := http.NewRequest("GET", fmt.Sprintf("http://h%d-%d.test/", b, i), nil)
					if _, err := tr.RoundTrip(req); err == nil {
						t.Error("no error")
					}
				}
			})
		}
		wg.Wait()
		el := time.Since(start)
		t.Logf("batch %d: %d B a host, %v", b, (heap()-before)/batch, el)
	}
	f, _ := os.Create("/tmp/heap.prof")
	pprof.Lookup("heap").WriteTo(f, 0)
	f.Close()
}
