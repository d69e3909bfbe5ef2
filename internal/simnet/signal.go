package simnet

import (
	"sync"
	"time"
)

// A signal wakes all who wait for a change of some state. It is protected by
// the mutex that protects the state. Unlike a sync.Cond its wait can end at a
// given time; unlike a mutex, waiting for it blocks durably in a bubble.
type signal struct {
	ch chan struct{} // nil while nobody waits
}

// broadcast wakes all who wait.
func (s *signal) broadcast() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// wait releases mu, waits for a broadcast or for the given time, whichever is
// first (a zero time is never), and takes mu again.
func (s *signal) wait(mu *sync.Mutex, until time.Time) {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	ch := s.ch
	mu.Unlock()
	defer mu.Lock()
	if until.IsZero() {
		<-ch
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ch:
	case <-timer.C:
	}
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// reached reports whether t, of which zero is never, is not after now.
func reached(t, now time.Time) bool {
	return !t.IsZero() && !t.After(now)
}
