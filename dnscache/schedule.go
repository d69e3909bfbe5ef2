package dnscache

import (
	"container/heap"
	"time"
)

// When the program, or the machine, has stood still, the answers that came
// meanwhile are read before anything is repeated or given up.
const (
	stoodStill = 100 * time.Millisecond
	catchUp    = 100 * time.Millisecond
)

// schedule orders the flights by the time of their next tick. One goroutine
// and one timer serve them all; Resolver.mu protects it.
type schedule []*flight

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].next.Before(s[j].next) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *schedule) Push(x any) {
	f := x.(*flight)
	f.index = len(*s)
	*s = append(*s, f)
}

func (s *schedule) Pop() any {
	old := *s
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	f.index = -1
	return f
}

// reschedule sets f's next tick. r.mu is held.
func (r *Resolver) reschedule(f *flight, next time.Time) {
	f.next = next
	if f.index < 0 {
		heap.Push(&r.schedule, f)
	} else {
		heap.Fix(&r.schedule, f.index)
	}
	if r.sleeping.IsZero() || next.Before(r.sleeping) {
		r.sleeping = next
		select {
		case r.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// runSchedule ticks the flights when they are due, until the resolver is
// closed.
func (r *Resolver) runSchedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var due []*flight
		wait := time.Duration(-1)
		var until time.Time
		now := time.Now()
		r.mu.Lock()
		if !r.timer.IsZero() && now.Sub(r.timer) > stoodStill {
			r.timer = time.Time{}
			r.mu.Unlock()
			time.Sleep(catchUp)
			continue
		}
		for len(r.schedule) > 0 {
			f := r.schedule[0]
			if f.next.After(now) {
				wait, until = f.next.Sub(now), f.next
				break
			}
			heap.Pop(&r.schedule)
			due = append(due, f)
		}
		r.sleeping, r.timer = until, until
		r.mu.Unlock()
		for _, f := range due {
			r.tick(f, now)
		}
		if len(due) > 0 {
			r.sendAllWaiting()
			continue // the ticks have taken time and set new times
		}
		timer.Stop()
		if wait >= 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
	}
}
