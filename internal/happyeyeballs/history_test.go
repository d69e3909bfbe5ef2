package happyeyeballs

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// v6 and v4 are addresses of the n-th network.
func v6(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::1", n)) }
func v4(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(n), 1}) }

// A past is a History with a clock, to be told what races came to.
type past struct {
	*History
	t   *testing.T
	now time.Time
}

func newPast(t *testing.T) *past { return &past{NewHistory(), t, epoch} }

func (h *past) wait(d time.Duration) { h.now = h.now.Add(d) }

func (h *past) plan(host string) Plan { return h.Plan(host, IPv6, h.now) }

// ends records the outcome of a race that has just been planned. tried are
// the addresses in the order of their starts; the winner is the last.
func (h *past) ends(host string, p Plan, tried ...netip.Addr) {
	o := Outcome{Winner: tried[len(tried)-1]}
	for _, a := range tried[:len(tried)-1] {
		if f := Of(a); !o.Began[f].IsValid() {
			o.Began[f] = a
		}
	}
	h.Ended(host, p, o, h.now)
}

// race plans a race and records its outcome.
func (h *past) race(host string, tried ...netip.Addr) { h.ends(host, h.plan(host), tried...) }

// prefers checks the family that a race to the host begins with.
func (h *past) prefers(host string, want Family) {
	h.t.Helper()
	if got := h.plan(host).Prefer; got != want {
		h.t.Errorf("at %v: the race to %s begins with %v, want %v", h.now.Sub(epoch), host, got, want)
	}
}

func TestHistory_KnowsNothingAtFirst(t *testing.T) {
	h := newPast(t)
	for _, prefer := range []Family{IPv6, IPv4} {
		if got, want := h.Plan("a", prefer, epoch), (Plan{Prefer: prefer}); got != want {
			t.Errorf("Plan = %+v, want %+v", got, want)
		}
	}
	if h.Reached("a") {
		t.Error("a host was reached before the first race")
	}
}

func TestHistory_TheLastWinnerComesFirst(t *testing.T) {
	h := newPast(t)
	h.race("a", v6(1))
	h.race("a", v6(1), v6(2))
	if got := h.plan("a").First; got != v6(2) {
		t.Errorf("First = %v, want %v", got, v6(2))
	}
	if got := h.plan("b").First; got.IsValid() {
		t.Errorf("First = %v of another host", got)
	}
	if !h.Reached("a") || h.Reached("b") {
		t.Error("Reached is wrong")
	}
}

func TestHistory_TheLoserComesSecondForTenMinutes(t *testing.T) {
	h := newPast(t)
	h.race("a", v6(1), v4(1))
	h.prefers("a", IPv4)
	h.prefers("b", IPv6)
	h.wait(10*time.Minute - 1)
	h.prefers("a", IPv4)
	h.wait(1)
	h.prefers("a", IPv6)
}

func TestHistory_IPv4MayLoseAsWell(t *testing.T) {
	h := newPast(t)
	h.race("a", v4(1), v6(1))
	if got := h.Plan("a", IPv4, h.now).Prefer; got != IPv6 {
		t.Errorf("the race begins with %v, want IPv6", got)
	}
	h.wait(10 * time.Minute)
	if got := h.Plan("a", IPv4, h.now).Prefer; got != IPv4 {
		t.Errorf("the race begins with %v, want IPv4", got)
	}
}

func TestHistory_TheTermDoublesToSixHours(t *testing.T) {
	h := newPast(t)
	for _, term := range []time.Duration{10, 20, 40, 80, 160, 320, 360, 360} {
		h.prefers("a", IPv6)
		h.race("a", v6(1), v4(1))
		h.wait(term*time.Minute - 1)
		h.prefers("a", IPv4)
		h.wait(1)
	}
}

func TestHistory_ABurstOfLossesIsOneLoss(t *testing.T) {
	h := newPast(t)
	p := h.plan("a")
	for range 8 {
		h.ends("a", p, v6(1), v4(1))
	}
	h.wait(10 * time.Minute)
	h.prefers("a", IPv6)
}

func TestHistory_AWinResetsTheTerm(t *testing.T) {
	h := newPast(t)
	for range 3 {
		h.race("a", v6(1), v4(1))
		h.wait(time.Hour)
	}
	h.race("a", v6(1))
	h.prefers("a", IPv6)
	h.race("a", v6(1), v4(1))
	h.wait(10 * time.Minute)
	h.prefers("a", IPv6)
}

func TestHistory_AWinWithinTheTermEndsIt(t *testing.T) {
	h := newPast(t)
	h.race("a", v6(1), v4(1))
	h.race("a", v6(1)) // IPv4 is gone
	h.prefers("a", IPv6)
}

func TestHistory_TheOtherLosingTurnsTheOrder(t *testing.T) {
	h := newPast(t)
	h.race("a", v6(1), v4(1))
	h.race("a", v4(1), v6(1))
	h.prefers("a", IPv6)
	h.race("a", v6(1), v4(1))
	h.wait(10 * time.Minute) // a first term
	h.prefers("a", IPv6)
}

// A family loses by being tried first and overtaken, not by being tried.
func TestHistory_OnlyWhoBeganCanLose(t *testing.T) {
	h := newPast(t)
	for n := range 8 {
		h.race("a", v4(n))          // alone
		h.race("b", v4(n), v4(n+1)) // an address of the same family lost
		h.race("c", v6(n), v6(n+1))
	}
	h.prefers("a", IPv6)
	h.prefers("b", IPv6)
	h.prefers("c", IPv6)
	if s := h.Summary(); s.Down != [2]bool{} {
		t.Errorf("down: %v", s.Down)
	}
}

