package transport

import (
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// rateWindow is the time spent waiting over which Options.MinBodyRate counts.
const rateWindow = time.Minute

// A pace is what is asked of the sender of a body. It knows only the time in
// which a read has waited: a caller may be as slow as it likes.
type pace struct {
	idle  time.Duration // the longest wait for a byte; 0: no bound
	least int64         // bytes in each rateWindow; 0: no bound

	waited time.Duration // in this window
	got    int64         // in it
}

func (o *Options) pace() pace {
	return pace{idle: o.IdleBodyTimeout, least: min(int64(o.MinBodyRate), math.MaxInt64/int64(rateWindow/time.Second)) * int64(rateWindow/time.Second)}
}

// patience is how long the next read may wait; 0: for ever.
func (p *pace) patience() time.Duration {
	if p.least == 0 {
		return p.idle
	}
	left := max(1, rateWindow-p.waited)
	if p.idle > 0 {
		return min(p.idle, left)
	}
	return left
}

// came notes what a read has brought, after which time. A window begins anew
// when its bytes are there.
func (p *pace) came(n int, after time.Duration) {
	p.waited += after
	p.got += int64(n)
	if p.got >= p.least {
		p.waited, p.got = 0, 0
	}
}

// tooSlow says what was missed by a read whose patience that was.
func (p *pace) tooSlow(patience time.Duration) error {
	if patience == p.idle {
		return fmt.Errorf("no byte for %v: %w", p.idle, os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("%d bytes in %v, less than %d: %w", p.got, rateWindow, p.least, os.ErrDeadlineExceeded)
}

// readTimers keeps the timers of bodies for the next: a timer and its function
// are two allocations.
type readTimers struct{ free sync.Pool }

// A readTimer ends a read of a body that waits too long. It is begun anew not by
// each read, which takes as long as a short one, but when it has run out and
// there was another read meanwhile.
type readTimer struct {
	timer *time.Timer
	body  atomic.Pointer[body]
	armed atomic.Bool
}

func (p *readTimers) start(b *body) *readTimer {
	t, _ := p.free.Get().(*readTimer)
	if t == nil {
		t = &readTimer{}
		t.timer = time.AfterFunc(rateWindow, t.fire)
		t.timer.Stop()
	}
	t.body.Store(b)
	return t
}

// arm has the timer look in d at the latest.
func (t *readTimer) arm(d time.Duration) {
	if !t.armed.Swap(true) {
		t.timer.Reset(d)
	}
}

func (t *readTimer) fire() {
	b := t.body.Load()
	t.armed.Store(false) // a read that begins from now on arms it
	if b == nil {        // stopped, and armed by a read beside it
		return
	}
	for {
		until := b.until.Load()
		if until == 0 {
			return
		}
		if left := time.Duration(until) - time.Since(b.since); left > 0 {
			t.arm(left)
			return
		}
		if b.until.CompareAndSwap(until, until) { // still the same read
			b.stall()
			return
		}
	}
}

// stop keeps t, unless it runs.
func (p *readTimers) stop(t *readTimer) {
	if t.timer.Stop() {
		t.body.Store(nil)
		t.armed.Store(false)
		p.free.Put(t)
	}
}
