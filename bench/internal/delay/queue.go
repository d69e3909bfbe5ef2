package delay

import (
	"container/heap"
	"io"
	"slices"
	"sync"
	"time"
)

// A Queue writes packets when they are due.
type Queue struct {
	w      io.Writer
	wake   chan struct{} // a packet became the first
	closed chan struct{}

	mu       sync.Mutex // protects what follows
	packets  packetHeap
	lastSeq  uint64
	lateness []time.Duration
}

type packet struct {
	due     time.Time
	seq     uint64 // packets due at the same instant leave in order
	data    []byte
	leaving func(now time.Time)
}

// NewQueue returns a queue that writes nothing until [Queue.Run].
func NewQueue(w io.Writer) *Queue {
	return &Queue{w: w, wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Put has a copy of data written after delay. Just before that, leaving is
// called, unless it is nil.
func (q *Queue) Put(data []byte, delay time.Duration, leaving func(now time.Time)) {
	data = slices.Clone(data)
	due := time.Now().Add(delay)
	q.mu.Lock()
	q.lastSeq++
	heap.Push(&q.packets, packet{due, q.lastSeq, data, leaving})
	first := q.packets[0].seq == q.lastSeq
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// Clear throws away the packets that are not yet due.
func (q *Queue) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.packets = nil
}

// Close ends Run. It must be called once only.
func (q *Queue) Close() { close(q.closed) }

// Run writes until a write fails, or until Close.
func (q *Queue) Run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p, wait := q.next(time.Now())
		var due <-chan time.Time // never, if there is none to wait for
		switch {
		case p.data != nil:
			if p.leaving != nil {
				p.leaving(time.Now())
			}
			if _, err := q.w.Write(p.data); err != nil {
				return
			}
			continue
		case wait > 0:
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-due:
		case <-q.wake:
		case <-q.closed:
			return
		}
	}
}

// next takes the first packet if it is due at now, or says how long to wait
// for it; 0 if there is none.
func (q *Queue) next(now time.Time) (p packet, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.packets) == 0 {
		return packet{}, 0
	}
	if wait := q.packets[0].due.Sub(now); wait > 0 {
		return packet{}, wait
	}
	p = heap.Pop(&q.packets).(packet)
	const maxSamples = 1 << 20
	if len(q.lateness) < maxSamples {
		q.lateness = append(q.lateness, now.Sub(p.due))
	}
	return p, 0
}

// Late says how far behind the plan packets left: how far a run can be trusted.
func (q *Queue) Late() (p50, p99 time.Duration) {
	q.mu.Lock()
	l := slices.Clone(q.lateness)
	q.mu.Unlock()
	if len(l) == 0 {
		return 0, 0
	}
	slices.Sort(l)
	return l[len(l)/2], l[len(l)*99/100]
}

// packetHeap implements heap.Interface.
type packetHeap []packet

func (h packetHeap) Len() int { return len(h) }

func (h packetHeap) Less(a, b int) bool {
	if h[a].due.Equal(h[b].due) {
		return h[a].seq < h[b].seq
	}
	return h[a].due.Before(h[b].due)
}

func (h packetHeap) Swap(a, b int) { h[a], h[b] = h[b], h[a] }

func (h *packetHeap) Push(x any) { *h = append(*h, x.(packet)) }

func (h *packetHeap) Pop() any {
	old := *h
	last := len(old) - 1
	p := old[last]
	old[last] = packet{} // let the data go
	*h = old[:last]
	return p
}
