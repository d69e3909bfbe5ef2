package happyeyeballs

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	maxHosts       = 65536
	maxPrefixes    = 65536
	firstTerm      = 10 * time.Minute // how long the family that lost comes second
	lastTerm       = 6 * time.Hour    // the same, when it has lost again and again
	rttValid       = time.Hour
	recentConnects = 256
	enoughConnects = 20 // for a percentile
	minAdaptive    = 100 * time.Millisecond
	maxAdaptive    = time.Second // then the kernel repeats its SYN: RFC 6298, section 2
	deadListed     = 100         // hosts in Summary.DeadIPv6
)

// A History remembers the outcomes of races, and so plans the next ones. It
// is safe for concurrent use.
type History struct {
	mu       sync.Mutex // protects all
	hosts    *lru[string, hostHistory]
	prefixes *lru[netip.Prefix, rtt]
	connects [recentConnects]time.Duration
	measured int           // connects ever
	p95      time.Duration // of them; 0: not yet known
	p95At    int           // measured then
	families [2]verdict
	epoch    int // flushes
}

type hostHistory struct {
	winner netip.Addr    // the last address that was reached
	second Family        // the family that lost
	until  time.Time     // as long as it comes second
	term   time.Duration // that it was given
	lost6  int           // races that IPv6 began and lost, since it last won
	won6   bool
}

type rtt struct {
	smooth time.Duration
	at     time.Time // of the last sample
}

// NewHistory returns an empty History.
func NewHistory() *History {
	h := &History{}
	h.clear()
	return h
}

func (h *History) clear() {
	h.hosts, h.prefixes = newLRU[string, hostHistory](maxHosts), newLRU[netip.Prefix, rtt](maxPrefixes)
	h.measured, h.p95 = 0, 0
	for f := range h.families {
		v := &h.families[f]
		*v = verdict{changes: v.changes, canaries: v.canaries}
	}
}

// Flush forgets the outcomes: the network has changed. It keeps which hosts
// have been reached at all.
func (h *History) Flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	hosts := h.hosts
	h.clear()
	h.epoch++
	for e := hosts.order.Back(); e != nil; e = e.Prev() {
		h.hosts.make(e.Value.(*lruEntry[string, hostHistory]).key)
	}
}

// A Plan is how to begin a race.
type Plan struct {
	Prefer Family
	Last   [2]bool    // families, by index, to be tried when nothing of the other is left
	First  netip.Addr // to be tried first in its family
	Canary [2]bool    // the race tells whether the family is back
	epoch  int
}

// Plan returns how to race to a host. prefer is the family for hosts of which
// nothing else is known.
func (h *History) Plan(host string, prefer Family, now time.Time) Plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := Plan{Prefer: prefer, epoch: h.epoch}
	second := IPv6.none()
	if x := h.hosts.get(host); x != nil {
		p.First = x.winner
		if now.Before(x.until) {
			second = x.second
		}
	}
	if second != IPv6.none() {
		p.Prefer = second.Other()
	}
	for _, f := range [...]Family{IPv6, IPv4} {
		v := &h.families[f]
		switch {
		case !v.down:
		case second != f && !h.families[f.Other()].down && v.takeCanary(now):
			p.Canary[f], p.Prefer = true, f
		case !h.families[f.Other()].down:
			p.Last[f], p.Prefer = true, f.Other()
		}
	}
	return p
}

// none is no family.
func (Family) none() Family { return 2 }

// An Outcome is how a race ended.
type Outcome struct {
	Winner netip.Addr    // invalid: nobody has won, or the race was called off
	Began  [2]netip.Addr // by family, the first address tried before the winner; invalid if none was
}

