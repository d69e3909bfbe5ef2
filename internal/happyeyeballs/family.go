package happyeyeballs

import (
	"net/netip"
	"slices"
	"time"
)

const (
	lossesForDown = 4 // in a row, each over another prefix: the family is down
	winsToUp      = 2 // in a row: it is healthy again
	firstCanary   = 2 * time.Second
	lastCanary    = time.Minute
)

// verdict is what the outcomes of races say of a family as a whole: of this
// machine's own connectivity, that is. A family that is down is tried last,
// but for an ordinary dial now and then, a canary, that tries it first.
type verdict struct {
	lost     []netip.Prefix // in a row
	down     bool
	interval time.Duration
	next     time.Time // of the next canary
	wins     int       // since it is down
	changes  int
	canaries int
}

// loses records that the other family won although this one began.
func (v *verdict) loses(p netip.Prefix, canary bool, now time.Time) {
	v.wins = 0
	switch {
	case v.down && canary:
		v.interval = min(2*v.interval, lastCanary)
		v.next = now.Add(v.interval)
	case v.down, slices.Contains(v.lost, p):
	default:
		if v.lost = append(v.lost, p); len(v.lost) == lossesForDown {
			v.lost, v.down, v.interval = nil, true, firstCanary
			v.next = now.Add(v.interval)
			v.changes++
		}
	}
}

// winsRace records that the family won. The dial after the first win of a
// canary is one, too.
func (v *verdict) winsRace(now time.Time) {
	v.lost = nil
	if !v.down {
		return
	}
	v.next = now
	if v.wins++; v.wins == winsToUp {
		v.wins, v.down = 0, false
		v.changes++
	}
}

// takeCanary reports whether the dial that begins now is to be the canary.
func (v *verdict) takeCanary(now time.Time) bool {
	if !v.down || now.Before(v.next) {
		return false
	}
	v.next = now.Add(v.interval)
	v.canaries++
	return true
}

// returnCanary has the next dial be the canary: this one said nothing.
func (v *verdict) returnCanary(now time.Time) {
	v.next = now
	v.canaries--
}
