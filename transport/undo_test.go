package transport

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A state is what a user can see of a host.
type state struct {
	state    HostState
	failures int
	last     error
	since    time.Time
	opens    time.Time
	cooldown time.Duration
}

func (b *breaker) seen(host string) state {
	key, s := b.of(host)
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := s.hosts[key]
	if h == nil {
		return state{state: StateUp}
	}
	now := time.Now()
	return state{h.state(now), h.failures, h.last, h.since, h.opens(now), h.cooldown}
}

func TestBreaker_UndoPutsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBreaker(BreakerOptions{})
		fail := func(host string, n int, run uint64) {
			for range n {
				b.failure(host, time.Now(), errDown, time.Second, true, nil, run)
			}
		}
		probe := func(host string) *permit {
			t.Helper()
			time.Sleep(time.Until(b.seen(host).opens))
			p, down := b.allow(host, time.Now())
			if p == nil {
				t.Fatalf("no probe of %s: %v", host, down)
			}
			return p
		}
		fail("some.test:80", 4, 0)
		fail("down.test:80", 5, 0)
		fail("probed.test:80", 5, 0)
		fail("older.test:80", 5, 6)
		fail("recovered.test:80", 5, 0)
		before := map[string]state{}
		for _, host := range []string{"healthy.test:80", "some.test:80", "down.test:80", "older.test:80"} {
			before[host] = b.seen(host)
		}
		p := probe("probed.test:80")
		open := b.seen("probed.test:80")

		// The run: every host fails, one more than once, one as a probe.
		fail("healthy.test:80", 5, 7)
		fail("some.test:80", 1, 7)
		fail("down.test:80", 3, 7)
		fail("older.test:80", 1, 7)
		b.failure("probed.test:80", time.Now(), errDown, time.Second, true, p, 7)
		fail("recovered.test:80", 1, 7)
		b.success("recovered.test:80", nil)
		fail("recovered.test:80", 1, 0)
		if got := b.seen("probed.test:80"); got.cooldown != 2*open.cooldown {
			t.Fatalf("the failed probe has not doubled the cool-down: %+v", got)
		}
		if got := b.down(); got != 5 {
			t.Fatalf("%d hosts down, want 5", got)
		}

		b.undo(7)
		for host, want := range before {
			if got := b.seen(host); got != want {
				t.Errorf("%s is %+v, want %+v", host, got, want)
			}
		}
		if got := b.seen("probed.test:80"); got.state != StateDown || got.cooldown != open.cooldown || got.failures != open.failures || got.opens.After(time.Now()) {
			t.Errorf("probed host is %+v, want as before the probe: %+v", got, open)
		}
		if got := b.seen("recovered.test:80").failures; got != 1 {
			t.Errorf("a host that recovered in the run has %d failures, want the 1 since", got)
		}
		if got := b.size(); got != 5 {
			t.Errorf("%d entries, want 5: the healthy host has none", got)
		}

		// What was put back goes on as if nothing had been.
		fail("some.test:80", 1, 0)
		if got := b.seen("some.test:80").state; got != StateDown {
			t.Errorf("the fifth failure leaves the host %s", got)
		}
		if !b.failure("probed.test:80", time.Now(), errDown, 0, true, probe("probed.test:80"), 0) {
			t.Error("a probe after undo is not heard")
		}
		if got := b.seen("probed.test:80").cooldown; got != 2*open.cooldown {
			t.Errorf("cool-down of %v, want %v", got, 2*open.cooldown)
		}
		b.success("down.test:80", probe("down.test:80"))
		if got := b.seen("down.test:80").state; got != StateUp {
			t.Errorf("after a good probe the host is %s", got)
		}

		// Each run is undone by its own number, and once.
		was := b.seen("older.test:80")
		b.undo(6)
		b.undo(7)
		b.undo(0)
		if got := b.seen("older.test:80"); got != was {
			t.Errorf("another undo changes %+v to %+v", was, got)
		}
	})
}

// A probe that was let through before an undo is not the probe any more, and
// does not block the next.
func TestBreaker_UndoWithProbeUnderWay(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		time.Sleep(time.Until(b.trip(true)))
		p := b.probe()
		b.failure(host, time.Now(), errDown, 0, true, nil, 1) // of a request begun before
		b.undo(1)
		second := b.probe()
		if b.fail(true, p) {
			t.Error("the old probe trips the breaker")
		}
		b.release(p)
		b.down()
		b.success(host, second)
		b.up()
	})
}

// A pause is the host's own word, and not part of what an outage has charged.
func TestBreaker_UndoKeepsAPause(t *testing.T) {
	for _, before := range []int{0, 1} { // failures
		inBreaker(t, func(b *breakerTest) {
			until := time.Now().Add(time.Minute)
			b.pause(host, time.Now(), until, nil)
			for range before {
				b.failure(host, time.Now(), errDown, 0, true, nil, 0)
			}
			b.failure(host, time.Now(), errDown, 0, true, nil, 1) // of a request begun before
			b.undo(1)
			_, down := b.allow(host, time.Now())
			if down == nil || down.Kind != hostwise.HostPaused || !down.RetryAt.Equal(until) || down.Failures != before {
				t.Errorf("%v after undo, want a pause until %v and %d failures", down, until, before)
			}
			time.Sleep(time.Minute)
			b.up()
		})
	}
}

func TestBreaker_UndoOfAnOutage(t *testing.T) {
	b := newTestBreaker(BreakerOptions{})
	now := time.Now()
	const hosts = 2000
	for i := range hosts * 3 {
		b.failure(fmt.Sprintf("h%d.test:443", i%hosts), now, errDown, 0, false, nil, 1)
	}
	if got := b.down(); got != hosts {
		t.Fatalf("%d hosts down, want %d", got, hosts)
	}
	if got := b.undo(1); got != hosts {
		t.Errorf("%d hosts put back, want %d", got, hosts)
	}
	if down, size := b.down(), b.size(); down != 0 || size != 0 {
		t.Errorf("%d hosts down and %d entries after undo, want none", down, size)
	}
}