func TestHistory_AHostThatFailsTeachesNothing(t *testing.T) {
	h := newPast(t)
	h.race("a", v6(1), v4(1))
	before := h.plan("a")
	for n := range 9 {
		for _, host := range []string{"a", fmt.Sprint("dead", n)} {
			p := h.plan(host)
			h.Ended(host, p, Outcome{Began: [2]netip.Addr{v6(n), v4(n)}}, h.now)
		}
	}
	if got := h.plan("a"); got != before {
		t.Errorf("Plan = %+v, want %+v as before", got, before)
	}
	if s := h.Summary(); s.Down != [2]bool{} || s.Hosts != 1 {
		t.Errorf("Summary = %+v, want one host and nothing down", s)
	}
}

func TestFlush(t *testing.T) {
	h := newPast(t)
	for n := range 4 {
		h.race(fmt.Sprint(n), v6(n), v4(n))
	}
	for range 20 {
		h.Measured(v6(1), 80*ms, h.now)
	}
	if s := h.Summary(); !s.Down[IPv6] {
		t.Fatal("IPv6 is not down")
	}
	began := h.plan("4")
	h.Flush()
	h.delays(v6(1), 250*ms, FromDefault)
	for n := range 4 {
		host := fmt.Sprint(n)
		if got, want := h.plan(host), (Plan{Prefer: IPv6, epoch: 1}); got != want {
			t.Errorf("Plan = %+v, want %+v", got, want)
		}
		if !h.Reached(host) {
			t.Errorf("host %s was reached, and no network change makes that undone", host)
		}
	}
	if s := h.Summary(); s.Down != [2]bool{} || s.Changes != [2]int{1, 0} || s.Hosts != 4 {
		t.Errorf("Summary = %+v, want nothing down, one change and 4 hosts", s)
	}
	// What began on the other network says nothing of this one.
	h.ends("4", began, v6(4), v4(4))
	h.prefers("4", IPv6)
	if !h.Reached("4") {
		t.Error("host 4 was reached")
	}
}

func TestFlush_KeepsTheOrderOfUse(t *testing.T) {
	h := newPast(t)
	for i := range maxHosts {
		h.race(fmt.Sprint(i), v6(1))
	}
	h.Flush()
	h.race("one more", v6(1))
	if h.Reached("0") || !h.Reached("1") {
		t.Error("the host to go was not the one that was used the longest time ago")
	}
}

func TestHistory_IsBounded(t *testing.T) {
	h := newPast(t)
	for i := range maxHosts + 1000 {
		a := netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})
		h.race(fmt.Sprint(i), a)
		h.Measured(a, 80*ms, h.now)
		h.Reached("0")              // stays
		h.Delay(v4(0), h.now)       // of 198.51.0.0/24: unknown
		h.Measured(a, ms*80, epoch) // each prefix once
	}
	if hosts, prefixes := len(h.hosts.index), len(h.prefixes.index); hosts != maxHosts || h.hosts.order.Len() != maxHosts || prefixes != maxPrefixes || h.prefixes.order.Len() != maxPrefixes {
		t.Errorf("%d hosts and %d prefixes are remembered, want %d and %d", hosts, prefixes, maxHosts, maxPrefixes)
	}
	if !h.Reached("0") || h.Reached("1") || h.Reached("1000") || !h.Reached("1001") {
		t.Error("the hosts forgotten are not those used the longest time ago")
	}
}

func TestSummary_DeadIPv6(t *testing.T) {
	h := newPast(t)
	loses := func(host string) {
		h.race(host, v6(1), v4(1)) // the same network each time: the family is not down
		h.wait(6 * time.Hour)
	}
	loses("once")
	loses("twice")
	loses("twice")
	loses("has won")
	h.race("has won", v6(1))
	loses("has won")
	loses("has won")
	if got, want := h.Summary().DeadIPv6, []string{"twice"}; !slices.Equal(got, want) {
		t.Errorf("DeadIPv6 = %q, want %q", got, want)
	}
	h.race("twice", v6(1))
	if got := h.Summary().DeadIPv6; got != nil {
		t.Errorf("DeadIPv6 = %q after a win", got)
	}
	for i := range 2 * deadListed {
		loses(fmt.Sprint(i))
		loses(fmt.Sprint(i))
	}
	if got := h.Summary().DeadIPv6; len(got) != deadListed || got[0] != fmt.Sprint(2*deadListed-1) {
		t.Errorf("%d hosts are listed, the first %q, want %d, the last used first", len(got), got[0], deadListed)
	}
}

// An outage is no fault of the hosts.
func TestSummary_DeadIPv6WithoutTheOutages(t *testing.T) {
	h := newPast(t)
	for n := range 4 {
		h.race(fmt.Sprint(n), v6(n), v4(n))
	}
	for i := range 10 {
		h.wait(lastCanary)
		h.race("canary", v6(i), v4(i))
	}
	if got := h.Summary().DeadIPv6; got != nil {
		t.Errorf("DeadIPv6 = %q", got)
	}
}

func TestHistory_ConcurrentUse(t *testing.T) {
	h := NewHistory()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				host, now := fmt.Sprint(i%40), at(time.Duration(i)*time.Second)
				p := h.Plan(host, IPv6, now)
				h.Measured(v6(i), 80*ms, now)
				h.Delay(v6(i), now)
				h.Ended(host, p, Outcome{Winner: v4(i), Began: [2]netip.Addr{IPv6: v6(i)}}, now)
				h.Reached(host)
				h.Summary()
				if g == 0 && i%100 == 0 {
					h.Flush()
				}
			}
		})
	}
	wg.Wait()
	if s := h.Summary(); s.Hosts != 40 || !s.Down[IPv6] {
		t.Errorf("Summary = %d hosts, down %v, want 40 hosts and IPv6 down", s.Hosts, s.Down)
	}
}
