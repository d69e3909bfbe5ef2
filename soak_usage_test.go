package hostwise_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// usage is what the process has.
type usage struct {
	at         time.Time
	heap       int // bytes, after a garbage collection
	goroutines int
	files      int // -1: the system does not say
}

func takeUsage() usage {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return usage{at: time.Now(), heap: int(m.HeapAlloc), goroutines: runtime.NumGoroutine(), files: openFiles()}
}

// openFiles counts the descriptors, without the one it takes.
func openFiles() int {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if list, err := os.ReadDir(dir); err == nil {
			return len(list) - 1
		}
	}
	return -1
}

func (u usage) String() string {
	return fmt.Sprintf("%5.1f MiB heap, %4d goroutines, %4d descriptors", float64(u.heap)/(1<<20), u.goroutines, u.files)
}

const soakLines = 24 // of samples, printed at the most

// sample takes a sample each few seconds for so long.
func (s *soak) sample(d time.Duration) (list []usage) {
	start := time.Now()
	every := min(max(d/60, 500*time.Millisecond), 5*time.Second)
	lines := time.Duration(0)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for now := range ticker.C {
		u := takeUsage()
		list = append(list, u)
		if t := now.Sub(start); t >= lines {
			s.t.Logf("%7v: %v; %v", t.Round(time.Second), u, s.tally.brief())
			lines = t + d/soakLines
		}
		if now.Sub(start) >= d {
			return list
		}
	}
	return list
}

// brief is the tally on half a line.
func (c *tally) brief() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d asked, %d answered, %d excused, %d lost", c.asked, c.answered, c.excused, c.lost)
}

// leastSamples is what it takes to tell a leak from the weather.
const leastSamples = 40

// checkFlat compares the last quarter of the samples with the second one, when
// all was warm.
func checkFlat(t *testing.T, list []usage) {
	n := len(list)
	if n < leastSamples || list[n-1].at.Sub(list[0].at) < time.Minute {
		t.Logf("%d samples: too few to tell a leak; see -soak.duration", n)
		return
	}
	early, late := list[n/4:n/2], list[n*3/4:]
	for _, c := range []struct {
		what  string
		of    func(usage) int
		slack int // beside a quarter
	}{
		{"heap", func(u usage) int { return u.heap }, 1 << 20},
		{"goroutines", func(u usage) int { return u.goroutines }, 40},
		{"descriptors", func(u usage) int { return u.files }, 40},
	} {
		a, b := median(early, c.of), median(late, c.of)
		t.Logf("%s: median %d in the second quarter, %d in the last", c.what, a, b)
		if b > a+a/4+c.slack {
			t.Errorf("%s: %d in the last quarter, %d in the second: it grows", c.what, b, a)
		}
	}
}

func median(list []usage, of func(usage) int) int {
	var v []int
	for _, u := range list {
		v = append(v, of(u))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// checkNothingLeft waits for goroutines and descriptors to be what they were.
func checkNothingLeft(t *testing.T, before usage) {
	var now usage
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if now = takeUsage(); now.goroutines <= before.goroutines && now.files <= before.files {
			t.Logf("before: %v; after: %v", before, now)
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	buf := make([]byte, 1<<20)
	t.Errorf("left after Close: %v, before: %v\n%s", now, before, buf[:runtime.Stack(buf, true)])
}
