package happyeyeballs

import (
	"net/netip"
	"testing"
	"time"
)

// delays checks the attempt delay behind an address.
func (h *past) delays(a netip.Addr, want time.Duration, from Source) {
	h.t.Helper()
	if got, source := h.Delay(a, h.now); got != want || source != from {
		h.t.Errorf("at %v: Delay(%v) = %v from %s, want %v from %s", h.now.Sub(epoch), a, got, source, want, from)
	}
}

func TestDelay_DefaultUntilSomethingIsMeasured(t *testing.T) {
	h := newPast(t)
	h.delays(v6(1), 250*ms, FromDefault)
}

func TestDelay_TwiceTheRoundTripToThePrefix(t *testing.T) {
	h := newPast(t)
	h.Measured(netip.MustParseAddr("2001:db8:1::1"), 80*ms, h.now)
	h.Measured(netip.MustParseAddr("198.51.1.1"), 90*ms, h.now)
	for a, want := range map[string]time.Duration{
		"2001:db8:1:ffff::2": 160 * ms, "198.51.1.255": 180 * ms, "::ffff:198.51.1.9": 180 * ms, // the /48, the /24
		"2001:db8:2::1": 0, "198.51.2.1": 0, "2001:db8::1": 0,
	} {
		if want == 0 {
			h.delays(netip.MustParseAddr(a), 250*ms, FromDefault)
		} else {
			h.delays(netip.MustParseAddr(a), want, FromPrefix)
		}
	}
}

func TestDelay_IsSmoothed(t *testing.T) {
	h := newPast(t)
	h.Measured(v6(1), 160*ms, h.now)
	h.Measured(v6(1), 80*ms, h.now)
	h.delays(v6(1), 300*ms, FromPrefix) // 7/8 of 160 ms and 1/8 of 80 ms, twice
	h.Measured(v6(1), 230*ms, h.now)
	h.delays(v6(1), 320*ms, FromPrefix)
}

func TestDelay_ARiseAboveItIsTakenUpAtOnce(t *testing.T) {
	h := newPast(t)
	h.Measured(v6(1), 80*ms, h.now)
	h.Measured(v6(1), 160*ms, h.now)
	h.delays(v6(1), 180*ms, FromPrefix) // a rise within the delay is smoothed
	h.Measured(v6(1), 181*ms, h.now)
	h.delays(v6(1), 362*ms, FromPrefix)
	h.Measured(v6(1), 21*ms, h.now) // and a fall always
	h.delays(v6(1), 322*ms, FromPrefix)
}

func TestDelay_AMeasurementIsGoodForAnHour(t *testing.T) {
	h := newPast(t)
	h.Measured(v6(1), 100*ms, h.now)
	h.wait(time.Hour - 1)
	h.delays(v6(1), 200*ms, FromPrefix)
	h.wait(1)
	h.delays(v6(1), 250*ms, FromDefault)
	h.Measured(v6(1), 300*ms, h.now) // does not mix with the old one
	h.delays(v6(1), 600*ms, FromPrefix)
}

func TestDelay_IsClamped(t *testing.T) {
	for rtt, want := range map[time.Duration]time.Duration{
		0: 100 * ms, 1 * ms: 100 * ms, 50 * ms: 100 * ms, 51 * ms: 102 * ms, 499 * ms: 998 * ms, 500 * ms: time.Second, 900 * ms: time.Second,
	} {
		h := newPast(t)
		h.Measured(v6(1), rtt, h.now)
		h.delays(v6(1), want, FromPrefix)
	}
}

func TestDelay_RecentConnects(t *testing.T) {
	h := newPast(t)
	for i := 1; i < 20; i++ {
		h.Measured(v6(i), time.Duration(i)*10*ms, h.now)
	}
	h.delays(v4(1), 250*ms, FromDefault) // 19 are not enough
	h.Measured(v6(20), 200*ms, h.now)
	h.delays(v4(1), 190*ms, FromRecent)  // 19 of 20 took no longer
	h.delays(v6(10), 200*ms, FromPrefix) // what is known of the network goes before

	for range 256 { // and only the last 256 count
		h.Measured(v6(21), 400*ms, h.now)
	}
	h.delays(v4(1), 400*ms, FromRecent)
	for i := range 256 {
		h.Measured(v6(21), time.Duration(i+1)*ms, h.now)
	}
	h.delays(v4(1), 244*ms, FromRecent) // of 1 ms to 256 ms
	for range 256 {
		h.Measured(v6(21), 5*time.Second, h.now)
	}
	h.delays(v4(1), time.Second, FromRecent)
	for range 256 {
		h.Measured(v6(21), 1*ms, h.now)
	}
	h.delays(v4(1), 100*ms, FromRecent)
}
