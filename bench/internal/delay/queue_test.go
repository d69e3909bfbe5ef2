package delay

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// run runs f beside a queue and returns what that wrote.
func run(t *testing.T, f func(q *Queue)) (written string) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		var out bytes.Buffer
		q := NewQueue(&out)
		go q.Run()
		f(q)
		time.Sleep(time.Second)
		q.Close()
		synctest.Wait()
		written = out.String()
	})
	return written
}

func TestQueue_WritesInOrderOfTheirTime(t *testing.T) {
	var at []time.Duration
	written := run(t, func(q *Queue) {
		start := time.Now()
		leaving := func(now time.Time) { at = append(at, now.Sub(start)) }
		q.Put([]byte("d"), 30*ms, leaving)
		q.Put([]byte("b"), 10*ms, leaving)
		q.Put([]byte("c"), 10*ms, leaving)
		time.Sleep(5 * ms)
		q.Put([]byte("a"), 1*ms, leaving)
	})
	if written != "abcd" {
		t.Errorf("got %q", written)
	}
	if want := []time.Duration{6 * ms, 10 * ms, 10 * ms, 30 * ms}; !slices.Equal(at, want) {
		t.Errorf("after: got %v, want %v", at, want)
	}
}

func TestQueue_ClearForgetsWhatIsNotDue(t *testing.T) {
	written := run(t, func(q *Queue) {
		q.Put([]byte("a"), 0, nil)
		q.Put([]byte("b"), 20*ms, nil)
		time.Sleep(10 * ms)
		q.Clear()
		q.Put([]byte("c"), 30*ms, nil)
	})
	if written != "ac" {
		t.Errorf("got %q", written)
	}
}

func TestQueue_CloseEndsRun(t *testing.T) {
	synctest.Test(t, func(*testing.T) { // it fails if a goroutine is left
		q := NewQueue(new(bytes.Buffer))
		go q.Run()
		q.Put([]byte("a"), time.Hour, nil)
		synctest.Wait()
		q.Close()
	})
}
