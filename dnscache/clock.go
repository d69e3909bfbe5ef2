package dnscache

import (
	"sync/atomic"
	"time"
)

const (
	clockTick = 20 * time.Millisecond // the most that the kept time is behind
	clockBusy = 256                   // readings within a tick that make it worth keeping the time
	clockIdle = 50                    // ticks without a reading, after which it is no longer kept
)

// clock tells the time in nanoseconds since its start. While it is read very
// often a goroutine keeps the time in memory, since asking the system costs
// more than the rest of a cache hit.
type clock struct {
	start time.Time
	kept  atomic.Int64 // the time; 0 when it is not kept
	read  atomic.Bool  // kept was read since the last tick
	asked atomic.Int64 // readings that asked the system
	since atomic.Int64 // time of the last full clockBusy of these
}

// exact returns the time now.
func (c *clock) exact() int64 { return int64(time.Since(c.start)) }

// of returns what the clock says at t.
func (c *clock) of(t time.Time) int64 { return int64(t.Sub(c.start)) }

// at returns what the clock calls ns.
func (c *clock) at(ns int64) time.Time { return c.start.Add(time.Duration(ns)) }

// coarse returns the kept time, which is at most a tick late; 0 when it is not
// kept.
func (c *clock) coarse() int64 {
	t := c.kept.Load()
	if t != 0 && !c.read.Load() {
		c.read.Store(true)
	}
	return t
}

// ask returns the time now, for want of a kept one. busy tells the caller to
// start keep.
func (c *clock) ask() (now int64, busy bool) {
	now = c.exact()
	if c.asked.Add(1)%clockBusy == 0 {
		last := c.since.Swap(now)
		busy = now-last < int64(clockTick) && c.kept.CompareAndSwap(0, now)
	}
	return now, busy
}

// keep keeps the time until nobody reads it any more, or done is closed.
func (c *clock) keep(done <-chan struct{}) {
	defer c.kept.Store(0)
	tick := time.NewTicker(clockTick)
	defer tick.Stop()
	for idle := 0; idle < clockIdle; idle++ {
		c.kept.Store(c.exact())
		if c.read.Swap(false) {
			idle = 0
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}
