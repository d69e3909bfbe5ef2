//go:build linux

package internet

import (
	"container/heap"
	"io"
	"slices"
	"sync"
	"time"
)

// delayQueue writes packets when they are due.
type delayQueue struct {
	w    io.Writer
	wake chan struct{} // a packet became the first

	mu       sync.Mutex // protects what follows
	packets  packetHeap
	lastSeq  uint64
	lateness []time.Duration
}

type packet struct {
	due  time.Time
	seq  uint64 // packets due at the same instant leave in order
	data []byte
}

func newDelayQueue(w io.Writer) *delayQueue {
	return &delayQueue{w: w, wake: make(chan struct{}, 1)}
}

// put has a copy of data written after delay.
func (q *delayQueue) put(data []byte, delay time.Duration) {
	data = slices.Clone(data)
	due := time.Now().Add(delay)
	q.mu.Lock()
	q.lastSeq++
	heap.Push(&q.packets, packet{due, q.lastSeq, data})
	first := q.packets[0].seq == q.lastSeq
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// run writes until a write fails.
func (q *delayQueue) run() {
	timer := time.NewTimer(time.Hour)
	for {
		p, wait := q.next(time.Now())
		switch {
		case p.data != nil:
			if _, err := q.w.Write(p.data); err != nil {
				return
			}
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-q.wake:
			}
		default:
			<-q.wake
		}
	}
}

// next takes the first packet if it is due at now, or says how long to wait
// for it; 0 if there is none.
func (q *delayQueue) next(now time.Time) (p packet, wait time.Duration) {
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

// late says how far behind the plan packets left: how far a run can be trusted.
func (q *delayQueue) late() (p50, p99 time.Duration) {
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
