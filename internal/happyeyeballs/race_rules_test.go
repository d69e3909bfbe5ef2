package happyeyeballs

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestRace_Failures(t *testing.T) {
	testRaces(t, []raceTest{
		{"5: failures of the same moment start one each", Config{}, []event{{at: 0, answer: many("6", 4)}, {at: 0, answer: "4"}, {at: 251 * ms}, {at: 251 * ms}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "260ms 2001:db8::3", "270ms 2001:db8::4"}},
		{"5: failures with nothing left to start call for one address only", Config{}, []event{
			{at: 0, answer: many("6", 2)}, {at: 300 * ms}, {at: 300 * ms}, {at: 400 * ms, answer: many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "400ms 192.0.2.1", "900ms 192.0.2.2", "1.9s 192.0.2.3"}},
		{"5: failures at once, as without a route, keep to the minimum", Config{}, []event{
			{at: 0, answer: many("6", 2)}, {at: 0, answer: many("4", 2)}, {at: 0}, {at: 10 * ms}, {at: 20 * ms}, {at: 30 * ms}},
			[]string{"0s 2001:db8::1", "10ms 192.0.2.1", "20ms 2001:db8::2", "30ms 192.0.2.2"}},
		{"5: the growth goes by the attempts, not by the failures", Config{}, []event{{at: 0, answer: many("6", 5)}, {at: 0}, {at: 10 * ms}},
			[]string{"0s 2001:db8::1", "10ms 2001:db8::2", "20ms 2001:db8::3", "520ms 2001:db8::4", "1.52s 2001:db8::5"}},
	})
}

// RFC 8305, section 6: the DNS answers change. The cache's answers do not
// change within a race, so that nothing is ever removed; what is added is a
// late answer.
func TestRace_DNSAnswersChange(t *testing.T) {
	testRaces(t, []raceTest{
		{"6: what is added is sorted into what was not attempted yet", Config{}, []event{{at: 0, answer: many("6", 4)}, {at: 600 * ms, answer: many("4", 2)}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "500ms 2001:db8::3", "1s 192.0.2.1", "2s 2001:db8::4", "3s 192.0.2.2"}},
		{"6: an attempt that was begun goes on", Config{}, []event{{at: 0, answer: many("4", 1)}, {at: 60 * ms, answer: many("6", 1)}},
			[]string{"50ms 192.0.2.1", "300ms 2001:db8::1"}},
		{"6: what is added is known from before", Config{First: netip.MustParseAddr("192.0.2.2")}, []event{{at: 0, answer: many("6", 2)}, {at: 100 * ms, answer: many("4", 2)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.2", "500ms 2001:db8::2", "1s 192.0.2.1"}},
		{"6: a negative late answer changes nothing", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 100 * ms, answer: "4"}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2"}},
		{"6: after the eighth attempt nothing is added", Config{Delay: fixed(10 * ms)}, []event{{at: 0, answer: many("6", 8)}, {at: time.Second, answer: many("4", 1)}},
			[]string{"0s 2001:db8::1", "10ms 2001:db8::2", "20ms 2001:db8::3", "40ms 2001:db8::4", "80ms 2001:db8::5", "120ms 2001:db8::6", "160ms 2001:db8::7", "200ms 2001:db8::8"}},
	})
}

// RFC 8305, section 8, lists what may be configured, and its bounds.
func TestRace_ConfigurableValues(t *testing.T) {
	two := []event{{at: 0, answer: many("6", 2)}}
	for _, tt := range []struct {
		rule      string
		got, want time.Duration
	}{
		{"8: Resolution Delay: 50 ms", ResolutionDelay, 50 * ms},
		{"8: Connection Attempt Delay: 250 ms", ConnectionAttemptDelay, 250 * ms},
		{"8: Minimum Connection Attempt Delay: must not be less than 10 ms", MinimumConnectionAttemptDelay, 10 * ms},
		{"8: Minimum Connection Attempt Delay: recommended 100 ms, for what is learned", minAdaptive, 100 * ms},
		{"8: Maximum Connection Attempt Delay: recommended 2 s", MaximumConnectionAttemptDelay, 2 * time.Second},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.rule, tt.got, tt.want)
		}
	}
	testRaces(t, []raceTest{
		{"8: Resolution Delay: 50 ms unless set", Config{}, []event{{at: 0, answer: many("4", 1)}}, []string{"50ms 192.0.2.1"}},
		{"8: Resolution Delay: may be long", Config{ResolutionDelay: time.Second}, []event{{at: 0, answer: many("4", 1)}}, []string{"1s 192.0.2.1"}},
		{"8: Resolution Delay: may be none", Config{ResolutionDelay: -1}, []event{{at: 0, answer: many("4", 1)}, {at: 1, answer: many("6", 1)}}, []string{"0s 192.0.2.1", "250ms 2001:db8::1"}},
		{"8: First Address Family Count: 1", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 0, answer: many("4", 1)}}, []string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2"}},
		{"8: Connection Attempt Delay: may be set", Config{Delay: fixed(300 * ms)}, two, []string{"0s 2001:db8::1", "300ms 2001:db8::2"}},
		{"8: Minimum Connection Attempt Delay: zero is not", Config{Delay: fixed(0)}, two, []string{"0s 2001:db8::1", "10ms 2001:db8::2"}},
		{"8: Minimum Connection Attempt Delay: negative is not", Config{Delay: fixed(-time.Second)}, two, []string{"0s 2001:db8::1", "10ms 2001:db8::2"}},
		{"8: Maximum Connection Attempt Delay: bounds the growth", Config{Delay: fixed(900 * ms)}, []event{{at: 0, answer: many("6", 5)}},
			[]string{"0s 2001:db8::1", "900ms 2001:db8::2", "1.8s 2001:db8::3", "3.6s 2001:db8::4", "5.6s 2001:db8::5"}},
		{"8: Maximum Connection Attempt Delay: and not what was asked for", Config{Delay: fixed(5 * time.Second)}, []event{{at: 0, answer: many("6", 5)}},
			[]string{"0s 2001:db8::1", "5s 2001:db8::2", "10s 2001:db8::3", "15s 2001:db8::4", "20s 2001:db8::5"}},
	})
}

// Config.Last: a family that is down.
func TestRace_LastResort(t *testing.T) {
	last6 := Config{Prefer: IPv4, Last: [2]bool{IPv6: true}}
	testRaces(t, []raceTest{
		{"it does not alternate", last6, []event{{at: 0, answer: many("6", 2)}, {at: 0, answer: many("4", 3)}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2", "500ms 192.0.2.3", "1s 2001:db8::1", "2s 2001:db8::2"}},
		{"it is tried when nothing else was answered", last6, []event{{at: 0, answer: "4"}, {at: 0, answer: many("6", 1)}}, []string{"0s 2001:db8::1"}},
		{"it waits for the other's answer no longer than the resolution delay", last6, []event{{at: 0, answer: many("6", 2)}}, []string{"50ms 2001:db8::1", "300ms 2001:db8::2"}},
		{"and steps back for it when it comes late", last6, []event{{at: 0, answer: many("6", 2)}, {at: 70 * ms, answer: many("4", 2)}},
			[]string{"50ms 2001:db8::1", "70ms 192.0.2.1", "320ms 192.0.2.2", "820ms 2001:db8::2"}},
		{"though not within 10 ms", last6, []event{{at: 0, answer: many("6", 2)}, {at: 51 * ms, answer: many("4", 1)}},
			[]string{"50ms 2001:db8::1", "60ms 192.0.2.1", "310ms 2001:db8::2"}},
		{"IPv4 may be the one", Config{Last: [2]bool{IPv4: true}}, []event{{at: 0, answer: many("6", 2)}, {at: 0, answer: many("4", 1)}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "500ms 192.0.2.1"}},
		{"the others that fail do not wait for it", last6, []event{{at: 0, answer: many("4", 1)}, {at: 0, answer: many("6", 1)}, {at: 30 * ms}},
			[]string{"0s 192.0.2.1", "30ms 2001:db8::1"}},
	})
}

// Reconsider and Promote: what other races have learned meanwhile.
func TestRace_NewsFromOtherRaces(t *testing.T) {
	both := event{at: 0, answer: many("4", 3)}
	testRaces(t, []raceTest{
		{"a longer delay is taken up", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 200 * ms, delay: 400 * ms}}, []string{"0s 2001:db8::1", "400ms 2001:db8::2"}},
		{"a shorter one, too", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 50 * ms, delay: 100 * ms}}, []string{"0s 2001:db8::1", "100ms 2001:db8::2"}},
		{"and one that is over already", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 150 * ms, delay: 100 * ms}}, []string{"0s 2001:db8::1", "150ms 2001:db8::2"}},
		{"it grows as the other did", Config{Delay: fixed(250 * ms)}, []event{{at: 0, answer: many("6", 4)}, {at: 600 * ms, delay: 100 * ms}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "500ms 2001:db8::3", "700ms 2001:db8::4"}},
		{"it does not undo a failure", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 5 * ms}, {at: 6 * ms, delay: time.Second}}, []string{"0s 2001:db8::1", "10ms 2001:db8::2"}},
		{"before the first start it is nothing", Config{}, []event{{at: 0, delay: 100 * ms}, {at: 10 * ms, answer: many("6", 2)}}, []string{"10ms 2001:db8::1", "110ms 2001:db8::2"}},

		{"another's winner goes next", Config{}, []event{{at: 0, answer: many("6", 3)}, both, {at: 100 * ms, promote: "192.0.2.3"}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.3", "500ms 2001:db8::2", "1s 192.0.2.1", "2s 2001:db8::3", "3s 192.0.2.2"}},
		{"also out of turn", Config{}, []event{{at: 0, answer: many("6", 3)}, both, {at: 100 * ms, promote: "2001:db8::3"}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::3", "500ms 192.0.2.1", "1s 2001:db8::2", "2s 192.0.2.2", "3s 192.0.2.3"}},
		{"also when it was the last resort", Config{Prefer: IPv4, Last: [2]bool{IPv6: true}}, []event{{at: 0, answer: many("6", 1)}, both, {at: 100 * ms, promote: "2001:db8::1"}},
			[]string{"0s 192.0.2.1", "250ms 2001:db8::1", "500ms 192.0.2.2", "1s 192.0.2.3"}},
		{"one that is on its way is not tried again", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 100 * ms, promote: "2001:db8::1"}}, []string{"0s 2001:db8::1", "250ms 2001:db8::2"}},
		{"nor because it was answered twice", Config{}, []event{{at: 0, answer: "6 2001:db8::1 2001:db8::2 2001:db8::1"}, {at: 100 * ms, promote: "2001:db8::1"}}, []string{"0s 2001:db8::1", "250ms 2001:db8::2"}},
		{"one that is to be answered yet goes first then", Config{}, []event{{at: 0, answer: many("6", 1)}, {at: 100 * ms, promote: "192.0.2.2"}, {at: 200 * ms, answer: many("4", 2)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.2", "500ms 192.0.2.1"}},
	})
}

func TestHedge(t *testing.T) {
	r := New(Config{})
	r.Answer(epoch, IPv6, addrs("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"))
	r.Answer(epoch, IPv4, nil)
	hedge := func(when string, want bool) {
		t.Helper()
		if got := r.Hedge(); got != want {
			t.Errorf("%s: Hedge() = %v, want %v", when, got, want)
		}
	}
	start := func(d time.Duration) {
		t.Helper()
		if a, _ := r.Next(at(d)); !a.IsValid() {
			t.Fatalf("nothing starts at %v", d)
		}
	}
	hedge("before the first attempt", false)
	start(0)
	hedge("while it runs", true)
	start(time.Second)
	r.Failed(at(2 * time.Second))
	hedge("one of two has failed", false)
	start(2 * time.Second)
	hedge("another one took its place", true)
	r.Failed(at(3 * time.Second))
	r.Failed(at(3 * time.Second))
	start(3 * time.Second)
	hedge("two have failed, one of them was replaced", false)
	start(4 * time.Second)
	hedge("both were", true)
}

func TestOutcome(t *testing.T) {
	six, four := addrs("2001:db8::1", "2001:db8::2"), addrs("192.0.2.1", "192.0.2.2")
	for _, tt := range []struct {
		name   string
		prefer Family
		starts int
		winner netip.Addr
		want   [2]netip.Addr // Began
	}{
		{"the first wins alone", IPv6, 1, six[0], [2]netip.Addr{}},
		{"the first wins though another was begun", IPv6, 2, six[0], [2]netip.Addr{}},
		{"the second wins", IPv6, 2, four[0], [2]netip.Addr{IPv6: six[0]}},
		{"the second wins, and later ones do not count", IPv6, 4, four[0], [2]netip.Addr{IPv6: six[0]}},
		{"the third wins: its own family began", IPv6, 4, six[1], [2]netip.Addr{IPv6: six[0], IPv4: four[0]}},
		{"the first of each family counts", IPv6, 4, four[1], [2]netip.Addr{IPv6: six[0], IPv4: four[0]}},
		{"IPv4 began", IPv4, 2, six[0], [2]netip.Addr{IPv4: four[0]}},
		{"nobody wins", IPv6, 4, netip.Addr{}, [2]netip.Addr{}},
	} {
		r := New(Config{Prefer: tt.prefer})
		r.Answer(epoch, IPv6, six)
		r.Answer(epoch, IPv4, four)
		for i := range tt.starts {
			r.Next(epoch.Add(time.Duration(i) * time.Minute))
		}
		if got, want := r.Outcome(tt.winner), (Outcome{Winner: tt.winner, Began: tt.want}); got != want {
			t.Errorf("%s: Outcome = %+v, want %+v", tt.name, got, want)
		}
	}
}

// The delay is asked for behind the address that has just been started.
func TestRace_DelayIsThatOfTheAddress(t *testing.T) {
	var asked []string
	c := Config{Delay: func(a netip.Addr) time.Duration {
		asked = append(asked, a.String())
		if Of(a) == IPv6 {
			return 400 * ms
		}
		return 100 * ms
	}}
	got := starts(t, c, []event{{at: 0, answer: many("6", 1)}, {at: 0, answer: many("4", 2)}})
	if want := []string{"0s 2001:db8::1", "400ms 192.0.2.1", "500ms 192.0.2.2"}; !slices.Equal(got, want) {
		t.Errorf("starts = %q, want %q", got, want)
	}
	if want := fmt.Sprint([]string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}); fmt.Sprint(asked) != want {
		t.Errorf("asked for the delays behind %v, want %v", asked, want)
	}
}

func TestRace_PostponedAddressesComeLast(t *testing.T) {
	testRaces(t, []raceTest{
		{"but not once they were started", Config{Prefer: IPv4}, []event{{at: 0, answer: "6"}, {at: 0, answer: many("4", 3)}, {at: 0, behind: "192.0.2.1"}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2", "500ms 192.0.2.3"}}, // it was started already
		{"and of the other one", Config{}, []event{{at: 0, answer: many("4", 3)}, {at: 0, behind: "192.0.2.1"}, {at: 0, behind: "192.0.2.1"}, {at: 0, answer: many("6", 2)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.2", "500ms 2001:db8::2", "1s 192.0.2.3", "2s 192.0.2.1"}},
		{"the preferred family's, too", Config{}, []event{{at: 0, answer: many("4", 2)}, {at: 10 * ms, answer: many("6", 1)}, {at: 10 * ms, behind: "2001:db8::1"}},
			[]string{"10ms 2001:db8::1", "260ms 192.0.2.1", "510ms 192.0.2.2"}}, // it was started already
		{"in their own order and turn", Config{ResolutionDelay: time.Second}, []event{{at: 0, answer: many("4", 3)}, {at: 0, behind: "192.0.2.1"}, {at: 0, behind: "192.0.2.2"}, {at: 0, answer: "6"}},
			[]string{"0s 192.0.2.3", "250ms 192.0.2.1", "500ms 192.0.2.2"}},
		{"behind a family that is the last resort", Config{Prefer: IPv4, Last: [2]bool{IPv6: true}}, []event{{at: 0, answer: many("6", 2)}, {at: 0, behind: "2001:db8::1"}, {at: 0, answer: many("4", 1)}},
			[]string{"0s 192.0.2.1", "250ms 2001:db8::2", "500ms 2001:db8::1"}},
		{"an answer that comes later goes before them at once", Config{ResolutionDelay: 1}, []event{{at: 0, answer: many("4", 2)}, {at: 0, behind: "192.0.2.1"}, {at: 0, behind: "192.0.2.2"}, {at: 100 * ms, answer: many("6", 2)}},
			[]string{"1ns 192.0.2.1", "100ms 2001:db8::1", "350ms 2001:db8::2", "850ms 192.0.2.2"}},
		{"unless another race is won by one", Config{ResolutionDelay: time.Second}, []event{{at: 0, answer: many("4", 3)}, {at: 0, behind: "192.0.2.3"}, {at: 0, promote: "192.0.2.3"}, {at: 0, answer: "6"}},
			[]string{"0s 192.0.2.3", "250ms 192.0.2.1", "500ms 192.0.2.2"}},
		{"also one that was answered twice", Config{ResolutionDelay: time.Second}, []event{{at: 0, answer: "4 192.0.2.1 192.0.2.1 192.0.2.2"}, {at: 0, behind: "192.0.2.1"}, {at: 0, answer: "6"}},
			[]string{"0s 192.0.2.2", "250ms 192.0.2.1"}},
	})
}
