package happyeyeballs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// epoch is the start of every race; the machine has no clock of its own.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// addrs parses addresses.
func addrs(list ...string) (as []netip.Addr) {
	for _, a := range list {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

// fixed is the same attempt delay behind every attempt.
func fixed(d time.Duration) func(netip.Addr) time.Duration {
	return func(netip.Addr) time.Duration { return d }
}

// An event is something that happens to a race: an answer or, without
// anything, the failure of an attempt.
type event struct {
	at      time.Duration
	answer  string        // "6" or "4", and the addresses: "6 2001:db8::1"
	delay   time.Duration // has been learned
	promote string        // an address
	behind  string        // an address that is postponed
}

// starts runs a race against a script of events, waking only when told to,
// and returns the starts as "0s 2001:db8::1". It goes on until the events are
// used up and the race has nothing more to start.
func starts(t *testing.T, c Config, script []event) (log []string) {
	t.Helper()
	learned := time.Duration(0)
	if given := c.Delay; slices.ContainsFunc(script, func(e event) bool { return e.delay > 0 }) {
		c.Delay = func(a netip.Addr) time.Duration {
			switch {
			case learned > 0:
				return learned
			case given != nil:
				return given(a)
			}
			return ConnectionAttemptDelay
		}
	}
	r := New(c)
	var now time.Duration
	for {
		ready := r.Ready(at(now))
		addr, wake := r.Next(at(now))
		if addr.IsValid() != ready {
			t.Fatalf("at %v: Ready() = %v, but Next = %v", now, ready, addr)
		}
		if addr.IsValid() {
			log = append(log, fmt.Sprintf("%v %v", now, addr))
			continue
		}
		if !wake.IsZero() && !wake.After(at(now)) {
			t.Fatalf("at %v: Next asks to be woken at %v, which is not later", now, wake.Sub(epoch))
		}
		switch {
		case len(script) > 0 && (wake.IsZero() || !at(script[0].at).After(wake)):
			e := script[0]
			script, now = script[1:], e.at
			switch {
			case e.delay > 0:
				learned = e.delay
				r.Reconsider()
			case e.promote != "":
				r.Promote(netip.MustParseAddr(e.promote))
			case e.behind != "":
				r.Postpone(netip.MustParseAddr(e.behind))
			case e.answer == "":
				r.Failed(at(now))
			default:
				f := strings.Fields(e.answer)
				family := IPv6
				if f[0] == "4" {
					family = IPv4
				}
				r.Answer(at(now), family, addrs(f[1:]...))
			}
		case wake.IsZero():
			return log
		default:
			now = wake.Sub(epoch)
		}
	}
}

// many is an answer of n addresses.
func many(family string, n int) string {
	var s strings.Builder
	s.WriteString(family)
	for i := range n {
		s.WriteString(map[string]string{"6": " 2001:db8::", "4": " 192.0.2."}[family] + fmt.Sprint(i+1))
	}
	return s.String()
}

// A raceTest is one statement of RFC 8305, or of this package beyond it.
type raceTest struct {
	rule   string // the section, and what it says
	config Config
	events []event
	want   []string
}

func testRaces(t *testing.T, tests []raceTest) {
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if got := starts(t, tt.config, tt.events); !slices.Equal(got, tt.want) {
				t.Errorf("starts:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestRace(t *testing.T) {
	testRaces(t, []raceTest{
		{"3: a positive AAAA starts at once", Config{}, []event{{at: 5 * ms, answer: "6 2001:db8::1"}}, []string{"5ms 2001:db8::1"}},
		{"3: and does not wait for A", Config{}, []event{{at: 0, answer: "6 2001:db8::1"}, {at: time.Second, answer: "4"}}, []string{"0s 2001:db8::1"}},
		{"3: A first waits the resolution delay for AAAA", Config{}, []event{{at: 5 * ms, answer: "4 192.0.2.1"}}, []string{"55ms 192.0.2.1"}},
		{"3: AAAA within the resolution delay goes first", Config{}, []event{{at: 0, answer: "4 192.0.2.1"}, {at: 49 * ms, answer: "6 2001:db8::1"}},
			[]string{"49ms 2001:db8::1", "299ms 192.0.2.1"}},
		{"3: a negative AAAA ends the resolution delay", Config{}, []event{{at: 0, answer: "4 192.0.2.1"}, {at: 20 * ms, answer: "6"}}, []string{"20ms 192.0.2.1"}},
		{"3: a negative AAAA first: A starts at once", Config{}, []event{{at: 0, answer: "6"}, {at: 20 * ms, answer: "4 192.0.2.1"}}, []string{"20ms 192.0.2.1"}},
		{"3: a negative A starts nothing and begins no delay", Config{}, []event{{at: 0, answer: "4"}, {at: 70 * ms, answer: "6 2001:db8::1"}}, []string{"70ms 2001:db8::1"}},
		{"3: two negative answers start nothing", Config{}, []event{{at: 0, answer: "4"}, {at: 10 * ms, answer: "6"}}, nil},
		{"3: the delay counts from the first positive answer", Config{}, []event{{at: 100 * ms, answer: "4 192.0.2.1"}, {at: 140 * ms, answer: "6 2001:db8::1"}},
			[]string{"140ms 2001:db8::1", "390ms 192.0.2.1"}},
		{"3: the resolution delay can be set", Config{ResolutionDelay: 7 * ms}, []event{{at: 0, answer: "4 192.0.2.1"}}, []string{"7ms 192.0.2.1"}},
		{"3: the preferred family may be IPv4", Config{Prefer: IPv4}, []event{{at: 0, answer: "6 2001:db8::1"}, {at: 10 * ms, answer: "4 192.0.2.1"}},
			[]string{"10ms 192.0.2.1", "260ms 2001:db8::1"}},
		{"3: without IPv4's answer IPv6 waits, when IPv4 is preferred", Config{Prefer: IPv4}, []event{{at: 0, answer: "6 2001:db8::1"}}, []string{"50ms 2001:db8::1"}},
		{"3: a family that is not asked for is not waited for", Config{Without: [2]bool{IPv6: true}}, []event{{at: 0, answer: "4 192.0.2.1"}}, []string{"0s 192.0.2.1"}},
		{"3: and its answer is ignored", Config{Without: [2]bool{IPv6: true}}, []event{{at: 0, answer: "6 2001:db8::1"}, {at: 0, answer: "4 192.0.2.1"}}, []string{"0s 192.0.2.1"}},
		{"3: a family answers once", Config{}, []event{{at: 0, answer: "6 2001:db8::1"}, {at: 0, answer: "6 2001:db8::2"}}, []string{"0s 2001:db8::1"}},
		{"3: a late answer joins the race", Config{}, []event{{at: 0, answer: "6 2001:db8::1 2001:db8::2"}, {at: 100 * ms, answer: "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2"}},
		{"3: also when everything was started", Config{}, []event{{at: 0, answer: "6 2001:db8::1"}, {at: time.Second, answer: "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "1s 192.0.2.1"}},
		{"3: but no sooner than the attempt delay", Config{}, []event{{at: 0, answer: "6 2001:db8::1"}, {at: 100 * ms, answer: "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1"}},

		{"4: families alternate, the preferred one first", Config{}, []event{{at: 0, answer: many("6", 3)}, {at: 0, answer: many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2", "1s 192.0.2.2", "2s 2001:db8::3", "3s 192.0.2.3"}},
		{"4: IPv4 first when it is preferred", Config{Prefer: IPv4}, []event{{at: 0, answer: many("4", 2)}, {at: 0, answer: many("6", 2)}},
			[]string{"0s 192.0.2.1", "250ms 2001:db8::1", "500ms 192.0.2.2", "1s 2001:db8::2"}},
		{"4: when one family runs out the other goes on", Config{}, []event{{at: 0, answer: many("6", 1)}, {at: 0, answer: many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 192.0.2.2", "1s 192.0.2.3"}},
		{"4: after a start without IPv6 it is IPv6's turn", Config{}, []event{{at: 0, answer: many("4", 3)}, {at: 60 * ms, answer: many("6", 1)}},
			[]string{"50ms 192.0.2.1", "300ms 2001:db8::1", "550ms 192.0.2.2", "1.05s 192.0.2.3"}},
		{"4: the order within a family is the answer's", Config{}, []event{{at: 0, answer: "6 2001:db8::9 2001:db8::2 2001:db8::5"}},
			[]string{"0s 2001:db8::9", "250ms 2001:db8::2", "500ms 2001:db8::5"}},
		{"4: history comes first in its family", Config{First: netip.MustParseAddr("192.0.2.3")}, []event{{at: 0, answer: many("6", 1)}, {at: 0, answer: many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.3", "500ms 192.0.2.1", "1s 192.0.2.2"}},
		{"4: history that the answer does not have is not tried", Config{First: netip.MustParseAddr("192.0.2.9")}, []event{{at: 0, answer: "6"}, {at: 0, answer: many("4", 2)}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2"}},
		{"4: an address is tried once, however often it was answered", Config{}, []event{{at: 0, answer: "6"}, {at: 0, answer: "4 192.0.2.1 192.0.2.1 192.0.2.2 192.0.2.1"}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2"}},
		{"4: also when both families answer it", Config{}, []event{{at: 0, answer: "6 2001:db8::1 2001:db8::2"}, {at: 0, answer: "4 2001:db8::1"}, {at: time.Second}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2"}},
		{"4: in either order", Config{Prefer: IPv4}, []event{{at: 0, answer: "4 2001:db8::1"}, {at: 10 * ms, answer: "6 2001:db8::1 2001:db8::1"}}, []string{"0s 2001:db8::1"}},
		{"4: the other family's turn comes when it has something new", Config{Prefer: IPv4}, []event{{at: 0, answer: "4 192.0.2.1 192.0.2.2"}, {at: 0, answer: "6 192.0.2.2 192.0.2.1 192.0.2.3"}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2", "500ms 192.0.2.3"}},

		{"5: the delay grows x1, x1, x2, x4 and no more", Config{}, []event{{at: 0, answer: many("6", 8)}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "500ms 2001:db8::3", "1s 2001:db8::4", "2s 2001:db8::5", "3s 2001:db8::6", "4s 2001:db8::7", "5s 2001:db8::8"}},
		{"5: the attempt delay can be set", Config{Delay: fixed(100 * ms)}, []event{{at: 0, answer: many("6", 4)}},
			[]string{"0s 2001:db8::1", "100ms 2001:db8::2", "200ms 2001:db8::3", "400ms 2001:db8::4"}},
		{"5: but not below its minimum", Config{Delay: fixed(1 * ms)}, []event{{at: 0, answer: many("6", 2)}},
			[]string{"0s 2001:db8::1", "10ms 2001:db8::2"}},
		{"5: at most eight attempts", Config{}, []event{{at: 0, answer: many("6", 9)}, {at: 0, answer: many("4", 9)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2", "1s 192.0.2.2", "2s 2001:db8::3", "3s 192.0.2.3", "4s 2001:db8::4", "5s 192.0.2.4"}},
		{"5: a failure starts the next at once", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 30 * ms}},
			[]string{"0s 2001:db8::1", "30ms 2001:db8::2"}},
		{"5: but never within 10 ms of another start", Config{}, []event{{at: 0, answer: many("6", 3)}, {at: 1 * ms}, {at: 11 * ms}},
			[]string{"0s 2001:db8::1", "10ms 2001:db8::2", "20ms 2001:db8::3"}},
		{"5: the failure of an earlier attempt counts too", Config{}, []event{{at: 0, answer: many("6", 4)}, {at: 260 * ms}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "260ms 2001:db8::3", "760ms 2001:db8::4"}},
		{"5: two failures start one each", Config{}, []event{{at: 0, answer: many("6", 4)}, {at: 300 * ms}, {at: 300 * ms}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "300ms 2001:db8::3", "310ms 2001:db8::4"}},
		{"5: a failure does not put off what is due", Config{}, []event{{at: 0, answer: many("6", 2)}, {at: 249 * ms}},
			[]string{"0s 2001:db8::1", "249ms 2001:db8::2"}},
		{"5: after a failure a late answer waits for nothing", Config{}, []event{{at: 0, answer: many("6", 1)}, {at: 100 * ms}, {at: 101 * ms, answer: "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "101ms 192.0.2.1"}},
	})
}

func TestRace_AnswerDoesNotChangeTheCallersSlice(t *testing.T) {
	given := addrs("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3")
	before := slices.Clone(given)
	r := New(Config{First: given[3]})
	r.Answer(epoch, IPv6, nil)
	r.Answer(epoch, IPv4, given)
	for range given {
		r.Next(epoch.Add(time.Hour))
	}
	if !slices.Equal(given, before) {
		t.Errorf("the answer became %v, want %v", given, before)
	}
}

func TestLost(t *testing.T) {
	type step struct {
		do   func(r *Race, now time.Time)
		want bool
	}
	answer := func(f Family, list ...string) func(*Race, time.Time) {
		return func(r *Race, now time.Time) { r.Answer(now, f, addrs(list...)) }
	}
	nothing := func(*Race, time.Time) {}
	start := func(r *Race, now time.Time) { r.Next(now) }
	fail := func(r *Race, now time.Time) { r.Failed(now) }
	for _, tt := range []struct {
		name   string
		config Config
		steps  []step
	}{
		{"not before both families have answered", Config{}, []step{{nothing, false}, {answer(IPv6), false}, {answer(IPv4), true}}},
		{"a family that is not asked for need not answer", Config{Without: [2]bool{IPv4: true}}, []step{{nothing, false}, {answer(IPv6), true}}},
		{"not while there is an address to try", Config{}, []step{{answer(IPv6, "2001:db8::1"), false}, {answer(IPv4), false}, {start, false}, {fail, true}}},
		{"not while an attempt runs", Config{}, []step{{answer(IPv6, "2001:db8::1", "2001:db8::2"), false}, {answer(IPv4), false},
			{start, false}, {start, false}, {fail, false}, {fail, true}}},
		{"not while an answer may still come", Config{}, []step{{answer(IPv6, "2001:db8::1"), false}, {start, false}, {fail, false},
			{answer(IPv4, "192.0.2.1"), false}, {start, false}, {fail, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := New(tt.config)
			for i, s := range tt.steps {
				s.do(r, epoch.Add(time.Duration(i)*time.Minute))
				if got := r.Lost(); got != s.want {
					t.Errorf("after step %d: Lost() = %v, want %v", i, got, s.want)
				}
			}
		})
	}
}

func TestFinal(t *testing.T) {
	r := New(Config{})
	now := epoch
	step := func(what string, want bool) {
		t.Helper()
		if got := r.Final(); got != want {
			t.Errorf("%s: Final() = %v, want %v", what, got, want)
		}
	}
	r.Answer(now, IPv6, addrs("2001:db8::1"))
	r.Next(now)
	step("while an answer may still come", false)
	r.Answer(now, IPv4, addrs("192.0.2.1"))
	step("while there is an address to try", false)
	r.Next(now.Add(time.Minute))
	step("while two attempts run", false)
	r.Failed(now.Add(time.Minute))
	step("with one attempt, and nothing left", true)
	r.Failed(now.Add(time.Minute))
	step("with no attempt", false)
}

// A failure makes the next attempt due, and the one that has begun late delays
// it by the minimum alone, whichever is known first.
func TestBegan_AndAFailure(t *testing.T) {
	at := func(ms time.Duration) time.Time { return epoch.Add(ms * time.Millisecond) }
	began := func(r *Race) { r.Began(at(450)) }
	failed := func(r *Race) { r.Failed(at(450)) }
	for _, order := range [][2]func(*Race){{began, failed}, {failed, began}} {
		r := New(Config{Without: [2]bool{IPv4: true}})
		r.Answer(at(0), IPv6, addrs("2001:db8::1", "2001:db8::2", "2001:db8::3"))
		r.Next(at(0))
		r.Next(at(250))
		order[0](r)
		order[1](r)
		if _, wake := r.Next(at(450)); !wake.Equal(at(460)) {
			t.Errorf("the next attempt is due after %v, want 460ms", wake.Sub(epoch))
		}
	}
}

// After the eighth attempt the race is lost, whatever is left.
func TestLost_AfterMaxAttempts(t *testing.T) {
	r := New(Config{})
	r.Answer(epoch, IPv4, nil)
	var many []netip.Addr
	for i := range MaxAttempts + 1 {
		many = append(many, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}))
	}
	r.Answer(epoch, IPv6, many)
	for i := range MaxAttempts {
		if r.Lost() {
			t.Fatalf("lost after %d attempts", i)
		}
		if a, _ := r.Next(epoch.Add(time.Duration(i) * time.Minute)); !a.IsValid() {
			t.Fatalf("no attempt %d", i)
		}
		r.Failed(epoch.Add(time.Duration(i) * time.Minute))
	}
	if a, wake := r.Next(epoch.Add(time.Hour)); a.IsValid() || !wake.IsZero() || !r.Lost() {
		t.Errorf("after %d attempts: Next = %v, %v, Lost() = %v, want nothing more", MaxAttempts, a, wake, r.Lost())
	}
}

func TestOf(t *testing.T) {
	for a, want := range map[string]Family{"2001:db8::1": IPv6, "192.0.2.1": IPv4, "::ffff:192.0.2.1": IPv4, "::1": IPv6} {
		if got := Of(netip.MustParseAddr(a)); got != want {
			t.Errorf("Of(%s) = %v, want %v", a, got, want)
		}
	}
	if IPv4.Other() != IPv6 || IPv6.Other() != IPv4 {
		t.Error("Other does not return the other family")
	}
}
