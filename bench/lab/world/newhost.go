package world

import (
	"fmt"
	"math"
)

func (w *World) newHost(i int, p *parts) *Host {
	h := &Host{
		Index:         i,
		Name:          fmt.Sprintf("h%05d.%s", i, Domain),
		Fate:          p.fate[i],
		ServFailFirst: p.servFailFirst[i],
		Truncated:     p.truncated[i],
		Closes:        p.closes[i],
		ShortIdle:     p.shortIdle[i],
	}
	w.setAliases(h, p)
	w.setAddresses(h, p)
	w.setDNSTimes(h)
	w.setPath(h, p)
	return h
}

func (w *World) setAliases(h *Host, p *parts) {
	n := uint64(h.Index)
	hops := 0
	switch {
	case p.oneAlias[h.Index]:
		hops = 1
	case p.moreAliases[h.Index]:
		hops = 2 + int(w.hash("hops", n)%2)
	}
	for j := range hops {
		h.CNAME = append(h.CNAME, fmt.Sprintf("e%d-%05d.cdn%d.%s", j, h.Index, w.hash("cdnno", n)%7, Domain))
	}
}

func (w *World) setAddresses(h *Host, p *parts) {
	i := h.Index
	t := Deliver
	switch h.Fate {
	case Dead:
		t = Drop
	case Refused:
		t = Reset
	}

	n := 1
	switch {
	case p.partDead[i]:
		n = 2
	case p.multiA[i]:
		n = 2 + int(w.hash("na", uint64(i))%3)
	}
	for j := range n {
		h.V4 = append(h.V4, Addr{v4Slot(i, j), t})
	}
	if p.partDead[i] {
		h.V4[0].Treatment = Drop
	}

	if p.dual[i] {
		switch {
		case p.v6Drop[i]:
			t = Drop
		case p.v6Reset[i]:
			t = Reset
		}
		h.V6 = append(h.V6, Addr{v6Slot(i, 0), t})
	}
	if p.moved[i] { // a host that moves has one address, the better to see when a client follows
		h.V4, h.V6 = h.V4[:1], nil
		h.Moved = &Addr{v4Slot(i, slotsPerHost-1), Deliver}
	}
}

// ttlMix is the distribution of the TTLs resolvers saw: F. Denis (OpenDNS,
// 348 M A queries) has <= 1 min 9.84 %, <= 2 min 16.3 %, <= 5 min 39.9 %,
// <= 1 h 70.1 %, the rest up to a day; values of CDNs 20/30/60/300 s from
// ctrl.blog.
var ttlMix = []struct{ share, ttl float64 }{ // share: of names with this TTL or less
	{0.03, 20}, {0.06, 30}, {0.0984, 60}, {0.1632, 120}, {0.3988, 300}, {0.55, 600}, {0.7007, 3600}, {0.90, 14400}, {1, 86400},
}

func (w *World) setDNSTimes(h *Host) {
	s, n := w.Scenario, uint64(h.Index)

	ttl := 300.0
	u := w.uniform("ttl", n)
	for _, t := range ttlMix {
		if u <= t.share {
			ttl = t.ttl
			break
		}
	}
	if s.TTLScale > 0 {
		ttl /= s.TTLScale
	}
	h.TTL = uint32(max(1, math.Round(ttl)))

	cold := w.logNormal(s.ColdMedian, s.ColdSigma, "cold", n)
	if w.uniform("coldretry", n) < s.ColdRetry {
		cold += s.ColdRetryMS * (0.75 + 0.5*w.uniform("coldretry2", n))
	}
	if h.Fate == ServFail {
		cold += 1000 + 1500*w.uniform("sfslow", n)
	}
	cold = min(cold, 4500)
	h.ColdA = milliseconds(cold * (0.9 + 0.2*w.uniform("ca", n)))
	h.ColdAAAA = milliseconds(cold * (0.9 + 0.2*w.uniform("c6", n)))
	h.Refetch = milliseconds(min(cold, w.logNormal(25, 0.7, "refetch", n)))

	warm := s.WarmTail
	if h.Index < s.Hosts/10 {
		warm = s.WarmHead
	}
	h.Warm = w.uniform("prewarm", n) < warm && h.Fate != ServFail
	h.WarmTTL = uint32(max(1, math.Ceil(float64(h.TTL)*w.uniform("remain", n))))
}

func (w *World) setPath(h *Host, p *parts) {
	s, n := w.Scenario, uint64(h.Index)
	var rtt float64
	if p.near[h.Index] {
		rtt = s.RTTNear * (0.7 + 0.8*w.uniform("rtt", n))
	} else {
		rtt = min(350, max(4, w.logNormal(s.RTTFar, s.RTTSigma, "rttfar", n)))
	}
	h.RTT4 = milliseconds(rtt)
	h.RTT6 = milliseconds(rtt * (0.92 + 0.16*w.uniform("rtt6", n)))
	h.Think = milliseconds(min(s.ThinkCap, w.logNormal(s.Think, s.ThinkSigma, "think", n)))
}
