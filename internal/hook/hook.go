// Package hook calls functions of the user's: whatever they do, the goroutine
// that needs them, and what it holds, are not lost.
package hook

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A Fault is the error of what a function of the user's did not return from. It
// does not unwrap to the value of the panic: what is in it has happened to no
// host.
type Fault struct{ text string }

func (f *Fault) Error() string { return f.text }

// ErrGoexit is that it has ended its goroutine (runtime.Goexit, as by
// t.FailNow).
var ErrGoexit error = &Fault{"a function of the caller's has ended the goroutine"}

// IsFault reports whether err is a Fault.
func IsFault(err error) bool {
	_, ok := errors.AsType[*Fault](err)
	return ok
}

// A Group is the functions of one owner. It counts the calls that did not
// return. The zero value is ready.
type Group struct {
	n     atomic.Uint64
	first atomic.Pointer[string]

	mu      sync.Mutex    // protects what follows
	running int           // queues with something to call
	idle    chan struct{} // closed when there are none; nil: nobody waits for that
}

// Count is the number of functions that have panicked or ended their
// goroutine, and first what the first of them did, with its stack.
func (g *Group) Count() (n uint64, first string) {
	if s := g.first.Load(); s != nil {
		first = *s
	}
	return g.n.Load(), first
}

// Recovered counts a call that did not return, and makes the error of it;
// value is what recover returns, in the function that was deferred.
func (g *Group) Recovered(value any) error {
	g.n.Add(1)
	err := ErrGoexit
	if value != nil {
		err = &Fault{fmt.Sprintf("a function of the caller's has panicked: %v", value)}
	}
	if g.first.Load() == nil {
		first := err.Error() + "\n" + string(debug.Stack())
		g.first.CompareAndSwap(nil, &first)
	}
	return err
}

// Call runs f on a goroutine of its own and waits for it: nothing else keeps
// runtime.Goexit from ending the caller's. An error says that f has not
// returned.
func (g *Group) Call(f func()) error { return <-g.Go(f) }

// Go is Call for those who may not wait until the end.
func (g *Group) Go(f func()) <-chan error {
	done := make(chan error, 1)
	go func() {
		returned := false
		defer func() {
			var err error
			if !returned {
				err = g.Recovered(recover())
			}
			done <- err
		}()
		f()
		returned = true
	}()
	return done
}

// A Queue calls functions of the user's one after the other, in the order
// they were added, on a goroutine that lives while there is something to call.
type Queue struct {
	Group *Group
	Max   int // that wait; beyond it they are dropped. 0: no bound

	mu      sync.Mutex // protects what follows
	calls   []func()
	busy    bool // a goroutine sees to them
	dropped atomic.Uint64
}

// Add has f called. It never blocks.
func (q *Queue) Add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.Max > 0 && len(q.calls) >= q.Max {
		q.dropped.Add(1)
		return
	}
	q.calls = append(q.calls, f)
	if !q.busy {
		q.busy = true
		q.Group.add(+1)
		go q.run()
	}
}

// Dropped is the number of calls that there was no room for.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// run calls what there is. After a Goexit another goroutine goes on.
func (q *Queue) run() {
	for f := q.next(); f != nil; f = q.next() {
		q.call(f)
	}
}

func (q *Queue) call(f func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		_ = q.Group.Recovered(value)
		if value == nil {
			go q.run()
		}
	}()
	f()
	returned = true
}

func (q *Queue) next() (f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.calls) == 0 {
		q.calls, q.busy = nil, false
		q.Group.add(-1)
		return nil
	}
	f, q.calls[0] = q.calls[0], nil
	q.calls = q.calls[1:]
	return f
}

func (g *Group) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running += n; g.running == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Wait waits until the queues have nothing left to call, for d at most: the
// caller may be in one of the calls.
func (g *Group) Wait(d time.Duration) {
	g.mu.Lock()
	if g.running == 0 {
		g.mu.Unlock()
		return
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}
