package happyeyeballs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// loses has IPv6 lose on a host of its own in the n-th network.
func (h *past) loses(n int) { h.race(fmt.Sprint("host", n), v6(n), v4(n)) }

// down is a past in which IPv6 has just gone down.
func down(t *testing.T) *past {
	h := newPast(t)
	for n := range 4 {
		h.loses(n)
	}
	h.isDown(IPv6, true)
	return h
}

func (h *past) isDown(f Family, want bool) {
	h.t.Helper()
	if got := h.Summary().Down[f]; got != want {
		h.t.Errorf("at %v: %v down: %v, want %v", h.now.Sub(epoch), f, got, want)
	}
}

// isCanary checks whether the next race to the host, which it returns, is to
// tell if IPv6 is back.
func (h *past) isCanary(host string, want bool) Plan {
	h.t.Helper()
	p := h.plan(host)
	if want && (!p.Canary[IPv6] || p.Prefer != IPv6 || p.Last[IPv6]) {
		h.t.Errorf("at %v: Plan = %+v, want a canary that begins with IPv6", h.now.Sub(epoch), p)
	}
	if !want && (p.Canary[IPv6] || p.Prefer != IPv4 || !p.Last[IPv6]) {
		h.t.Errorf("at %v: Plan = %+v, want IPv4 first and IPv6 last", h.now.Sub(epoch), p)
	}
	return p
}

func TestFamily_DownAfterFourLossesInARow(t *testing.T) {
	h := newPast(t)
	for n := range 3 {
		h.loses(n)
		h.isDown(IPv6, false)
	}
	h.loses(3)
	h.isDown(IPv6, true)
	if got, want := h.plan("new"), (Plan{Prefer: IPv4, Last: [2]bool{IPv6: true}}); got != want {
		t.Errorf("Plan = %+v, want %+v", got, want)
	}
	if s := h.Summary(); s.Changes != [2]int{IPv6: 1} || s.Down[IPv4] {
		t.Errorf("Summary = %+v, want one change, of IPv6", s)
	}
}

func TestFamily_TheSamePrefixDoesNotCountTwice(t *testing.T) {
	h := newPast(t)
	for i := range 20 {
		h.race(fmt.Sprint(i), netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::%x", i%3, i)), v4(i))
	}
	h.isDown(IPv6, false)
	h.loses(3)
	h.isDown(IPv6, true)
}

func TestFamily_AWinInBetweenResets(t *testing.T) {
	h := newPast(t)
	for n := range 20 {
		h.loses(n)
		if n%3 == 2 {
			h.race("six", v6(99))
		}
	}
	h.isDown(IPv6, false)
}

func TestFamily_DialsThatDoNotTryItInBetweenDoNotReset(t *testing.T) {
	h := newPast(t)
	for n := range 4 {
		h.loses(n)
		h.race("four", v4(99))
	}
	h.isDown(IPv6, true)
}

func TestFamily_IPv4GoesDownAsWell(t *testing.T) {
	h := newPast(t)
	for n := range 4 {
		h.race(fmt.Sprint(n), v4(n), v6(n))
	}
	h.isDown(IPv4, true)
	if got, want := h.Plan("new", IPv4, h.now), (Plan{Prefer: IPv6, Last: [2]bool{IPv4: true}}); got != want {
		t.Errorf("Plan = %+v, want %+v", got, want)
	}
}

func TestFamily_CanariesEveryTwoSecondsDoublingToAMinute(t *testing.T) {
	h := down(t)
	for i, interval := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		h.wait(interval*time.Second - 1)
		h.isCanary("new", false)
		h.wait(1)
		p := h.isCanary(fmt.Sprint("new", i), true)
		h.isCanary("other", false) // one at a time
		h.ends(fmt.Sprint("new", i), p, v6(i), v4(i))
	}
	if s := h.Summary(); s.Canaries != [2]int{IPv6: 7} || s.Changes != [2]int{IPv6: 1} {
		t.Errorf("Summary = %+v, want 7 canaries and one change", s)
	}
}

func TestFamily_AHostThatItLostOnIsNoCanary(t *testing.T) {
	h := down(t)
	h.wait(2 * time.Second)
	h.isCanary("host1", false)
	h.isCanary("new", true)
}

// A canary that has not ended does not keep others from flying.
func TestFamily_CanariesWithoutAnEnd(t *testing.T) {
	h := down(t)
	for range 3 {
		h.wait(2 * time.Second)
		h.isCanary("new", true)
	}
}

