package transport

import (
	"context"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise/internal/failure"
)

// A host:port that has never answered is dialled by two at a time, and the
// others wait for the first verdict: without that every worker of a crawler
// spends a connect time-out on the same dead host. Once the oldest dial has
// been without an answer for so long that its SYN was sent again (RFC 6298,
// section 2.1), there may be as many as it takes to call the host dead.
const (
	firstContacts = 2
	firstPatience = time.Second
)

// contacts holds the hosts for which somebody waits or that are dialled for
// the first time.
type contacts struct {
	breaker *breaker

	mu    sync.Mutex // protects what follows
	hosts map[string]*contact
}

type contact struct {
	dials   []time.Time // under way, by their start
	room    [firstContacts]time.Time
	waiting int
	news    chan struct{} // closed, and replaced, at each change
}

// enter waits until d may dial. It fails when its context ends first, when
// it is no longer wanted, or when the host's breaker trips meanwhile.
func (c *contacts) enter(ctx context.Context, d *dial) error {
	if d.permit != nil {
		return nil
	}
	if c.breaker.opt.Disable {
		return nil
	}
	key, shard := c.breaker.of(d.key)
	for {
		now := time.Now()
		most := c.breaker.limit(false)
		if most < 0 || d.t.history.Reached(d.key) {
			if _, down := c.breaker.look(key, shard, d.key, now); down != nil {
				return down
			}
			return nil
		}
		c.mu.Lock()
		failures, down := c.breaker.look(key, shard, d.key, now) // a dial that has left was charged before
		if down != nil {
			c.mu.Unlock()
			return down
		}
		x := c.get(d.key)
		later, ok := x.mayDial(most-failures, now)
		if ok {
			x.dials = append(x.dials, now)
			d.contact, d.contacted = x, now
			c.mu.Unlock()
			return nil
		}
		x.waiting++
		news := x.news
		c.mu.Unlock()

		var timer *time.Timer
		var due <-chan time.Time
		if later > 0 {
			timer = time.NewTimer(later)
			due = timer.C
		}
		var err error
		select {
		case <-news:
		case <-due:
		case <-ctx.Done():
			err = failure.Context(ctx)
		case <-d.unwanted():
			err = context.Canceled
		case <-d.t.closing:
			err = errClosed
		}
		if timer != nil {
			timer.Stop()
		}
		c.unwatch(d.key, x)
		if err != nil {
			return d.state.interrupted(err)
		}
	}
}

// mayDial says whether one more may dial, of most in all, or that it may look
// again later; 0: at the next news.
func (x *contact) mayDial(most int, now time.Time) (later time.Duration, ok bool) {
	n := len(x.dials)
	switch {
	case n == 0:
		return 0, true
	case n >= most:
		return 0, false
	case n < firstContacts:
		return 0, true
	}
	later = x.dials[0].Add(firstPatience).Sub(now)
	return max(later, 0), later <= 0
}

// leave ends d's dial, if it is one of those that count.
func (c *contacts) leave(d *dial) {
	x := d.contact
	if x == nil {
		return
	}
	d.contact = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, start := range x.dials {
		if start.Equal(d.contacted) {
			x.dials = append(x.dials[:i], x.dials[i+1:]...)
			break
		}
	}
	x.tell()
	c.tidy(d.key, x)
}

// watch returns a channel that is closed when there is news of the host.
func (c *contacts) watch(host string) (x *contact, news <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x = c.get(host)
	x.waiting++
	return x, x.news
}

func (c *contacts) unwatch(host string, x *contact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.waiting--
	c.tidy(host, x)
}

// changed wakes those who wait for the host, or for one that shares its
// breaker: that has tripped.
func (c *contacts) changed(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.breaker.opt.Key == nil {
		if x := c.hosts[host]; x != nil {
			x.tell()
		}
		return
	}
	for _, x := range c.hosts { // few, and they look for themselves
		x.tell()
	}
}

// get returns the host's contact, making it if need be. c.mu is held, as for
// what follows.
func (c *contacts) get(host string) *contact {
	x := c.hosts[host]
	if x == nil {
		x = &contact{news: make(chan struct{})}
		x.dials = x.room[:0]
		c.hosts[host] = x
	}
	return x
}

func (x *contact) tell() {
	close(x.news)
	x.news = make(chan struct{})
}

func (c *contacts) tidy(host string, x *contact) {
	if len(x.dials) == 0 && x.waiting == 0 {
		delete(c.hosts, host)
	}
}
