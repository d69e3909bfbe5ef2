package transport

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// Many hosts that refuse are no outage: a refusal takes a network.
func TestOutage_NotOfRefusals(t *testing.T) {
	inOutageTest(t, 50, Options{}, func(l *outageTest) {
		l.reach(0, 50)
		time.Sleep(time.Second)
		for i := range 40 {
			l.link(i, simnet.Refuse)
		}
		for range 5 {
			l.dials(0, 40)
		}
		l.down(false)
		if got := l.tr.Stats().HostsDown; got != 40 {
			t.Errorf("%d hosts down, want the 40 that have refused five times", got)
		}
	})
}

// Forty hosts fall silent for good, and the others live. Dead hosts that are
// asked first, again and again, do not keep the live ones from showing that the
// network is well.
func TestOutage_DeadHostsDoNotTakeTheTurnsOfLiveOnes(t *testing.T) {
	inOutageTest(t, 50, Options{}, func(l *outageTest) {
		l.reach(0, 50)
		time.Sleep(time.Second)
		for i := range 40 {
			l.link(i, simnet.BlackHole)
		}
		l.dials(0, 40)
		l.down(true)
		passes := 0
		for l.tr.Stats().Outage && passes < 60 {
			passes++
			for i := range 50 {
				go l.dial(i)
				synctest.Wait() // they ask in this order
			}
			time.Sleep(time.Second)
		}
		if passes > 2 {
			t.Errorf("it took %d passes, want 2 at most", passes)
		}
		l.down(false)
		time.Sleep(time.Minute)
	})
}

// A refusal because of the outage is no canary: it tells nothing.
func TestOutage_ARefusalConfirmsNothing(t *testing.T) {
	inOutageTest(t, 50, Options{}, func(l *outageTest) {
		l.begin()
		l.heal()
		l.tr.outage.mu.Lock()
		l.tr.outage.next[canaryGood] = time.Now().Add(time.Second)
		l.tr.outage.mu.Unlock()
		if got := hostwise.KindOf(l.dial(35)); got != hostwise.LocalOutage {
			t.Errorf("%s, want it refused", got)
		}
		l.tr.outage.mu.Lock()
		_, failed := l.tr.outage.hosts["h35.test"]
		l.tr.outage.mu.Unlock()
		if failed {
			t.Error("a host that was not tried has failed")
		}
	})
}

// For ever is a cool-down, too.
func TestBreaker_CoolDownForEver(t *testing.T) {
	for range 40 { // of which the jitter lengthens every other one
		inBreaker(t, func(b *breakerTest) {
			o := BreakerOptions{Cooldown: math.MaxInt64}
			if err := o.setDefaults(); err != nil {
				t.Fatal(err)
			}
			b.breaker = newBreaker(o, new(hook.Group))
			if retryAt := b.trip(false); time.Until(retryAt) < 80*365*24*time.Hour {
				t.Fatalf("down until %v", retryAt)
			}
		})
	}
}

// BreakerOptions.Key may ask the Transport, and panic, at any time.
func TestBreaker_KeyRunsUnderNoLock(t *testing.T) {
	var tr *Transport
	asks, panics := false, false
	o := Options{Breaker: BreakerOptions{Key: func(hostPort string) string {
		if asks {
			tr.Stats()
			tr.HostDown("other.test:80")
		}
		if panics {
			panic("a bug in Key")
		}
		return hostPort
	}}}
	o.Breaker.Key = once(o.Breaker.Key)
	inOutageTest(t, 2, o, func(l *outageTest) {
		tr = l.tr
		l.link(0, simnet.BlackHole)
		asks = true
		l.dial(0)
		asks, panics = false, true
		func() {
			defer func() { _ = recover() }()
			l.tr.failure("h0.test:80", &hostwise.ConnectError{Kind: hostwise.ConnectTimeout}, nil, time.Now(), 0, true)
		}()
		panics = false
		if err := l.dial(1); err != nil {
			t.Error(err)
		}
	})
}

// once keeps f from calling itself.
func once(f func(string) string) func(string) string {
	busy := false
	return func(s string) string {
		if busy {
			return s
		}
		busy = true
		defer func() { busy = false }()
		return f(s)
	}
}
