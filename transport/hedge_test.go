package transport_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// dial connects to address and returns how long that took.
func (w *world) dial(address string) time.Duration {
	w.t.Helper()
	start := time.Now()
	c, err := w.tr.DialContext(context.Background(), "tcp", address)
	took := time.Since(start)
	if err != nil {
		w.t.Errorf("dial %s: %v", address, err)
		return took
	}
	c.Close()
	return took
}

// dialsAtOnce begins n dials, one each millisecond, and returns the times,
// from the first dial on, at which they have connected.
func (w *world) dialsAtOnce(n int, address string) []time.Duration {
	w.t.Helper()
	start, done := time.Now(), make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * ms)
			w.dial(address)
			done[i] = time.Since(start)
		})
	}
	wg.Wait()
	return done
}

// knownHost is a world with a host that was reached before, by its IPv6
// address 20 ms away. An attempt has 100 ms therefore.
func knownHost(t *testing.T, addrs []string, f func(w *world)) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", addrs...)
		for _, a := range []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"} {
			w.link(a, simnet.Link{RTT: 20 * ms})
		}
		w.serve(ok, "[2001:db8::1]:80", "192.0.2.1:80", "192.0.2.2:80")
		if got := w.dial("a.test:80"); got != 20*ms || w.dials("2001:db8::1") != 1 {
			t.Fatalf("the first dial took %v, and %d attempts over IPv6", got, w.dials("2001:db8::1"))
		}
		f(w)
	})
}

func TestHedge_OneAtATimeForAHost(t *testing.T) {
	knownHost(t, []string{"2001:db8::1", "192.0.2.1"}, func(w *world) {
		w.link("2001:db8::1", simnet.Link{RTT: 400 * ms}) // it has become slow
		w.link("192.0.2.1", simnet.Link{RTT: 400 * ms})
		for i, got := range w.dialsAtOnce(8, "a.test:80") {
			if want := 400*ms + time.Duration(i)*ms; got != want {
				t.Errorf("dial %d connected at %v, want %v", i, got, want)
			}
		}
		// Those that waited have learned meanwhile that it takes 400 ms.
		if six, four := w.dials("2001:db8::1")-1, w.dials("192.0.2.1"); six != 8 || four != 1 {
			t.Errorf("%d attempts over IPv6 and %d over IPv4, want 8 and 1", six, four)
		}
		if got := w.tr.Stats().Race.Hedges; got != 1 {
			t.Errorf("%d hedges, want 1", got)
		}
	})
}

func TestHedge_OneThatWinsReleasesTheOthers(t *testing.T) {
	knownHost(t, []string{"2001:db8::1", "192.0.2.1"}, func(w *world) {
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		for i, got := range w.dialsAtOnce(8, "a.test:80") {
			want := 140 * ms // 20 ms after the first
			if i == 0 {
				want = 120 * ms
			}
			if got != want {
				t.Errorf("dial %d connected at %v, want %v", i, got, want)
			}
		}
		if got := w.dials("192.0.2.1"); got != 8 {
			t.Errorf("%d attempts over IPv4, want 8", got)
		}
	})
}

func TestHedge_TheOthersBeginWithWhatItWonBy(t *testing.T) {
	knownHost(t, []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}, func(w *world) {
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		for i, got := range w.dialsAtOnce(4, "a.test:80") {
			want := 370 * ms // IPv6, 100 ms, the dead address, the default of 250 ms
			if i > 0 {
				want += 20 * ms
			}
			if got != want {
				t.Errorf("dial %d connected at %v, want %v", i, got, want)
			}
		}
		if dead, alive := w.dials("192.0.2.1"), w.dials("192.0.2.2"); dead != 1 || alive != 4 {
			t.Errorf("%d attempts at the dead address and %d at the other, want 1 and 4", dead, alive)
		}
	})
}

func TestHedge_PassesToAnotherDialWhenItsOwnIsCalledOff(t *testing.T) {
	knownHost(t, []string{"2001:db8::1", "192.0.2.1"}, func(w *world) {
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.link("192.0.2.1", simnet.Link{RTT: 30 * ms})
		ctx, cancel := context.WithTimeout(context.Background(), 110*ms)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if c, err := w.tr.DialContext(ctx, "tcp", "a.test:80"); err == nil {
				t.Errorf("connected to %v within 110 ms", c.RemoteAddr())
			}
		})
		time.Sleep(1 * ms)
		if got, want := w.dial("a.test:80"), 139*ms; got != want { // 109 ms, 30 ms
			t.Errorf("the second dial took %v, want %v", got, want)
		}
		wg.Wait()
	})
}

func TestHedge_DialsToOtherHostsDoNotWait(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.serve(ok, "192.0.2.1:80")
		var wg sync.WaitGroup
		for i := range 4 {
			host := fmt.Sprintf("h%d.test", i)
			w.host(host, "2001:db8::1", "192.0.2.1")
			wg.Go(func() {
				if got := w.dial(host + ":80"); got != 250*ms {
					t.Errorf("dial to %s took %v, want 250ms", host, got)
				}
			})
		}
		wg.Wait()
	})
}

// The safety net: a tenth of the dials and 20, and then an attempt has 1 s.
func TestHedge_Budget(t *testing.T) {
	inWorld(t, nil, transport.Options{DisableMemory: true}, func(w *world) {
		w.host("half.test", "2001:db8::1", "192.0.2.1")
		w.host("whole.test", "192.0.2.1")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.serve(ok, "192.0.2.1:80")
		takes := func(want time.Duration) {
			t.Helper()
			if got := w.dial("half.test:80"); got != want {
				t.Errorf("the dial took %v with %d hedges in %d dials, want %v", got, w.tr.Stats().Race.Hedges, w.tr.Stats().Dials, want)
			}
		}
		for range 22 {
			takes(250 * ms)
		}
		takes(time.Second) // 22 hedges in 23 dials
		for range 16 {
			w.dial("whole.test:80")
		}
		takes(250 * ms) // 23 hedges in 40 dials
		takes(time.Second)
		if got := w.tr.Stats().Race.Hedges; got != 25 {
			t.Errorf("%d hedges, want 25", got)
		}
	})
}

// A failure is no hedge, and needs no turn.
func TestHedge_AFailureIsNone(t *testing.T) {
	knownHost(t, []string{"2001:db8::1", "192.0.2.1"}, func(w *world) {
		w.link("2001:db8::1", simnet.Link{RTT: 20 * ms, Fault: simnet.Refuse})
		for i, got := range w.dialsAtOnce(4, "a.test:80") {
			if want := 40*ms + time.Duration(i)*ms; got != want {
				t.Errorf("dial %d connected at %v, want %v", i, got, want)
			}
		}
		if got := w.tr.Stats().Race.Hedges; got != 0 {
			t.Errorf("%d hedges, want none", got)
		}
	})
}
