package happyeyeballs

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// FuzzRace plays a race with random answers, outcomes and delays, and holds it
// to what must be true in every order of events.
func FuzzRace(f *testing.F) {
	f.Add([]byte{0, 0, 0x43, 0x34, 3, 10, 20, 30, 40})
	f.Add([]byte{1, 0, 0x00, 0x01, 0, 60, 0, 200, 0, 0})
	f.Add([]byte{4, 0, 0x99, 0x99, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add([]byte{16, 0, 0x88, 0x11, 0, 0, 0})
	f.Add([]byte{0, 1, 0x34, 0, 60, 10, 10, 0, 10, 10, 10})
	f.Add([]byte{0, 4, 0x55, 0, 0, 10, 200, 10, 100, 9, 9, 9, 9, 9, 9, 9})
	f.Add([]byte{0, 16, 0x55, 0, 0, 10, 200, 10, 100, 9, 9, 9, 9, 9, 9, 9})
	f.Add([]byte{0, 32, 0x44, 0, 0, 90, 1, 0, 0, 40, 2, 200, 0, 8, 0, 100})
	f.Add([]byte{1, 30, 0x77, 0, 60, 10, 0, 10, 100, 9, 9, 9, 9, 9, 9, 9})
	f.Fuzz(func(t *testing.T, script []byte) {
		g := &fuzzedRace{t: t, script: script, known: map[netip.Addr]bool{}}
		g.set()
		g.run()
	})
}

// A fuzzedRace is a race, and what a script makes of it.
type fuzzedRace struct {
	t      *testing.T
	script []byte
	r      *Race
	now    time.Duration

	delay, step time.Duration // of Config.Delay, which may learn
	promotes    bool
	late        bool // attempts begin later than they are started
	postpones   bool
	pool        [2][]netip.Addr  // the answers
	arrival     [2]time.Duration // of them
	answered    [2]bool
	known       map[netip.Addr]bool // by answers
	started     []netip.Addr
	last        time.Duration // attempt to begin
	running     []fuzzedAttempt
	outcomes    int
}

type fuzzedAttempt struct {
	addr netip.Addr
	end  time.Duration
	wins bool
}

// read is the script's next byte; zeros when it is used up.
func (g *fuzzedRace) read() int {
	if len(g.script) == 0 {
		return 0
	}
	b := g.script[0]
	g.script = g.script[1:]
	return int(b)
}

func (g *fuzzedRace) set() {
	flags, more, count := g.read(), g.read(), g.read()
	c := Config{Prefer: Family(flags & 1), Without: [2]bool{flags&4 != 0, flags&8 != 0}}
	g.delay = ConnectionAttemptDelay
	if flags&16 != 0 {
		g.delay = time.Duration(g.read()) * ms
	}
	if flags&32 != 0 {
		c.ResolutionDelay = time.Duration(g.read()-1) * ms
	}
	if more&2 != 0 {
		c.Last[more&1] = true
	}
	if more&4 != 0 {
		g.step = 7 * ms
	}
	g.promotes, g.postpones, g.late = more&8 != 0, more&16 != 0, more&32 != 0
	c.Delay = func(netip.Addr) time.Duration { return g.delay }
	for i := range count >> 4 {
		g.pool[IPv6] = append(g.pool[IPv6], netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i % 11)})) // some of them twice
	}
	for i := range count & 15 {
		g.pool[IPv4] = append(g.pool[IPv4], netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 11)}))
	}
	if n := len(g.pool[IPv4]); flags&64 != 0 && n > 0 {
		c.First = g.pool[IPv4][n-1]
	}
	g.arrival = [2]time.Duration{time.Duration(g.read()) * ms, time.Duration(g.read()) * ms}
	g.answered = c.Without
	g.r = New(c)
}

