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

// An event is something that happens to a race: an answer or, without one,
// the failure of an attempt.
type event struct {
	at     time.Duration
	answer string // "6" or "4", and the addresses: "6 2001:db8::1"; "" for a failure
}

// starts runs a race against a script of events, waking only when told to,
// and returns the starts as "0s 2001:db8::1". It goes on until the events are
// used up and the race has nothing more to start.
func starts(t *testing.T, c Config, script []event) (log []string) {
	t.Helper()
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
			if e.answer == "" {
				r.Failed(at(now))
				continue
			}
			f := strings.Fields(e.answer)
			family := IPv6
			if f[0] == "4" {
				family = IPv4
			}
			r.Answer(at(now), family, addrs(f[1:]...))
		case wake.IsZero():
			return log
		default:
			now = wake.Sub(epoch)
		}
	}
}

func TestRace(t *testing.T) {
	many := func(family string, n int) string {
		var s strings.Builder
		s.WriteString(family)
		for i := range n {
			s.WriteString(map[string]string{"6": " 2001:db8::", "4": " 192.0.2."}[family] + fmt.Sprint(i+1))
		}
		return s.String()
	}
	for _, tt := range []struct {
		rule   string // the section of RFC 8305, and what it says
		config Config
		events []event
		want   []string
	}{
		{"3: a positive AAAA starts at once", Config{}, []event{{5 * ms, "6 2001:db8::1"}}, []string{"5ms 2001:db8::1"}},
		{"3: and does not wait for A", Config{}, []event{{0, "6 2001:db8::1"}, {time.Second, "4"}}, []string{"0s 2001:db8::1"}},
		{"3: A first waits the resolution delay for AAAA", Config{}, []event{{5 * ms, "4 192.0.2.1"}}, []string{"55ms 192.0.2.1"}},
		{"3: AAAA within the resolution delay goes first", Config{}, []event{{0, "4 192.0.2.1"}, {49 * ms, "6 2001:db8::1"}},
			[]string{"49ms 2001:db8::1", "299ms 192.0.2.1"}},
		{"3: a negative AAAA ends the resolution delay", Config{}, []event{{0, "4 192.0.2.1"}, {20 * ms, "6"}}, []string{"20ms 192.0.2.1"}},
		{"3: a negative AAAA first: A starts at once", Config{}, []event{{0, "6"}, {20 * ms, "4 192.0.2.1"}}, []string{"20ms 192.0.2.1"}},
		{"3: a negative A starts nothing and begins no delay", Config{}, []event{{0, "4"}, {70 * ms, "6 2001:db8::1"}}, []string{"70ms 2001:db8::1"}},
		{"3: two negative answers start nothing", Config{}, []event{{0, "4"}, {10 * ms, "6"}}, nil},
		{"3: the delay counts from the first positive answer", Config{}, []event{{100 * ms, "4 192.0.2.1"}, {140 * ms, "6 2001:db8::1"}},
			[]string{"140ms 2001:db8::1", "390ms 192.0.2.1"}},
		{"3: the resolution delay can be set", Config{ResolutionDelay: 7 * ms}, []event{{0, "4 192.0.2.1"}}, []string{"7ms 192.0.2.1"}},
		{"3: the preferred family may be IPv4", Config{Prefer: IPv4}, []event{{0, "6 2001:db8::1"}, {10 * ms, "4 192.0.2.1"}},
			[]string{"10ms 192.0.2.1", "260ms 2001:db8::1"}},
		{"3: without IPv4's answer IPv6 waits, when IPv4 is preferred", Config{Prefer: IPv4}, []event{{0, "6 2001:db8::1"}}, []string{"50ms 2001:db8::1"}},
		{"3: a family that is not asked for is not waited for", Config{Without: [2]bool{IPv6: true}}, []event{{0, "4 192.0.2.1"}}, []string{"0s 192.0.2.1"}},
		{"3: and its answer is ignored", Config{Without: [2]bool{IPv6: true}}, []event{{0, "6 2001:db8::1"}, {0, "4 192.0.2.1"}}, []string{"0s 192.0.2.1"}},
		{"3: a family answers once", Config{}, []event{{0, "6 2001:db8::1"}, {0, "6 2001:db8::2"}}, []string{"0s 2001:db8::1"}},
		{"3: a late answer joins the race", Config{}, []event{{0, "6 2001:db8::1 2001:db8::2"}, {100 * ms, "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2"}},
		{"3: also when everything was started", Config{}, []event{{0, "6 2001:db8::1"}, {time.Second, "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "1s 192.0.2.1"}},
		{"3: but no sooner than the attempt delay", Config{}, []event{{0, "6 2001:db8::1"}, {100 * ms, "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1"}},

		{"4: families alternate, the preferred one first", Config{}, []event{{0, many("6", 3)}, {0, many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2", "1s 192.0.2.2", "2s 2001:db8::3", "3s 192.0.2.3"}},
		{"4: IPv4 first when it is preferred", Config{Prefer: IPv4}, []event{{0, many("4", 2)}, {0, many("6", 2)}},
			[]string{"0s 192.0.2.1", "250ms 2001:db8::1", "500ms 192.0.2.2", "1s 2001:db8::2"}},
		{"4: when one family runs out the other goes on", Config{}, []event{{0, many("6", 1)}, {0, many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 192.0.2.2", "1s 192.0.2.3"}},
		{"4: after a start without IPv6 it is IPv6's turn", Config{}, []event{{0, many("4", 3)}, {60 * ms, many("6", 1)}},
			[]string{"50ms 192.0.2.1", "300ms 2001:db8::1", "550ms 192.0.2.2", "1.05s 192.0.2.3"}},
		{"4: the order within a family is the answer's", Config{}, []event{{0, "6 2001:db8::9 2001:db8::2 2001:db8::5"}},
			[]string{"0s 2001:db8::9", "250ms 2001:db8::2", "500ms 2001:db8::5"}},
		{"4: history comes first in its family", Config{First: netip.MustParseAddr("192.0.2.3")}, []event{{0, many("6", 1)}, {0, many("4", 3)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.3", "500ms 192.0.2.1", "1s 192.0.2.2"}},
		{"4: history that the answer does not have is not tried", Config{First: netip.MustParseAddr("192.0.2.9")}, []event{{0, "6"}, {0, many("4", 2)}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2"}},
		{"4: an address is tried once, however often it was answered", Config{}, []event{{0, "6"}, {0, "4 192.0.2.1 192.0.2.1 192.0.2.2 192.0.2.1"}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2"}},
		{"4: also when both families answer it", Config{}, []event{{0, "6 2001:db8::1 2001:db8::2"}, {0, "4 2001:db8::1"}, {time.Second, ""}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2"}},
		{"4: in either order", Config{Prefer: IPv4}, []event{{0, "4 2001:db8::1"}, {10 * ms, "6 2001:db8::1 2001:db8::1"}}, []string{"0s 2001:db8::1"}},
		{"4: the other family's turn comes when it has something new", Config{Prefer: IPv4}, []event{{0, "4 192.0.2.1 192.0.2.2"}, {0, "6 192.0.2.2 192.0.2.1 192.0.2.3"}},
			[]string{"0s 192.0.2.1", "250ms 192.0.2.2", "500ms 192.0.2.3"}},

		{"5: the delay grows x1, x1, x2, x4 and no more", Config{}, []event{{0, many("6", 8)}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "500ms 2001:db8::3", "1s 2001:db8::4", "2s 2001:db8::5", "3s 2001:db8::6", "4s 2001:db8::7", "5s 2001:db8::8"}},
		{"5: the attempt delay can be set", Config{Delay: fixed(100 * ms)}, []event{{0, many("6", 4)}},
			[]string{"0s 2001:db8::1", "100ms 2001:db8::2", "200ms 2001:db8::3", "400ms 2001:db8::4"}},
		{"5: but not below its minimum", Config{Delay: fixed(1 * ms)}, []event{{0, many("6", 2)}},
			[]string{"0s 2001:db8::1", "10ms 2001:db8::2"}},
		{"5: at most eight attempts", Config{}, []event{{0, many("6", 9)}, {0, many("4", 9)}},
			[]string{"0s 2001:db8::1", "250ms 192.0.2.1", "500ms 2001:db8::2", "1s 192.0.2.2", "2s 2001:db8::3", "3s 192.0.2.3", "4s 2001:db8::4", "5s 192.0.2.4"}},
		{"5: a failure starts the next at once", Config{}, []event{{0, many("6", 2)}, {30 * ms, ""}},
			[]string{"0s 2001:db8::1", "30ms 2001:db8::2"}},
		{"5: but never within 10 ms of another start", Config{}, []event{{0, many("6", 3)}, {1 * ms, ""}, {11 * ms, ""}},
			[]string{"0s 2001:db8::1", "10ms 2001:db8::2", "20ms 2001:db8::3"}},
		{"5: the failure of an earlier attempt counts too", Config{}, []event{{0, many("6", 4)}, {260 * ms, ""}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "260ms 2001:db8::3", "760ms 2001:db8::4"}},
		{"5: two failures start one each", Config{}, []event{{0, many("6", 4)}, {300 * ms, ""}, {300 * ms, ""}},
			[]string{"0s 2001:db8::1", "250ms 2001:db8::2", "300ms 2001:db8::3", "310ms 2001:db8::4"}},
		{"5: a failure does not put off what is due", Config{}, []event{{0, many("6", 2)}, {249 * ms, ""}},
			[]string{"0s 2001:db8::1", "249ms 2001:db8::2"}},
		{"5: after a failure a late answer waits for nothing", Config{}, []event{{0, many("6", 1)}, {100 * ms, ""}, {101 * ms, "4 192.0.2.1"}},
			[]string{"0s 2001:db8::1", "101ms 192.0.2.1"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := starts(t, tt.config, tt.events); !slices.Equal(got, tt.want) {
				t.Errorf("starts:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
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

// FuzzRace plays a race with random answers, failures and delays, and holds
// it to what must be true in every order of events.
func FuzzRace(f *testing.F) {
	f.Add([]byte{0, 0x43, 0x34, 3, 10, 20, 30, 40})
	f.Add([]byte{1, 0x00, 0x01, 0, 60, 0, 200, 0, 0})
	f.Add([]byte{4, 0x99, 0x99, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add([]byte{16, 0x88, 0x11, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) { fuzzRace(t, script) })
}

func fuzzRace(t *testing.T, script []byte) {
	read := func() int { // the script's next byte; zeros when it is used up
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b)
	}
	flags, count := read(), read()
	c := Config{Prefer: Family(flags & 1), Without: [2]bool{flags&4 != 0, flags&8 != 0}}
	if flags&16 != 0 {
		c.Delay = fixed(time.Duration(1+read()) * ms)
	}
	if flags&32 != 0 {
		c.ResolutionDelay = time.Duration(1+read()) * ms
	}
	pool := [2][]netip.Addr{}
	for i := range count >> 4 {
		pool[IPv6] = append(pool[IPv6], netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i % 11)})) // some of them twice
	}
	for i := range count & 15 {
		pool[IPv4] = append(pool[IPv4], netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 11)}))
	}
	if n := len(pool[IPv4]); flags&64 != 0 && n > 0 {
		c.First = pool[IPv4][n-1]
	}
	arrival := [2]time.Duration{time.Duration(read()) * ms, time.Duration(read()) * ms}

	r := New(c)
	var (
		now, last time.Duration
		answered  = c.Without
		known     = map[netip.Addr]bool{}
		started   = map[netip.Addr]bool{}
		running   []time.Duration // when each attempt will fail
	)
	for step := 0; !r.Lost(); step++ {
		if step > 1000 {
			t.Fatalf("the race does not end: at %v, %d started, %d running", now, len(started), len(running))
		}
		ready := r.Ready(at(now))
		addr, wake := r.Next(at(now))
		if addr.IsValid() != ready {
			t.Fatalf("at %v: Ready() = %v, but Next = %v", now, ready, addr)
		}
		if addr.IsValid() {
			switch {
			case len(started) > 0 && now-last < MinimumConnectionAttemptDelay:
				t.Fatalf("start of %v %v after the last, want at least %v", addr, now-last, MinimumConnectionAttemptDelay)
			case started[addr]:
				t.Fatalf("%v was started twice", addr)
			case !known[addr]:
				t.Fatalf("%v was started before an answer had it", addr)
			case len(started) == MaxAttempts:
				t.Fatalf("attempt %d, want at most %d", len(started)+1, MaxAttempts)
			}
			started[addr], last = true, now
			running = append(running, now+time.Duration(read())*10*ms)
			continue
		}
		// The next event: an answer, a failure or the wake-up.
		next, act := time.Duration(-1), func() {}
		consider := func(at time.Duration, do func()) {
			if next < 0 || at < next {
				next, act = at, do
			}
		}
		if !wake.IsZero() {
			consider(wake.Sub(epoch), func() {})
		}
		for _, f := range []Family{IPv6, IPv4} {
			if !answered[f] {
				consider(max(now, arrival[f]), func() {
					answered[f] = true
					for _, a := range pool[f] {
						known[a] = true
					}
					r.Answer(at(now), f, pool[f])
				})
			}
		}
		for i, end := range running {
			consider(max(now, end), func() {
				running = slices.Delete(running, i, i+1)
				r.Failed(at(now))
			})
		}
		if next < 0 {
			t.Fatalf("at %v the race waits for nothing", now)
		}
		if next < now {
			t.Fatalf("at %v: woken at %v, in the past", now, next)
		}
		now = next
		act()
	}
	if want := min(MaxAttempts, len(known)); len(started) != want {
		t.Fatalf("lost after %d of %d addresses were tried, want %d", len(started), len(known), want)
	}
	if len(running) > 0 || answered != [2]bool{true, true} {
		t.Fatalf("lost with %d attempts running, answered %v", len(running), answered)
	}
}
