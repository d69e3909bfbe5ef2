package transport

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/sony/gobreaker/v2"
)

// An addressesTest drives the ledger for one address.
type addressesTest struct {
	*testing.T
	*addresses
}

var (
	parked  = netip.MustParseAddrPort("192.0.2.1:80")
	errLost = errors.New("i/o timeout")
)

func inAddresses(t *testing.T, f func(l *addressesTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&addressesTest{t, newAddresses()}) })
}

// lose has a connect for a name time out now, without an answer meanwhile.
func (l *addressesTest) lose(name string, p *addressProbe) {
	l.timedOut(parked, name, l.answers(parked), time.Now(), errLost, p)
}

// silence makes the address silent and returns when to retry.
func (l *addressesTest) silence() time.Time {
	l.Helper()
	for _, name := range []string{"a", "b", "c"} {
		l.lose(name, nil)
	}
	return l.down().RetryAt
}

func (l *addressesTest) down() *hostwise.HostDownError {
	l.Helper()
	p, down := l.allow(parked, time.Now(), true)
	if down == nil || p != nil {
		l.Fatalf("at %v the address is not silent", time.Now())
	}
	return down
}

func (l *addressesTest) up() {
	l.Helper()
	if p, down := l.allow(parked, time.Now(), true); p != nil || down != nil {
		l.Fatalf("allow = %v, %v, want an open way", p, down)
	}
}

func (l *addressesTest) takeProbe() *addressProbe {
	l.Helper()
	if p, down := l.allow(parked, time.Now(), false); p != nil || down != nil {
		l.Fatalf("allow without a probe = %v, %v, want neither", p, down)
	}
	p, down := l.allow(parked, time.Now(), true)
	if p == nil {
		l.Fatalf("no probe at %v: %v", time.Now(), down)
	}
	return p
}

func TestAddresses_SilentAfterThreeNames(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		time.Sleep(time.Minute)
		for range 5 {
			l.lose("a", nil)
		}
		l.lose("b", nil)
		l.up()
		if got := l.silent(); got != 0 {
			t.Errorf("%d silent addresses after two names, want none", got)
		}
		time.Sleep(time.Hour)
		since := time.Now()
		l.lose("c", nil)
		time.Sleep(time.Second)
		e := l.down()
		if e.Kind != hostwise.HostDown || !e.Since.Equal(since) || e.Failures != 7 || e.Last != errLost || !errors.Is(e, gobreaker.ErrOpenState) {
			t.Errorf("error = %#v, want 7 failures, silent since %v", e, since)
		}
		if got := l.silent(); got != 1 {
			t.Errorf("%d silent addresses, want 1", got)
		}
		if p, down := l.allow(netip.MustParseAddrPort("192.0.2.1:443"), since, true); p != nil || down != nil {
			t.Error("another port of the address is silent, too")
		}
		l.answered(parked)
		l.up()
		l.lose("a", nil)
		l.lose("b", nil)
		l.up() // it begins anew
		l.answered(parked)
		if got := l.entries(); got != 0 {
			t.Errorf("%d entries for an address that answers", got)
		}
	})
}

// Connects that time out do not count if another one, under way at the same
// time, was answered.
func TestAddresses_AnAnswerMeanwhileExcuses(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		for i := range 20 {
			began := l.answers(parked)
			l.answered(parked)
			l.timedOut(parked, fmt.Sprint(i), began, time.Now(), errLost, nil)
		}
		l.up()
		if got := l.entries(); got != 0 {
			t.Errorf("%d entries, want none", got)
		}
		l.silence()
	})
}

// 30 s, doubling to an hour, each a tenth longer or shorter.
func TestAddresses_CoolDownDoubles(t *testing.T) {
	var first []time.Duration
	for range 50 {
		inAddresses(t, func(l *addressesTest) {
			retryAt := l.silence()
			first = append(first, time.Until(retryAt))
			for _, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1920, 3600, 3600} {
				want *= time.Second
				got := time.Until(retryAt)
				if most := min(want+want/10, time.Hour); got < want-want/10 || got > most {
					t.Fatalf("cool-down of %v, want %v ± 10 %%, at most an hour", got, want)
				}
				l.lose("late", nil) // begun before: it does not extend
				time.Sleep(got - 1)
				l.down()
				time.Sleep(time.Nanosecond)
				l.lose("d", l.takeProbe())
				retryAt = l.down().RetryAt
			}
		})
	}
	if slices.Max(first)-slices.Min(first) < 2*time.Second {
		t.Errorf("fifty addresses cool down for %v: no jitter", first)
	}
}

