package transport

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/sony/gobreaker/v2"
)

const (
	silentAfter  = 3     // names in a row
	maxAddresses = 16384 // with a recent time-out
	addressSlots = 4096
)

// addresses is the ledger of the addresses at which nobody answers. A SYN
// carries no name, so a connect that times out says the same of all names
// that lead there: when it has happened to three of them, with no answer
// since, the address is silent. From then on it is the last to be tried, and
// a host that has only such addresses is not tried at all, but for one probe
// after each cool-down. The first answer ends it. An address that answers has
// no entry.
type addresses struct {
	seed  maphash.Seed
	slots [addressSlots]addressSlot

	mu       sync.RWMutex // protects what follows, and the silences
	silences map[netip.AddrPort]*silence
}

// An addressSlot is for all addresses with the same hash. It spares those that
// answer the lock and the map.
type addressSlot struct {
	answers atomic.Uint32 // connects answered so far
	entries atomic.Int32  // silences
}

// A silence is what is known of an address that has not answered of late.
type silence struct {
	names    [silentAfter]timedOutName // the oldest first
	known    int                       // of these; all of them: the address is silent
	failures int
	last     error
	lastAt   time.Time // of it

	// Of a silent address.
	retryAt  time.Time
	cooldown time.Duration
	cooled   time.Time // when the cool-down began
	probe    *addressProbe
}

type timedOutName struct {
	hash uint64
	at   time.Time
}

// An addressProbe is held by the one dial that finds out whether an address
// answers again.
type addressProbe struct {
	addr  netip.AddrPort
	since time.Time
}

func newAddresses() *addresses {
	return &addresses{seed: maphash.MakeSeed(), silences: map[netip.AddrPort]*silence{}}
}

// isAnswer reports whether a failed connect was answered: a refusal is quick,
// and the host's own affair.
func isAnswer(err error) bool {
	if err == nil {
		return false
	}
	k := connectKind(err)
	return k == hostwise.ConnectRefused || k == hostwise.ConnectReset
}

// answered forgets everything about an address.
func (l *addresses) answered(a netip.AddrPort) {
	slot := l.slot(a)
	slot.answers.Add(1)
	if slot.entries.Load() == 0 {
		return
	}
	l.mu.RLock()
	s := l.silences[a]
	l.mu.RUnlock()
	if s != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.forget(a)
	}
}

// forget removes an entry, if there is one. l.mu is held.
func (l *addresses) forget(a netip.AddrPort) {
	if l.silences[a] != nil {
		delete(l.silences, a)
		l.slot(a).entries.Add(-1)
	}
}

func (l *addresses) slot(a netip.AddrPort) *addressSlot {
	b := a.Addr().As16()
	h := binary.BigEndian.Uint64(b[:8]) ^ binary.BigEndian.Uint64(b[8:]) ^ uint64(a.Port())<<32
	return &l.slots[h*0x9e3779b97f4a7c15>>32%addressSlots] // the golden ratio: its upper bits are mixed best
}

// answers is a number that changes with each answer of an address, and
// perhaps with those of a few others.
func (l *addresses) answers(a netip.AddrPort) uint32 { return l.slot(a).answers.Load() }

// allow says whether to connect to an address: if it is silent, down says how
// long. With take, the one dial that may be tried nevertheless gets a probe.
func (l *addresses) allow(a netip.AddrPort, now time.Time, take bool) (p *addressProbe, down *hostwise.HostDownError) {
	if l.slot(a).entries.Load() == 0 {
		return nil, nil
	}
	l.mu.RLock()
	s := l.silences[a]
	silent := s != nil && s.silent()
	l.mu.RUnlock()
	if !silent {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s = l.silences[a]
	switch {
	case s == nil || !s.silent(): // meanwhile
		return nil, nil
	case now.Before(s.retryAt), s.probe != nil && now.Before(s.probe.since.Add(probeExpiry)):
		return nil, s.error()
	case take:
		s.probe = &addressProbe{addr: a, since: now}
		return s.probe, nil
	}
	return nil, nil
}

func (s *silence) silent() bool { return s.known == silentAfter }

func (s *silence) error() *hostwise.HostDownError {
	retryAt := s.retryAt
	if s.probe != nil {
		retryAt = s.probe.since.Add(probeExpiry)
	}
	return &hostwise.HostDownError{
		Kind: hostwise.HostDown, Since: s.names[silentAfter-1].at, RetryAt: retryAt,
		Failures: s.failures, Last: s.last, Err: gobreaker.ErrOpenState,
	}
}

// timedOut charges an address: name's connect was not answered. answers is
// what answers returned when it began: if others were answered meanwhile, it
// does not count. p is the dial's probe, if it had one.
func (l *addresses) timedOut(a netip.AddrPort, name string, answers uint32, now time.Time, err error, p *addressProbe) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answers(a) != answers {
		return
	}
	s := l.silences[a]
	if s == nil {
		if len(l.silences) >= maxAddresses {
			l.evict()
		}
		s = &silence{}
		l.silences[a] = s
		l.slot(a).entries.Add(1)
	}
	s.failures++
	s.last, s.lastAt = kept(err), now
	if s.silent() {
		if p != nil && s.probe == p {
			s.cool(now, min(2*s.cooldown, defaultMaxCooldown))
		}
		return // else it was begun before
	}
	hash := maphash.String(l.seed, name)
	for _, n := range s.names[:s.known] {
		if n.hash == hash {
			return
		}
	}
	s.names[s.known] = timedOutName{hash, now}
	if s.known++; s.silent() {
		s.cool(now, defaultCooldown)
	}
}

