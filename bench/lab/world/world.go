package world

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Domain is the zone that all hosts are in.
const Domain = "lab.test"

// World is the mini-internet of one scenario and seed. It does not change.
type World struct {
	Scenario Scenario
	Seed     uint64
	Hosts    []*Host
	Work     []int32 // the host of each URL, in the order of the crawl

	byName map[string]*Host // names and aliases, fully qualified
}

// New builds a world. The same scenario and seed give the same world.
func New(s Scenario, seed uint64) (*World, error) {
	if s.Hosts < 1 || s.Hosts > maxHosts {
		return nil, fmt.Errorf("scenario %s: %d hosts, not 1 to %d", s.Name, s.Hosts, maxHosts)
	}
	if s.URLs < 1 {
		return nil, fmt.Errorf("scenario %s: no URLs", s.Name)
	}
	w := &World{Scenario: s, Seed: seed, byName: map[string]*Host{}}
	parts := w.cast()
	for i := range s.Hosts {
		h := w.newHost(i, parts)
		w.Hosts = append(w.Hosts, h)
		w.byName[h.Name+"."] = h
		for _, c := range h.CNAME {
			w.byName[c+"."] = h
		}
	}
	w.Work = w.workload()
	return w, nil
}

// ByName returns the host of a name or alias, lower case and with the final
// dot, or nil.
func (w *World) ByName(fqdn string) *Host { return w.byName[fqdn] }

// set is a set of host indexes.
type set map[int]bool

// parts says which hosts play which part.
type parts struct {
	fate                  []Fate
	dual, v6Drop, v6Reset set
	multiA, partDead      set
	moved                 set
	servFailFirst         set
	truncated             set
	closes, shortIdle     set
	near                  set
	oneAlias, moreAliases set
}

// cast deals out the parts. The shares are exact: the hosts are ranked by a
// hash and the first so many are taken.
func (w *World) cast() *parts {
	s := w.Scenario
	pick := func(tag string, share float64, eligible func(i int) bool) set {
		var ranked []int
		for i := range s.Hosts {
			if eligible(i) {
				ranked = append(ranked, i)
			}
		}
		slices.SortFunc(ranked, func(a, b int) int {
			return cmp.Compare(w.hash(tag, uint64(a)), w.hash(tag, uint64(b)))
		})
		k := int(math.Round(share * float64(s.Hosts)))
		picked := set{}
		for _, i := range ranked[:min(k, len(ranked))] {
			picked[i] = true
		}
		return picked
	}
	p := &parts{fate: make([]Fate, s.Hosts)}
	all := func(int) bool { return true }
	healthy := func(i int) bool { return p.fate[i] == OK }
	popular := func(i int) bool { return i < int(s.DeadMinRank*float64(s.Hosts)) }

	condemn := func(f Fate, tag string, share float64) {
		for i := range pick(tag, share, func(i int) bool { return healthy(i) && !popular(i) }) {
			p.fate[i] = f
		}
	}
	condemn(Dead, "dead", s.Dead)
	condemn(Refused, "refused", s.Refuse)
	condemn(NXDomain, "nx", s.NXDomain)
	condemn(ServFail, "servfail", s.ServFail)
	condemn(DNSTimeout, "noanswer", s.NoAnswer)
	condemn(Mute, "mute", s.Mute)

	p.dual = pick("dual", s.DualStack, all)
	dualShare := float64(len(p.dual)) / float64(s.Hosts)
	p.v6Drop = pick("v6bh", s.V6Blackhole*dualShare, func(i int) bool { return p.dual[i] && healthy(i) })
	p.v6Reset = pick("v6rst", s.V6Refuse*dualShare, func(i int) bool { return p.dual[i] && healthy(i) && !p.v6Drop[i] })
	p.multiA = pick("multi", s.MultiA, all)
	p.partDead = pick("part", s.PartDead, func(i int) bool { return healthy(i) && !popular(i) })
	p.moved = pick("moved", s.Moved, func(i int) bool { return healthy(i) && !p.partDead[i] })
	p.servFailFirst = pick("sf1", s.ServFailFirst, healthy)
	p.truncated = pick("trunc", s.Trunc, healthy)
	p.closes = pick("closer", s.Closers, all)
	p.shortIdle = pick("short", s.ShortIdle, func(i int) bool { return !p.closes[i] })
	p.near = pick("cdn", s.CDNShare, all)
	p.oneAlias = pick("c1", s.CNAME1, all)
	p.moreAliases = pick("c2", s.CNAME2, func(i int) bool { return !p.oneAlias[i] })
	return p
}