func TestAddresses_OneProbe(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		time.Sleep(time.Until(l.silence()))
		lost := l.takeProbe()
		if got, want := l.down().RetryAt, time.Now().Add(time.Minute); !got.Equal(want) {
			t.Errorf("RetryAt = %v, want the end of the probe's time, %v", got, want)
		}
		time.Sleep(time.Minute - 1)
		l.down()
		time.Sleep(time.Nanosecond)
		second := l.takeProbe() // nobody has reported on the first
		l.lose("d", lost)
		l.release(lost)
		if got, want := l.down().RetryAt, time.Now().Add(time.Minute); !got.Equal(want) {
			t.Errorf("RetryAt = %v, want the end of the second probe's time, %v", got, want)
		}
		l.release(second) // it has found out nothing
		third := l.takeProbe()
		l.answered(parked)
		l.up()
		l.release(third)
		l.lose("d", third) // from before
		l.up()
	})
}

func TestAddresses_ForgetSince(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		l.lose("a", nil)
		l.lose("b", nil)
		time.Sleep(time.Minute)
		outage := time.Now()
		l.lose("a", nil) // was charged before
		l.lose("c", nil)
		l.down()
		l.forgetSince(outage)
		l.up()
		l.lose("d", nil)
		retryAt := l.down().RetryAt // two names and this one

		time.Sleep(time.Until(retryAt))
		outage = time.Now()
		l.lose("d", l.takeProbe())
		l.down()
		l.forgetSince(outage)
		l.lose("e", l.takeProbe()) // at once
		if got := time.Until(l.down().RetryAt); got > 66*time.Second {
			t.Errorf("cool-down of %v, want 60s: the outage's probe is forgotten", got)
		}
		l.forgetSince(time.Time{})
		l.up()
		if got := l.entries(); got != 0 {
			t.Errorf("%d entries after all is forgotten", got)
		}
	})
}

func TestAddresses_TableIsBounded(t *testing.T) {
	const quiet, failing = 1000, 20_000
	l := newAddresses()
	now := time.Now()
	address := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
	}
	for i := range quiet + failing {
		for n := range silentAfter {
			if n == 0 || i < quiet {
				l.timedOut(address(i), fmt.Sprint(n), 0, now.Add(time.Duration(i)), errLost, nil)
			}
		}
	}
	l.tidy(t)
	if got := l.entries(); got != maxAddresses {
		t.Errorf("%d entries, want %d", got, maxAddresses)
	}
	if got := l.silent(); got < quiet*95/100 {
		t.Errorf("%d of %d silent addresses are still known", got, quiet)
	}
	old := 0
	for i := range failing / 10 {
		if l.silences[address(quiet+i)] != nil {
			old++
		}
	}
	t.Logf("%d of %d silent ones left, and of the oldest %d others %d", l.silent(), quiet, failing/10, old)
	if old > failing/10*3/4 {
		t.Errorf("%d of the oldest %d are left, want the old ones to make room", old, failing/10)
	}
}

func (l *addresses) entries() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.silences)
}

// tidy checks that the slots know of the entries.
func (l *addresses) tidy(t *testing.T) {
	t.Helper()
	counted := map[*addressSlot]int32{}
	for a := range l.silences {
		counted[l.slot(a)]++
	}
	for i := range l.slots {
		if s := &l.slots[i]; s.entries.Load() != counted[s] {
			t.Errorf("slot %d counts %d entries, has %d", i, s.entries.Load(), counted[s])
		}
	}
}

func TestAddresses_ConcurrentUse(t *testing.T) {
	l := newAddresses()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 3000 {
				a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n % 7)}), 80)
				now := time.Now().Add(time.Duration(n) * time.Second)
				p, down := l.allow(a, now, n%2 == 0)
				switch {
				case down != nil:
					_ = down.Error()
				case (n+i)%29 == 0:
					l.answered(a)
				case p != nil && n%3 == 0:
					l.release(p)
				default:
					l.timedOut(a, fmt.Sprint(n%5), l.answers(a), now, io.EOF, p)
				}
				if n%500 == 0 {
					l.silent()
					l.forgetSince(now)
				}
			}
		})
	}
	wg.Wait()
	l.tidy(t)
	if got := l.entries(); got > 7 {
		t.Errorf("%d entries for 7 addresses", got)
	}
}

// BenchmarkAddresses_Healthy is what the ledger costs a dial to an address
// that answers: asking twice, and taking note of the answer.
func BenchmarkAddresses_Healthy(b *testing.B) {
	for _, entries := range []int{0, 100, maxAddresses} {
		l := newAddresses()
		now := time.Now()
		for i := range entries {
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)
			l.timedOut(a, "a", 0, now, errLost, nil)
		}
		a := netip.MustParseAddrPort("198.51.100.1:443")
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, entries), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
			b.Run(fmt.Sprintf("%s/%d/parallel", name, entries), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						f()
					}
				})
			})
		}
		run("ask", func() {
			if _, down := l.allow(a, now, true); down != nil {
				b.Fatal(down)
			}
		})
		run("answered", func() { l.answered(a) })
	}
}