func (g *fuzzedRace) run() {
	for step := 0; !g.r.Lost(); step++ {
		if step > 1000 {
			g.t.Fatalf("the race does not end: at %v, %d started, %d running", g.now, len(g.started), len(g.running))
		}
		if g.r.Ready(at(g.now)) {
			g.r.Began(at(min(g.last, g.now)))
		}
		ready := g.r.Ready(at(g.now))
		if ready && g.r.Hedge() && len(g.running) == 0 {
			g.t.Fatalf("at %v a hedge beside nothing", g.now)
		}
		addr, wake := g.r.Next(at(g.now))
		if addr.IsValid() != ready {
			g.t.Fatalf("at %v: Ready() = %v, but Next = %v", g.now, ready, addr)
		}
		if addr.IsValid() {
			g.start(addr)
			continue
		}
		if winner := g.await(wake); winner.IsValid() { // the caller asks no more
			g.won(winner)
			return
		}
	}
	if want := min(MaxAttempts, len(g.known)); len(g.started) != want {
		g.t.Fatalf("lost after %d of %d addresses were tried, want %d", len(g.started), len(g.known), want)
	}
	if len(g.running) > 0 || g.answered != [2]bool{true, true} {
		g.t.Fatalf("lost with %d attempts running, answered %v", len(g.running), g.answered)
	}
	if g.outcomes != len(g.started) {
		g.t.Fatalf("%d outcomes of %d attempts", g.outcomes, len(g.started))
	}
	if o := g.r.Outcome(netip.Addr{}); o != (Outcome{}) {
		g.t.Fatalf("Outcome = %+v of a race without a winner", o)
	}
}

func (g *fuzzedRace) start(addr netip.Addr) {
	switch {
	case len(g.started) > 0 && g.now-g.last < MinimumConnectionAttemptDelay:
		g.t.Fatalf("start of %v %v after the last attempt began, want at least %v", addr, g.now-g.last, MinimumConnectionAttemptDelay)
	case slices.Contains(g.started, addr):
		g.t.Fatalf("%v was started twice", addr)
	case !g.known[addr]:
		g.t.Fatalf("%v was started before an answer had it", addr)
	case len(g.started) == MaxAttempts:
		g.t.Fatalf("attempt %d, want at most %d", len(g.started)+1, MaxAttempts)
	}
	g.started, g.last = append(g.started, addr), g.now
	if g.late {
		g.last += time.Duration(g.read()) * ms / 8
	}
	b := g.read()
	g.running = append(g.running, fuzzedAttempt{addr, g.last + time.Duration(b)*10*ms, b%16 == 15})
}

// await has the next thing happen: an answer, an outcome, news or the wake-up.
func (g *fuzzedRace) await(wake time.Time) (winner netip.Addr) {
	next, act := time.Duration(-1), func() {}
	consider := func(at time.Duration, do func()) {
		if at = max(at, g.now); next < 0 || at < next {
			next, act = at, do
		}
	}
	if !wake.IsZero() {
		if !wake.After(at(g.now)) {
			g.t.Fatalf("at %v: woken at %v, which is not later", g.now, wake.Sub(epoch))
		}
		consider(wake.Sub(epoch), func() {})
	}
	for _, f := range []Family{IPv6, IPv4} {
		if !g.answered[f] {
			consider(g.arrival[f], func() {
				g.answered[f] = true
				for _, a := range g.pool[f] {
					g.known[a] = true
				}
				g.r.Answer(at(g.now), f, g.pool[f])
				for i, a := range g.pool[f] {
					if g.postpones && i%3 == 0 {
						g.r.Postpone(a)
					}
				}
			})
		}
	}
	for i, a := range g.running {
		consider(a.end, func() {
			g.running = slices.Delete(g.running, i, i+1)
			g.outcomes++
			if a.wins {
				winner = a.addr
			} else {
				if g.last <= g.now {
					g.r.Began(at(g.last))
				}
				g.r.Failed(at(g.now))
			}
		})
	}
	if next < 0 {
		g.t.Fatalf("at %v the race waits for nothing", g.now)
	}
	g.now = next
	act()
	if g.step > 0 {
		g.delay = (g.delay*3 + g.step) % time.Second
		g.r.Reconsider()
	}
	if all := slices.Concat(g.pool[0], g.pool[1]); g.promotes && len(all) > 0 {
		g.r.Promote(all[int(g.now)%len(all)])
	}
	return winner
}

// won checks what the race says of itself in the end.
func (g *fuzzedRace) won(winner netip.Addr) {
	want := Outcome{Winner: winner}
	for _, a := range g.started[:slices.Index(g.started, winner)] {
		if f := Of(a); !want.Began[f].IsValid() {
			want.Began[f] = a
		}
	}
	if got := g.r.Outcome(winner); got != want {
		g.t.Fatalf("Outcome = %+v of the starts %v, want %+v", got, g.started, want)
	}
}