// Ended records the outcome of a race to a host. A host whose addresses all
// failed teaches nothing about families, and a race that began before a Flush
// only that the host can be reached.
func (h *History) Ended(host string, p Plan, o Outcome, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.epoch != h.epoch {
		if o.Winner.IsValid() {
			h.hosts.make(host)
		}
		return
	}
	for f := range p.Canary {
		if p.Canary[f] && (!o.Winner.IsValid() || Of(o.Winner) != Family(f) && !o.Began[f].IsValid()) {
			h.families[f].returnCanary(now)
		}
	}
	if !o.Winner.IsValid() {
		return
	}
	won := Of(o.Winner)
	lost := won.Other()
	x := h.hosts.make(host)
	x.winner = o.Winner
	h.families[won].winsRace(now)
	if won == IPv6 {
		x.won6, x.lost6 = true, 0
	}
	switch began := o.Began[lost]; {
	case began.IsValid():
		h.families[lost].loses(prefixOf(began), p.Canary[lost], now)
		if lost == IPv6 && !h.families[lost].down {
			x.lost6++
		}
		if x.second != lost || x.term == 0 {
			x.term = firstTerm
		} else if !now.Before(x.until) {
			x.term = min(2*x.term, lastTerm)
		}
		x.second, x.until = lost, now.Add(x.term)
	case x.second == won:
		x.until, x.term = time.Time{}, 0
	}
}

// Reached reports whether a host has ever been reached, as far as that is
// remembered.
func (h *History) Reached(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hosts.get(host) != nil
}

// Hosts is the number of hosts that have been reached, as far as that is
// remembered.
func (h *History) Hosts() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.hosts.index)
}

// Measured records how long a connection took to establish, without a
// retransmission.
func (h *History) Measured(a netip.Addr, took time.Duration, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.prefixes.make(prefixOf(a))
	// A connect that outlasts its delay shows at once that it was too short.
	if now.Sub(p.at) >= rttValid || took > 2*p.smooth {
		p.smooth = took
	}
	p.smooth += (took - p.smooth) / 8 // RFC 6298, section 2
	p.at = now
	h.connects[h.measured%recentConnects] = took
	h.measured++
}

// recent is the 95th percentile of recent connects, at most 15 of them left
// out.
func (h *History) recent() time.Duration {
	if h.p95 == 0 || h.measured-h.p95At >= 16 {
		sorted := slices.Clone(h.connects[:min(h.measured, recentConnects)])
		slices.Sort(sorted)
		h.p95, h.p95At = sorted[(len(sorted)*95+99)/100-1], h.measured
	}
	return h.p95
}

// Source says what an attempt delay is taken from.
type Source string

// Sources of attempt delays.
const (
	FromDefault Source = "default" // ConnectionAttemptDelay
	FromPrefix  Source = "prefix"  // twice the smoothed round trip to the destination's /24 or /48
	FromRecent  Source = "recent"  // the 95th percentile of recent connects
)

// Delay returns how long an attempt at a has before the next one starts.
func (h *History) Delay(a netip.Addr, now time.Time) (time.Duration, Source) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.prefixes.get(prefixOf(a)); p != nil && now.Sub(p.at) < rttValid {
		return clamp(2 * p.smooth), FromPrefix
	}
	if h.measured >= enoughConnects {
		return clamp(h.recent()), FromRecent
	}
	return ConnectionAttemptDelay, FromDefault
}

func clamp(d time.Duration) time.Duration { return min(max(d, minAdaptive), maxAdaptive) }

// prefixOf is the network that an address is taken to be in.
func prefixOf(a netip.Addr) netip.Prefix {
	bits := 48
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// A Summary is the state of a History.
type Summary struct {
	Hosts    int
	Down     [2]bool  // by family
	Changes  [2]int   // of that
	Canaries [2]int   // dials that tried a family that is down
	DeadIPv6 []string // hosts whose IPv6 has lost twice or more and never won; at most 100
}

// Summary returns the state.
func (h *History) Summary() Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Summary{Hosts: len(h.hosts.index)}
	for f, v := range h.families {
		s.Down[f], s.Changes[f], s.Canaries[f] = v.down, v.changes, v.canaries
	}
	for e := h.hosts.order.Front(); e != nil && len(s.DeadIPv6) < deadListed; e = e.Next() {
		if x := e.Value.(*lruEntry[string, hostHistory]); x.value.lost6 >= 2 && !x.value.won6 {
			s.DeadIPv6 = append(s.DeadIPv6, x.key)
		}
	}
	return s
}
