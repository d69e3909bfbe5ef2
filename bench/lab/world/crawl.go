package world

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// workload draws the host of each URL, the popular ones more often.
func (w *World) workload() []int32 {
	s := w.Scenario
	cumulated := make([]float64, s.Hosts)
	total := 0.0
	for i := range cumulated {
		total += 1 / math.Pow(float64(i+1), s.Zipf)
		cumulated[i] = total
	}
	work := make([]int32, 0, s.URLs)
	if s.Once {
		shuffled := make([]int32, s.Hosts)
		for i := range shuffled {
			shuffled[i] = int32(i)
		}
		slices.SortFunc(shuffled, func(a, b int32) int {
			return cmp.Compare(w.hash("perm", uint64(a)), w.hash("perm", uint64(b)))
		})
		work = append(work, shuffled[:min(s.Hosts, s.URLs)]...)
	}
	for k := len(work); k < s.URLs; k++ {
		x := w.uniform("url", uint64(k)) * total
		work = append(work, int32(min(sort.SearchFloat64s(cumulated, x), s.Hosts-1)))
	}
	return work
}

// URL returns URL number k of the crawl.
func (w *World) URL(k int) string {
	scheme := "http"
	if w.Scenario.TLS {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/p/%d", scheme, w.Hosts[w.Work[k]].Name, k)
}

// Think is the time from request to first byte inside the server, for one page.
func (w *World) Think(h *Host, page int) time.Duration {
	return time.Duration(float64(h.Think) * (0.8 + 0.4*w.uniform("tj", uint64(h.Index), uint64(page))))
}

// TextSize is the length of a page in bytes, without its head and links.
func (w *World) TextSize(page int) int {
	return 1024 + int(w.hash("size", uint64(page))%7000)
}

// Link is the host that link number j of a page leads to.
func (w *World) Link(page, j int) *Host {
	return w.Hosts[w.hash("link", uint64(page), uint64(j))%uint64(len(w.Hosts))]
}

// Floor is the least time from issuing URL number k to its first byte, in
// three parts. With first, nobody has asked for this host before: the name must
// be resolved and a connection opened. Afterwards the answer is known and there
// is a connection, unless the host closes each.
func (w *World) Floor(k int, first bool) (dns, connect, server time.Duration) {
	h := w.Hosts[w.Work[k]]
	rtt, cold := h.RTT4, h.ColdA
	if len(h.V6) > 0 && h.V6[0].Treatment == Deliver && !w.Scenario.V6NoRoute {
		rtt = min(rtt, h.RTT6)
		cold = min(cold, h.ColdAAAA)
	}
	if first {
		dns = milliseconds(w.Scenario.ResolverRTT[0])
		if !h.Warm {
			dns += cold
		}
	}
	if first || h.Closes {
		connect = rtt
		if w.Scenario.TLS {
			connect += rtt // TLS 1.3: one more round trip, RFC 8446, section 2
		}
	}
	return dns, connect, rtt + w.Think(h, k)
}
