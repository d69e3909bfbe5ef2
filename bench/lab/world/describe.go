package world

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Describe says in two lines what the world holds.
func (w *World) Describe() string {
	type count struct{ hosts, urls int }
	truth := map[string]count{}
	for _, h := range w.Hosts {
		c := truth[h.Fate.String()]
		c.hosts++
		truth[h.Fate.String()] = c
	}
	visited := map[int32]bool{}
	var dns, rtt, think, floor []time.Duration
	for k, i := range w.Work {
		h := w.Hosts[i]
		c := truth[h.Fate.String()]
		c.urls++
		truth[h.Fate.String()] = c
		if h.Fate == OK {
			d, c, s := w.Floor(k, !visited[i])
			floor = append(floor, d+c+s)
			if !visited[i] {
				dns = append(dns, d)
				rtt = append(rtt, h.RTT4)
				think = append(think, h.Think)
			}
		}
		visited[i] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "world %s seed %d: %d hosts (%d visited), %d URLs; hosts/URLs by truth:",
		w.Scenario.Name, w.Seed, len(w.Hosts), len(visited), len(w.Work))
	for _, f := range slices.Sorted(maps.Keys(truth)) {
		fmt.Fprintf(&b, " %s %d/%d", f, truth[f].hosts, truth[f].urls)
	}
	fmt.Fprintf(&b, "\n  floor DNS per first visit: %s; RTT: %s; think: %s; TTFB floor: %s",
		quantiles(dns), quantiles(rtt), quantiles(think), quantiles(floor))
	return b.String()
}

func quantiles(v []time.Duration) string {
	if len(v) == 0 {
		return "-"
	}
	slices.Sort(v)
	at := func(percent int) float64 { return float64(v[len(v)*percent/100].Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %.0f p90 %.0f p99 %.0f", at(50), at(90), at(99))
}
