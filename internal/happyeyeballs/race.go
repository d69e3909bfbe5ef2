// Package happyeyeballs decides which of a host's addresses to connect to
// next, and when: RFC 8305, with the clarifications of its successor's draft
// (draft-ietf-happy-happyeyeballs-v3). It is a pure state machine: DNS
// answers and failed attempts go in with the time they happened, addresses to
// start and times to wake up come out. It has no sockets, no goroutines and
// no clock.
//
// A Race ends with the caller: when an attempt succeeds it stops asking.
package happyeyeballs

import (
	"net/netip"
	"slices"
	"time"
)

// Family is an address family. The zero value is IPv6, which RFC 8305
// prefers.
type Family uint8

const (
	IPv6 Family = iota
	IPv4
)

// Of returns a's family; an IPv4-mapped IPv6 address is IPv4.
func Of(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Other returns the other family.
func (f Family) Other() Family { return 1 - f }

func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

const (
	// ResolutionDelay is how long a usable answer waits for the preferred
	// family's answer: RFC 8305, section 3.
	ResolutionDelay = 50 * time.Millisecond
	// ConnectionAttemptDelay is the time between two attempts: RFC 8305,
	// section 5.
	ConnectionAttemptDelay = 250 * time.Millisecond
	// MinimumConnectionAttemptDelay is the least time between two attempts,
	// also after a failure: RFC 8305, section 5.
	MinimumConnectionAttemptDelay = 10 * time.Millisecond
	// MaximumConnectionAttemptDelay bounds the growth of the delay: RFC 8305,
	// section 8.
	MaximumConnectionAttemptDelay = 2 * time.Second
	// MaxAttempts bounds the attempts of one race.
	MaxAttempts = 8
)

// growth is the factor on the attempt delay after the n-th start: a host
// that did not answer four times is in no hurry.
var growth = [MaxAttempts]time.Duration{1, 1, 2, 4, 4, 4, 4, 4}

// Config is what is known before the race. The zero value asks for both
// families and prefers IPv6.
type Config struct {
	Prefer          Family
	Without         [2]bool                        // families, by index, that are not asked for
	Last            [2]bool                        // families, by index, to be tried when nothing of the other is left
	ResolutionDelay time.Duration                  // 0: the constant
	Delay           func(netip.Addr) time.Duration // the attempt delay behind an attempt; nil: the constant. At least the minimum
	First           netip.Addr                     // the address to put first in its family, if the answer has it
}

// A Race is the state of one connection establishment. It is not safe for
// concurrent use.
type Race struct {
	cfg      Config
	answered [2]bool
	queue    [2][]netip.Addr // by family, not yet started
	usable   time.Time       // of the first answer with an address
	tried    [MaxAttempts]netip.Addr
	started  int // of these
	running  int
	last     Family    // family of the last start
	lastAt   time.Time // time of the last start
	waits    time.Duration
	nextAt   time.Time    // no start before
	prompted int          // by failures: so many starts are no hedges and do not wait for the delay
	behind   []netip.Addr // the addresses that Postpone was called for
}

// New returns a race without answers.
func New(cfg Config) *Race {
	r := new(Race)
	r.Reset(cfg)
	return r
}

// Reset makes r a race without answers.
func (r *Race) Reset(cfg Config) {
	if cfg.ResolutionDelay == 0 {
		cfg.ResolutionDelay = ResolutionDelay
	}
	if cfg.Delay == nil {
		cfg.Delay = func(netip.Addr) time.Duration { return ConnectionAttemptDelay }
	}
	*r = Race{}
	r.cfg, r.answered, r.last = cfg, cfg.Without, cfg.Prefer.Other()
}

// Answer records the answer for one family, once. No addresses means a
// negative answer or an error; both count as answers. The slice is kept. An
// address that it has twice is tried once.
func (r *Race) Answer(now time.Time, f Family, addrs []netip.Addr) {
	if r.answered[f] {
		return
	}
	r.answered[f] = true
	r.queue[f] = addrs
	if i := slices.Index(addrs, r.cfg.First); i > 0 {
		r.queue[f] = toFront(addrs, i)
	}
	r.skipTried(f)
	if len(addrs) > 0 && r.usable.IsZero() {
		r.usable = now
	}
}

// skipTried takes addresses that were started already off the front of a
// queue.
func (r *Race) skipTried(f Family) {
	for len(r.queue[f]) > 0 && slices.Contains(r.tried[:r.started], r.queue[f][0]) {
		r.queue[f] = r.queue[f][1:]
	}
}

// Began says that the last attempt has begun later than it was started, as on a
// busy machine. The delay behind it counts from then.
func (r *Race) Began(at time.Time) {
	late := at.Sub(r.lastAt)
	switch {
	case r.started == 0 || late <= 0:
		return
	case r.prompted > 0: // the next one does not wait for the delay
		r.nextAt = later(r.nextAt, at.Add(MinimumConnectionAttemptDelay))
	default:
		r.nextAt = r.nextAt.Add(late)
	}
	r.lastAt = at
}

// Failed records that a started attempt has failed: the next one need not
// wait for the delay.
func (r *Race) Failed(now time.Time) {
	r.running--
	if _, more := r.nextFamily(); more || r.prompted == 0 {
		r.prompted++
	}
	if soonest := later(now, r.lastAt.Add(MinimumConnectionAttemptDelay)); soonest.Before(r.nextAt) {
		r.nextAt = soonest
	}
}

// Promote puts an address before all others that are left: another race has
// just been won by it.
func (r *Race) Promote(a netip.Addr) {
	if slices.Contains(r.tried[:r.started], a) {
		return
	}
	for f := range r.queue {
		if i := slices.Index(r.queue[f], a); i >= 0 {
			r.queue[f] = toFront(r.queue[f], i)
			r.last = Family(f).Other()
			r.cfg.Last[f] = false
		}
	}
	r.behind = slices.DeleteFunc(r.behind, func(b netip.Addr) bool { return b == a })
	r.cfg.First = a
}

// Postpone puts an address behind all others of both families that are not
// postponed, whether they are left or still to come: it is known not to
// answer. Of an address that was started, or is in no answer, it takes no
// notice.
func (r *Race) Postpone(a netip.Addr) {
	f := Of(a)
	if !slices.Contains(r.queue[f], a) || r.postponed(a) {
		return
	}
	r.behind = append(r.behind, a)
	others := slices.DeleteFunc(slices.Clone(r.queue[f]), func(b netip.Addr) bool { return b == a })
	r.queue[f] = append(others, a)
}

func (r *Race) postponed(a netip.Addr) bool { return slices.Contains(r.behind, a) }

// toFront returns a copy of list with the i-th address moved to the front.
func toFront(list []netip.Addr, i int) []netip.Addr {
	q := make([]netip.Addr, 0, len(list))
	return append(append(append(q, list[i]), list[:i]...), list[i+1:]...)
}

// Ready reports whether Next has an address to start at now.
func (r *Race) Ready(now time.Time) bool {
	f, ok := r.nextFamily()
	return ok && !now.Before(r.startAt(f, now))
}

// Next returns the address to start at now, if there is one, and counts it
// as started; the caller asks again until there is none. wake is then the
// time at which there will be one without further events, or zero.
func (r *Race) Next(now time.Time) (start netip.Addr, wake time.Time) {
	f, ok := r.nextFamily()
	if !ok {
		return netip.Addr{}, time.Time{}
	}
	if at := r.startAt(f, now); now.Before(at) {
		return netip.Addr{}, at
	}
	start, r.queue[f] = r.queue[f][0], r.queue[f][1:]
	r.waits = r.delay(start, r.started)
	r.nextAt = now.Add(r.waits)
	if r.prompted = max(0, r.prompted-1); r.prompted > 0 {
		r.nextAt = now.Add(MinimumConnectionAttemptDelay)
	}
	r.tried[r.started] = start
	r.started++
	r.running++
	r.skipTried(IPv6)
	r.skipTried(IPv4)
	r.last, r.lastAt = f, now
	return start, time.Time{}
}

// delay is the time from the n-th start, which was at a, to the next one.
func (r *Race) delay(a netip.Addr, n int) time.Duration {
	d := max(r.cfg.Delay(a), MinimumConnectionAttemptDelay)
	return max(d, min(d*growth[n], MaximumConnectionAttemptDelay))
}

// Delay is how long the next start was to wait for the last one, when that
// began.
func (r *Race) Delay() time.Duration { return r.waits }

// Hedge reports whether the next start would be one that no failure has
// called for: others are still on their way.
func (r *Race) Hedge() bool { return r.running > 0 && r.prompted == 0 }

// Reconsider takes the attempt delay anew: Config.Delay has learned.
func (r *Race) Reconsider() {
	if r.started > 0 && r.prompted == 0 {
		r.nextAt = r.lastAt.Add(r.delay(r.tried[r.started-1], r.started-1))
	}
}

// Outcome is how the race ended; winner is invalid if nobody has won.
func (r *Race) Outcome(winner netip.Addr) Outcome {
	o := Outcome{Winner: winner}
	before := winner.IsValid()
	for _, a := range r.tried[:r.started] {
		before = before && a != winner
		if f := Of(a); before && !o.Began[f].IsValid() {
			o.Began[f] = a
		}
	}
	return o
}

// nextFamily is the family of the next attempt: the families alternate
// (RFC 8305, section 4) as long as both have addresses of the same rank.
func (r *Race) nextFamily() (f Family, ok bool) {
	f = r.last.Other()
	if q, other := r.queue[f], r.queue[r.last]; len(q) == 0 || len(other) > 0 && r.rank(other[0]) < r.rank(q[0]) {
		f = r.last
	}
	return f, len(r.queue[f]) > 0 && r.started < MaxAttempts
}

// rank is what an address has to stand behind: those of a lower rank.
func (r *Race) rank(a netip.Addr) int {
	switch {
	case r.postponed(a):
		return 2
	case r.cfg.Last[Of(a)]:
		return 1
	}
	return 0
}

// startAt is the time before which the next family does not start. The first attempt starts
// at once when the preferred family has answered, whatever it said, and else
// after the resolution delay (RFC 8305, section 3).
func (r *Race) startAt(next Family, now time.Time) time.Time {
	switch {
	case r.started > 0 && r.cfg.Last[r.last] && !r.cfg.Last[next]: // the last resort went first for want of an answer
		return r.lastAt.Add(MinimumConnectionAttemptDelay)
	case r.started > 0 && r.postponed(r.tried[r.started-1]) && !r.postponed(r.queue[next][0]): // so did a postponed one
		return r.lastAt.Add(MinimumConnectionAttemptDelay)
	case r.started > 0:
		return r.nextAt
	case r.answered[r.cfg.Prefer]:
		return now
	}
	return r.usable.Add(r.cfg.ResolutionDelay)
}

// Answered reports whether every answer is in.
func (r *Race) Answered() bool { return r.answered[IPv6] && r.answered[IPv4] }

// Final reports that one attempt is under way, and nothing can come but its end:
// every answer is in, and there is no other address.
func (r *Race) Final() bool {
	_, more := r.nextFamily()
	return r.Answered() && !more && r.running == 1
}

// Lost reports that nothing is left to wait for: every answer is in, every
// attempt has been made and has failed.
func (r *Race) Lost() bool {
	_, more := r.nextFamily()
	return r.Answered() && !more && r.running == 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
