//go:build unix

package dnscache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
)

// childEnv tells a copy of the test binary that it is one, and may use up
// what the process has.
const childEnv = "HOSTWISE_TEST_FEW_FILES"

// Without file descriptors a lookup says so, and nobody else is blamed: no
// failure of ours becomes an answer in the cache, and with descriptors all is
// well again. The test runs in a process of its own, with a limit of 128.
func TestLimits_FewFileDescriptors(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		t.Run("in the child", func(t *testing.T) {
			limit := syscall.Rlimit{Cur: 128, Max: 128}
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				t.Skip("the limit cannot be set here:", err)
			}
			t.Run("2000 lookups", manyLookups)
			t.Run("none left", noFilesLeft)
			t.Run("none left for TCP", noFilesLeftForTCP)
		})
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skip("the test binary cannot be found:", err)
	}
	cmd := exec.Command(exe, "-test.run=^TestLimits_FewFileDescriptors$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("the child says:\n%s", out)
	}
}

// lookAll looks n names up at once, both families, and counts the Kinds of
// their errors; "" stands for none.
func lookAll(r *dnscache.Resolver, prefix string, n int) map[hostwise.Kind]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	kinds := map[hostwise.Kind]int{}
	for i := range n {
		wg.Go(func() {
			_, err := r.LookupNetIP(context.Background(), "ip", fmt.Sprint(prefix, i, ".test"))
			mu.Lock()
			defer mu.Unlock()
			kinds[hostwise.KindOf(err)]++
		})
	}
	wg.Wait()
	return kinds
}

func loopbackResolver(t *testing.T, server string) *dnscache.Resolver {
	t.Helper()
	r, err := dnscache.New(&dnscache.Options{
		Servers: []string{server}, HostsFile: os.DevNull,
		Timeout: 30 * time.Second, // on a machine that may stand still for seconds
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// checkNothingIsBlamed asks again for what failed: it is not in the cache.
func checkNothingIsBlamed(t *testing.T, r *dnscache.Resolver, prefix string, n int) {
	t.Helper()
	if kinds := lookAll(r, prefix, n); kinds[""] != n {
		t.Errorf("with descriptors again: %v, want %d answers", kinds, n)
	}
	if got := r.Stats().NegativeHits; got != 0 {
		t.Errorf("%d errors came from the cache, want none", got)
	}
}

func manyLookups(t *testing.T) {
	server := serveLoopback(t)
	r := loopbackResolver(t, server.addr)
	kinds := lookAll(r, "many", 2000)
	t.Logf("kinds: %v", kinds)
	if kinds[""]+kinds[hostwise.LocalFDs] != 2000 || kinds[""] == 0 {
		t.Errorf("%v, want answers and %s", kinds, hostwise.LocalFDs)
	}
	checkNothingIsBlamed(t, r, "many", 2000)
}

// useUpFiles opens files until there are no more descriptors.
func useUpFiles(t *testing.T) (release func()) {
	t.Helper()
	var files []*os.File
	release = func() {
		for _, f := range files {
			f.Close()
		}
	}
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			return release
		}
		if err != nil {
			release()
			t.Fatal(err)
		}
		files = append(files, f)
	}
}

func noFilesLeft(t *testing.T) {
	server := serveLoopback(t)
	r := loopbackResolver(t, server.addr)
	lookAll(loopbackResolver(t, server.addr), "warm", 1) // what the runtime opens once
	release := useUpFiles(t)
	kinds := lookAll(r, "none", 200)
	_, err := r.LookupNetIP(context.Background(), "ip4", "one.test")
	release()
	if kinds[hostwise.LocalFDs] != 200 {
		t.Errorf("%v, want %s 200 times", kinds, hostwise.LocalFDs)
	}
	var e *hostwise.DNSError
	if !errors.As(err, &e) || !errors.Is(err, syscall.EMFILE) || !e.Kind.Retryable() || e.Cached || !e.RetryAt.IsZero() {
		t.Errorf("err = %#v, want a retryable one around EMFILE that is not cached", err)
	}
	if s := r.Stats(); s.Entries != 0 || s.Servers[0].Down {
		t.Errorf("%d names in the cache, the server down = %v, want none and false", s.Entries, s.Servers[0].Down)
	}
	checkNothingIsBlamed(t, r, "none", 200)
}

// A truncated answer needs another socket.
func noFilesLeftForTCP(t *testing.T) {
	server := serveLoopback(t)
	r := loopbackResolver(t, server.addr)
	lookAll(r, "warm", 20) // so that there are UDP sockets
	server.truncate.Store(true)
	release := useUpFiles(t)
	kinds := lookAll(r, "tcp", 20)
	release()
	server.truncate.Store(false)
	if kinds[hostwise.LocalFDs] != 20 {
		t.Errorf("%v, want %s 20 times", kinds, hostwise.LocalFDs)
	}
	if got := r.Stats().Entries; got != 20 {
		t.Errorf("%d names in the cache, want those 20 that have an answer", got)
	}
	checkNothingIsBlamed(t, r, "tcp", 20)
}
