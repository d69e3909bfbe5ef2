package crawl

import (
	"sync"
	"sync/atomic"
	"time"
)

// frontier hands out URLs in order, at most perHost at a time to one host. A
// URL whose host is busy waits with its host and does not hold a worker.
type frontier struct {
	host    []int32 // of each URL
	perHost int
	wave    int // URLs become known in waves of this many, 0: all at once ...
	every   time.Duration

	dispatched atomic.Int64
	onDispatch func(n int) // called with mu held

	mu      sync.Mutex // protects what follows
	changed *sync.Cond
	known   int // URLs that are known by now
	next    int // the first URL that was not looked at
	active  map[int32]int
	waiting map[int32][]int // URLs of busy hosts
	nWait   int
	freed   []int // URLs whose host has a place again, oldest first
	end     time.Time
}

func newFrontier(p *Plan) *frontier {
	f := &frontier{
		host:       p.Host,
		perHost:    p.PerHost,
		wave:       p.Wave,
		every:      time.Duration(p.WaveMS) * time.Millisecond,
		onDispatch: func(int) {},
		waiting:    map[int32][]int{},
		active:     map[int32]int{},
	}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// start begins the waves, and ends the crawl after limit if it is not 0.
func (f *frontier) start(now time.Time, limit time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = len(f.host)
	if f.wave > 0 {
		f.known = min(f.wave, len(f.host))
		for k := 1; k*f.wave < len(f.host); k++ {
			time.AfterFunc(time.Until(now.Add(time.Duration(k)*f.every)), func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.known = min((k+1)*f.wave, len(f.host))
				f.changed.Broadcast()
			})
		}
	}
	if limit > 0 {
		f.end = now.Add(limit)
		time.AfterFunc(limit+time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.changed.Broadcast()
		})
	}
}

// take waits for a URL; false when there are no more.
func (f *frontier) take() (url int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if !f.end.IsZero() && time.Now().After(f.end) {
			return 0, false
		}
		if len(f.freed) > 0 {
			url := f.freed[0]
			f.freed = f.freed[1:]
			f.dispatch()
			return url, true
		}
		for f.next < f.known {
			url := f.next
			f.next++
			h := f.host[url]
			if f.active[h] >= f.perHost {
				f.waiting[h] = append(f.waiting[h], url)
				f.nWait++
				continue
			}
			f.active[h]++
			f.dispatch()
			return url, true
		}
		if f.nWait == 0 && f.known == len(f.host) {
			f.changed.Broadcast()
			return 0, false
		}
		f.changed.Wait()
	}
}

func (f *frontier) dispatch() {
	f.onDispatch(int(f.dispatched.Add(1)))
}

// done gives the place of a URL to the next one of its host.
func (f *frontier) done(url int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.host[url]
	q := f.waiting[h]
	if len(q) == 0 {
		f.active[h]--
		return
	}
	f.waiting[h] = q[1:]
	f.freed = append(f.freed, q[0])
	f.nWait--
	if f.nWait == 0 {
		f.changed.Broadcast()
	} else {
		f.changed.Signal()
	}
}
