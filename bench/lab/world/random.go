package world

import (
	"math"
	"net/netip"
	"time"
)

// Nothing here draws from a stream: each value is a hash of the seed, a tag
// and the indexes of what it belongs to, so that the order of the questions a
// client asks changes no answer.

// mix is the output function of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

func (w *World) hash(tag string, n ...uint64) uint64 {
	h := mix(w.Seed)
	for i := range len(tag) {
		h = mix(h ^ uint64(tag[i]))
	}
	for _, v := range n {
		h = mix(h ^ v)
	}
	return h
}

// unit maps h to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

func (w *World) uniform(tag string, n ...uint64) float64 { return unit(w.hash(tag, n...)) }

// normal is the Box-Muller transform.
func (w *World) normal(tag string, n ...uint64) float64 {
	h := w.hash(tag, n...)
	u1, u2 := max(unit(h), 1e-12), unit(mix(h))
	return math.Sqrt(-2*math.Log(u1)) * math.Cos(2*math.Pi*u2)
}

func (w *World) logNormal(median, sigma float64, tag string, n ...uint64) float64 {
	return median * math.Exp(sigma*w.normal(tag, n...))
}

func milliseconds(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }

// LosesQuery reports whether the network loses the UDP query number try
// (from 1, over all name servers) for one name and type. A nil host is a name
// that is not of this world.
func (w *World) LosesQuery(h *Host, qtype uint16, try uint64) bool {
	host := uint64(1 << 40)
	if h != nil {
		host = uint64(h.Index)
	}
	return w.uniform("dnsloss", host, uint64(qtype), try) < w.Scenario.DNSLoss
}

// LosesSYN reports whether the network loses the SYN number n (from 1) to one
// address of a host.
func (w *World) LosesSYN(host int, to netip.Addr, n uint64) bool {
	b := to.As16()
	return w.Scenario.SynLoss > 0 && w.uniform("syn", uint64(host), uint64(b[15]), n) < w.Scenario.SynLoss
}