func TestFamily_ACanaryThatSaysNothingIsGivenBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ended Outcome
	}{
		{"the host has no address of the family", Outcome{Winner: v4(9)}},
		{"the other family won before this one's answer came", Outcome{Winner: v4(9), Began: [2]netip.Addr{IPv4: v4(8)}}},
		{"all addresses failed", Outcome{Began: [2]netip.Addr{}}},
		{"the dial was called off", Outcome{}},
	} {
		h := down(t)
		h.wait(2 * time.Second)
		h.Ended("a", h.isCanary("a", true), tt.ended, h.now)
		if got := h.Summary().Canaries[IPv6]; got != 0 {
			t.Errorf("%s: %d canaries are counted, want none", tt.name, got)
		}
		p := h.isCanary("b", true) // the next dial, and the interval is what it was
		h.ends("b", p, v6(9), v4(9))
		h.wait(4 * time.Second)
		h.isCanary("c", true)
	}
}

func TestFamily_TwoWinsMakeItHealthy(t *testing.T) {
	h := down(t)
	h.wait(2 * time.Second)
	h.ends("a", h.isCanary("a", true), v6(10))
	h.isDown(IPv6, true)
	p := h.isCanary("b", true) // at once
	h.isCanary("c", false)
	h.ends("b", p, v6(11))
	h.isDown(IPv6, false)
	h.prefers("c", IPv6)
	if s := h.Summary(); s.Changes != [2]int{IPv6: 2} || s.Canaries != [2]int{IPv6: 2} {
		t.Errorf("Summary = %+v, want 2 changes and 2 canaries", s)
	}
	for n := range 4 { // and it can go down again, with canaries as at first
		h.race(fmt.Sprint("again", n), v6(n), v4(n))
	}
	h.isDown(IPv6, true)
	h.wait(2*time.Second - 1)
	h.isCanary("d", false)
	h.wait(1)
	h.isCanary("d", true)
}

func TestFamily_ALossAfterTheFirstWinKeepsItDown(t *testing.T) {
	h := down(t)
	h.wait(2 * time.Second)
	h.ends("a", h.isCanary("a", true), v6(10))
	h.ends("b", h.isCanary("b", true), v6(11), v4(11))
	h.wait(4 * time.Second)
	h.ends("c", h.isCanary("c", true), v6(12))
	h.isDown(IPv6, true) // the first win does not count any more
}

// A last resort that wins is as good a sign as a canary.
func TestFamily_HostsOfItsOwnBringItBack(t *testing.T) {
	h := down(t)
	h.race("six", v6(10))
	h.race("six", v6(10))
	h.isDown(IPv6, false)
}

// If both families were down, neither could come last. The outcomes of races
// cannot lead there, since one family's losses are the other's wins; and if
// they did, the plan would be the ordinary one.
func TestFamily_BothAreNeverDown(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	h := newPast(t)
	changes := 0
	for i := range 20000 {
		host, a, b := fmt.Sprint(rng.IntN(200)), v6(rng.IntN(50)), v4(rng.IntN(50))
		p := h.Plan(host, Family(rng.IntN(2)), h.now)
		first, then := a, b
		if p.Prefer == IPv4 {
			first, then = b, a
		}
		lucky := Family(i / 100 % 2) // the families take turns to be broken
		switch {
		case rng.IntN(20) == 0:
			h.Ended(host, p, Outcome{}, h.now)
		case Of(first) == lucky || rng.IntN(10) == 0:
			h.ends(host, p, first)
		default:
			h.ends(host, p, first, then)
		}
		h.wait(time.Duration(rng.IntN(3000)) * ms)
		s := h.Summary()
		if s.Down == [2]bool{true, true} {
			t.Fatalf("both families are down after %d races", i+1)
		}
		changes = s.Changes[IPv6] + s.Changes[IPv4]
	}
	if changes < 100 {
		t.Errorf("%d changes: the test does not try hard", changes)
	}

	for f := range h.families {
		h.families[f].down = true
	}
	for _, prefer := range []Family{IPv6, IPv4} {
		if got, want := h.Plan("new", prefer, h.now), (Plan{Prefer: prefer}); got != want {
			t.Errorf("with both down, Plan = %+v, want %+v", got, want)
		}
	}
}
