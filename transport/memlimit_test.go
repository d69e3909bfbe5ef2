package transport_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// memLimitEnv tells a copy of the test binary that it is one.
const memLimitEnv = "HOSTWISE_TEST_MEMORY_LIMIT"

// A crawl of many hosts under GOMEMLIMIT, in a process of its own, servers and
// nameserver included: the heap stays below the limit, and the garbage
// collector does not take over.
func TestMemoryLimit(t *testing.T) {
	if os.Getenv(memLimitEnv) != "" {
		crawlWithinLimit(t)
		return
	}
	if testing.Short() || transport.WithRaceDetector() {
		t.Skip("takes seconds; the race detector has memory of its own")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryLimit$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), memLimitEnv+"=1", "GOMEMLIMIT=64MiB", "GOGC=off") // so that the limit alone has the collector run
	start := time.Now()
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "memlimit_test.go") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("the process took %v", time.Since(start).Round(time.Millisecond))
}

func crawlWithinLimit(t *testing.T) {
	const hosts, workers, rounds = 4_000, 64, 2
	limit := debug.SetMemoryLimit(-1)
	page := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	inRealTime(t, transport.Options{DisableOutageDetection: true, DialTimeout: time.Second}, func(w *world) {
		handler := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(page) })
		for i := 1; i < 200; i++ {
			w.serve(handler, fmt.Sprintf("192.0.2.%d:80", i))
		}
		for i := range 100 {
			w.link(fmt.Sprintf("198.51.100.%d", i), simnet.Link{Fault: simnet.Refuse})
			w.link(fmt.Sprintf("203.0.113.%d", i), simnet.Link{Fault: simnet.BlackHole})
		}
		for i := range hosts {
			switch i % 10 {
			case 0: // no such name
			case 1, 2:
				w.host(fmt.Sprintf("h%d.test", i), fmt.Sprintf("198.51.100.%d", i%100))
			case 3:
				w.host(fmt.Sprintf("h%d.test", i), fmt.Sprintf("203.0.113.%d", i%50))
			default:
				w.host(fmt.Sprintf("h%d.test", i), fmt.Sprintf("192.0.2.%d", 1+i%199))
			}
		}
		var peak uint64
		sample := func() {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		var mu sync.Mutex
		var next, pages atomic.Int64
		kinds := map[hostwise.Kind]int{}
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for {
					i := next.Add(1) - 1
					if i >= hosts*rounds {
						return
					}
					_, err := w.get(fmt.Sprintf("http://h%d.test/", i%hosts))
					if err == nil {
						pages.Add(1)
					}
					mu.Lock()
					kinds[hostwise.KindOf(err)]++
					if i%200 == 0 {
						sample()
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s, d := w.tr.Stats(), w.r.Stats()
		t.Logf("%d hosts, %d requests, %d pages, %v", hosts, hosts*rounds, pages.Load(), kinds)
		t.Logf("limit %d MiB: heap %.1f MiB at most, %.1f MiB from the system, resident %s at most; %d collections, %.1f %% of the CPU; %d names, %d connections kept",
			limit>>20, float64(peak)/(1<<20), float64(m.Sys)/(1<<20), residentPeak(), m.NumGC, 100*m.GCCPUFraction, d.Entries, s.Conns)
		if live := int64(hosts * rounds * 6 / 10); pages.Load() < live*9/10 { // a busy machine may take a second for one
			t.Errorf("%d pages, want about the %d of the hosts that live", pages.Load(), live)
		}
		if peak > uint64(limit) {
			t.Errorf("the heap has been %d MiB", peak>>20)
		}
		if m.GCCPUFraction > 0.4 { // the runtime itself stops at half
			t.Errorf("%.0f %% of the CPU for the garbage collector", 100*m.GCCPUFraction)
		}
	})
}

// inRealTime is inWorld outside of a bubble, which keeps stopped timers, and
// with them closed connections, until their time comes.
func inRealTime(t *testing.T, o transport.Options, f func(w *world)) {
	w := &world{t: t, net: simnet.New(1), start: time.Now()}
	w.dns = w.net.ServeDNS("192.0.2.53:53")
	defer w.dns.Close()
	var err error
	if w.r, err = dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: w.net.DialContext}); err != nil {
		t.Fatal(err)
	}
	defer w.r.Close()
	o.Resolver = w.r
	if w.tr, err = transport.New(&http.Transport{DialContext: w.net.DialContext}, &o); err != nil {
		t.Fatal(err)
	}
	defer w.tr.Close()
	w.client = &http.Client{Transport: w.tr}
	defer func() {
		for _, s := range w.servers {
			s.Close()
		}
	}()
	f(w)
}

// residentPeak is the most memory that the process has had, on Linux.
func residentPeak() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