// cool begins a cool-down, up to a tenth longer or shorter than said, as those
// of hosts are.
func (s *silence) cool(now time.Time, cooldown time.Duration) {
	s.probe, s.cooldown, s.cooled = nil, cooldown, now
	jitter := time.Duration((rand.Float64() - 0.5) * 0.2 * float64(cooldown))
	s.retryAt = now.Add(min(cooldown+jitter, defaultMaxCooldown))
}

// release gives back a probe that has found out nothing.
func (l *addresses) release(p *addressProbe) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.silences[p.addr]; s != nil && s.probe == p {
		s.probe = nil
	}
}

// evict makes room for another address: of a few looked at, the one that has
// had no time-out for the longest time, one that is not silent before one
// that is.
func (l *addresses) evict() {
	var victim netip.AddrPort
	var worst *silence
	looked := 0
	for a, s := range l.silences {
		if worst == nil || s.silent() == worst.silent() && s.lastAt.Before(worst.lastAt) || !s.silent() && worst.silent() {
			victim, worst = a, s
		}
		if looked++; looked == 8 {
			break
		}
	}
	l.forget(victim)
}

// silent is the number of silent addresses.
func (l *addresses) silent() (n int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.silences {
		if s.silent() {
			n++
		}
	}
	return n
}

// forgetSince forgets what was charged at t or later: it was the fault of
// this machine's own network. An address that was silent before gets a probe
// at once, if it was charged since.
func (l *addresses) forgetSince(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, s := range l.silences {
		before := 0
		for _, n := range s.names[:s.known] {
			if n.at.Before(t) {
				before++
			}
		}
		switch {
		case before == 0:
			l.forget(a)
		case before < s.known:
			s.known, s.probe = before, nil
		case s.silent() && !s.cooled.Before(t): // by a probe, which has doubled it
			s.retryAt, s.cooldown = t, max(s.cooldown/2, defaultCooldown)
		}
	}
}

// remembersAddresses reports whether the dial goes by the ledger: a proxy's
// address serves all names, and its own breaker decides.
func (d *dial) remembersAddresses() bool { return !d.t.opt.DisableMemory && d.state.proxy == "" }

// screen puts the silent addresses among those known so far behind the
// others. It returns the error for a host that has none but such. Once it is
// the dial's turn to connect, it takes the probes that are due.
func (d *dial) screen(now time.Time) (down *hostwise.HostDownError) {
	if !d.remembersAddresses() {
		return nil
	}
	hope := false
	for _, list := range d.answers {
		for _, addr := range list {
			a := netip.AddrPortFrom(addr, d.port)
			if d.probe(a) != nil {
				hope = true
				continue
			}
			p, silent := d.t.addresses.allow(a, now, d.turn)
			switch {
			case silent != nil:
				d.race.Postpone(addr)
				down = both(down, silent)
				continue
			case p != nil:
				d.probes = append(d.probes, p)
			}
			hope = true
		}
	}
	if hope || down == nil {
		return nil
	}
	down.Host = d.state.host
	return down
}

// both is the error for a host of whose addresses one fails with a, which may
// be nil, and another with b.
func both(a, b *hostwise.HostDownError) *hostwise.HostDownError {
	if a == nil {
		return b
	}
	a.Failures += b.Failures
	if b.Since.After(a.Since) { // it was not down before
		a.Since, a.Last = b.Since, b.Last
	}
	if b.RetryAt.Before(a.RetryAt) {
		a.RetryAt = b.RetryAt
	}
	return a
}

// probe is the dial's probe of an address, if it has one.
func (d *dial) probe(a netip.AddrPort) *addressProbe {
	for _, p := range d.probes {
		if p.addr == a {
			return p
		}
	}
	return nil
}

// settleAddresses charges the addresses that did not answer, at the end of a
// dial. A probe that was called off, since another address has won, is not
// given back but left to expire: else each dial would wait for the address
// first.
func (d *dial) settleAddresses(now time.Time) {
	if !d.remembersAddresses() {
		return
	}
	excused := d.t.outage.excuses(d.connecting)
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	for i := range d.state.attempts {
		a := &d.state.attempts[i]
		if !excused && d.timedOut(a, now) {
			err := &hostwise.ConnectError{Host: d.state.host, Kind: hostwise.ConnectTimeout, Attempts: d.state.soFar(errTimeout{})[i : i+1 : i+1]}
			d.t.addresses.timedOut(a.Addr, d.key, d.answersAt[i], now, err, d.probe(a.Addr))
		}
	}
	for _, p := range d.probes {
		calledOff := func(a attemptState) bool {
			return a.Addr == p.addr && a.running && a.Phase == hostwise.PhaseConnect
		}
		if d.winner < 0 || !slices.ContainsFunc(d.state.attempts, calledOff) {
			d.t.addresses.release(p)
		}
	}
}

// timedOut reports whether an attempt was not answered in the time that is
// fair: its own, if it has ended by itself, and else as long as a host is
// given.
func (d *dial) timedOut(a *attemptState, now time.Time) bool {
	end := d.end()
	if !d.deadline.IsZero() && d.deadline.Before(end) {
		end = d.deadline
	}
	began := d.start.Add(a.Start)
	ended := began.Add(a.Elapsed)
	switch {
	case a.Phase != hostwise.PhaseConnect:
		return false
	case a.running && now.Before(end): // called off
		return false
	case a.running:
		ended = now
	case connectKind(a.Err) != hostwise.ConnectTimeout:
		return false
	}
	return ended.Before(end) || ended.Sub(began) >= min(fairConnect, d.t.opt.DialTimeout)
}
