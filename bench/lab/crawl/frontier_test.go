package crawl

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFrontier_BusyHostDoesNotHoldAWorker(t *testing.T) {
	f := newFrontier(&Plan{Host: []int32{7, 7, 7, 8, 7}, PerHost: 2})
	f.start(time.Now(), 0)
	take := func(want int) {
		t.Helper()
		if got, ok := f.take(); !ok || got != want {
			t.Fatalf("take: got %d %v, want %d", got, ok, want)
		}
	}
	take(0)
	take(1)
	take(3) // 2 waits for its host
	f.done(3)
	f.done(0)
	take(2)
	f.done(1)
	take(4)
	f.done(2)
	f.done(4)
	if got, ok := f.take(); ok {
		t.Errorf("take after the last URL: got %d", got)
	}
	if got := f.dispatched.Load(); got != 5 {
		t.Errorf("dispatched: got %d, want 5", got)
	}
}

func TestFrontier_KeepsTheLimitAndHandsOutEachURLOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Plan{PerHost: 3}
		for i := range 300 {
			p.Host = append(p.Host, int32(i%7*i%5))
		}
		f := newFrontier(p)
		var counted []int
		f.onDispatch = func(n int) { counted = append(counted, n) }
		f.start(time.Now(), 0)
		var mu sync.Mutex
		active := map[int32]int{}
		var taken []int
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for {
					url, ok := f.take()
					if !ok {
						return
					}
					mu.Lock()
					taken = append(taken, url)
					active[p.Host[url]]++
					if got := active[p.Host[url]]; got > p.PerHost {
						t.Errorf("requests to host %d: got %d, want at most %d", p.Host[url], got, p.PerHost)
					}
					mu.Unlock()
					time.Sleep(time.Duration(url%5) * time.Millisecond)
					mu.Lock()
					active[p.Host[url]]--
					mu.Unlock()
					f.done(url)
				}
			})
		}
		workers.Wait()
		slices.Sort(taken)
		for i := range taken {
			if taken[i] != i {
				t.Fatalf("URLs handed out: got %v", taken)
			}
			if counted[i] != i+1 {
				t.Fatalf("dispatch counts: got %v", counted)
			}
		}
		if len(taken) != len(p.Host) {
			t.Errorf("URLs handed out: got %d, want %d", len(taken), len(p.Host))
		}
	})
}

func TestFrontier_WavesBecomeKnownInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontier(&Plan{Host: []int32{1, 2, 3, 4, 5}, PerHost: 1, Wave: 2, WaveMS: 11_000})
		start := time.Now()
		f.start(start, 0)
		var got []time.Duration
		for {
			if _, ok := f.take(); !ok {
				break
			}
			got = append(got, time.Since(start))
		}
		want := []time.Duration{0, 0, 11 * time.Second, 11 * time.Second, 22 * time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("URLs handed out after: got %v, want %v", got, want)
		}
	})
}

func TestFrontier_HandsOutNothingAfterTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontier(&Plan{Host: []int32{1, 1}, PerHost: 1})
		start := time.Now()
		f.start(start, time.Minute)
		f.take()
		got, ok := f.take() // waits for its host, which is never done
		if ok {
			t.Errorf("take: got %d", got)
		}
		if got, want := time.Since(start), time.Minute+time.Millisecond; got != want {
			t.Errorf("take returned after %v, want %v", got, want)
		}
	})
}
