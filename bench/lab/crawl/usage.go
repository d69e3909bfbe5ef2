//go:build linux

package crawl

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cpuTime is what this process has used, in seconds.
func cpuTime() (user, system float64) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return float64(u.Utime.Nano()) / 1e9, float64(u.Stime.Nano()) / 1e9
}

// residentMB is a field of /proc/self/status: VmRSS or VmHWM, the peak.
func residentMB(field string) float64 {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kb / 1024
		}
	}
	return 0
}

// watchGoroutines samples the number of goroutines until the function it
// returns is called, which returns the peak.
func watchGoroutines() (stop func() int) {
	peak := 0
	quit := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				peak = max(peak, runtime.NumGoroutine())
			}
		}
	})
	return func() int {
		close(quit)
		watching.Wait()
		return peak
	}
}
