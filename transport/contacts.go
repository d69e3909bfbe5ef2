package transport

import (
	"context"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise/internal/failure"
)

// maxFirstContacts is the number of dials at a time to a host:port that has
// never answered; the others wait for the first verdict. Without it every
// worker of a crawler spends a connect time-out on the same dead host.
const maxFirstContacts = 2

// contacts holds the hosts being dialled for the first time.
type contacts struct {
	mu    sync.Mutex // protects what follows
	hosts map[string]*contact
}

type contact struct {
	dialing int
	waiting int
	news    chan struct{} // closed, and replaced, at each change
}

// enter waits until d may dial. It fails when its context ends first, when
// it is no longer wanted, or when the host's breaker trips meanwhile.
func (c *contacts) enter(ctx context.Context, d *dial) (leave func(), err error) {
	for {
		if d.permit != nil || d.t.history.Reached(d.key) {
			return func() {}, nil
		}
		c.mu.Lock()
		x := c.hosts[d.key]
		if x == nil {
			x = &contact{news: make(chan struct{})}
			c.hosts[d.key] = x
		}
		if x.dialing < maxFirstContacts {
			x.dialing++
			c.mu.Unlock()
			return func() { c.leave(d.key) }, nil
		}
		x.waiting++
		news := x.news
		c.mu.Unlock()

		select {
		case <-news:
		case <-ctx.Done():
			err = failure.Context(ctx)
		case <-d.unwanted():
			err = context.Canceled
		case <-d.t.closing:
			err = errClosed
		}

		c.mu.Lock()
		x.waiting--
		c.tidy(d.key, x)
		c.mu.Unlock()
		if err != nil {
			return nil, d.state.interrupted(err)
		}
		if down := d.t.breaker.refuses(d.key, time.Now()); down != nil {
			return nil, down
		}
	}
}

func (c *contacts) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.hosts[key]
	x.dialing--
	x.tell()
	c.tidy(key, x)
}

// changed wakes those who wait for the host: its breaker has tripped.
func (c *contacts) changed(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.hosts[key]; x != nil {
		x.tell()
	}
}

func (x *contact) tell() {
	close(x.news)
	x.news = make(chan struct{})
}

func (c *contacts) tidy(key string, x *contact) {
	if x.dialing == 0 && x.waiting == 0 {
		delete(c.hosts, key)
	}
}
