package transport

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise/internal/hook"
)

// A HostState is what the circuit breaker does with requests to a host.
type HostState string

const (
	StateUp      HostState = "up"      // lets them through
	StateDown    HostState = "down"    // refuses them, since the host keeps failing
	StateProbing HostState = "probing" // has let one through, to see whether the host is back
	StatePaused  HostState = "paused"  // refuses them, since the host has asked for a pause
)

// worth is the place in a full table: 0 is the first to go.
func (s HostState) worth() int {
	if s == StateUp {
		return 0
	}
	return 1
}

// A HostChange is a change of a host's state, for BreakerOptions.OnChange.
type HostChange struct {
	Host     string // host:port, or what BreakerOptions.Key makes of it
	From, To HostState
	At       time.Time
	RetryAt  time.Time // when the next request may go; zero: at once
	Failures int       // in a row
	Last     error     // the failure that has tripped it; nil if none has
}

// changes hands changes to a hook of the user's, in their order and one after
// the other.
type changes[T any] struct {
	hook    func(T)
	calls   *hook.Group
	dropped atomic.Uint64

	mu    sync.Mutex // protects what follows
	queue []T
	busy  bool // somebody is in the hook, and will see to the queue
}

// maxChanges bounds those that wait for a hook that does not return: twice as
// many as one outage may bring about.
const maxChanges = 2 * maxBreakers

// add notes a change, to be told later: locks are held.
func (c *changes[T]) add(x T) {
	if c.hook == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= maxChanges {
		c.dropped.Add(1)
		return
	}
	c.queue = append(c.queue, x)
}

// tell calls the hook for what has been added. No lock is held.
func (c *changes[T]) tell() {
	if c.hook == nil {
		return
	}
	for {
		x, ok := c.next()
		if !ok {
			return
		}
		c.call(x)
	}
}

func (c *changes[T]) next() (x T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || len(c.queue) == 0 {
		return x, false
	}
	c.busy = true
	x, c.queue = c.queue[0], c.queue[1:]
	return x, true
}

func (c *changes[T]) call(x T) {
	_ = c.calls.Call(func() { c.hook(x) }) // which has counted a panic
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}
