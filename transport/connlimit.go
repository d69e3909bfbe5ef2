package transport

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise/internal/failure"
)

// makeRoomEvery is how often a full connLimit has idle connections closed.
const makeRoomEvery = time.Second

// connLimit bounds the connections of a Transport.
type connLimit struct {
	slots  chan struct{} // nil: no bound
	open   atomic.Int64
	roomAt atomic.Int64 // Unix nanoseconds: when idle connections were last closed
}

func newConnLimit(n int) *connLimit {
	l := &connLimit{}
	if n > 0 {
		l.slots = make(chan struct{}, n)
	}
	return l
}

// acquire waits for room for one more connection. The inner transport keeps
// at most half of the room for idle HTTP/1 connections, the least recently
// used giving way, but counts no HTTP/2 connections: so that idle ones do not
// fill the room for good, they are closed while somebody waits.
func (l *connLimit) acquire(ctx context.Context, t *Transport) error {
	for !l.tryAcquire() {
		now := time.Now().UnixNano()
		if last := l.roomAt.Load(); now-last >= int64(makeRoomEvery) && l.roomAt.CompareAndSwap(last, now) {
			t.inner.CloseIdleConnections()
		}
		select {
		case l.slots <- struct{}{}:
			l.open.Add(1)
			return nil
		case <-time.After(makeRoomEvery):
		case <-ctx.Done():
			return failure.Context(ctx)
		case <-t.closing:
			return errClosed
		}
	}
	return nil
}

func (l *connLimit) tryAcquire() bool {
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
		default:
			return false
		}
	}
	l.open.Add(1)
	return true
}

func (l *connLimit) release() {
	l.open.Add(-1)
	if l.slots != nil {
		<-l.slots
	}
}
