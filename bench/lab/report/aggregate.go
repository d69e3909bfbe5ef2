package report

import (
	"slices"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// Aggregate makes the report of one result. It marks the rows of URLs that
// were never handed out.
func Aggregate(w *world.World, res *crawl.Result, seen world.Stats) *Report {
	r := &Report{
		Client:    res.Client,
		Scenario:  w.Scenario.Name,
		Seed:      w.Seed,
		URLs:      len(res.Rows),
		Errors:    map[crawl.Kind]int{},
		Confusion: map[string]map[string]int{},
		World:     seen,
	}
	for i := range res.Rows {
		if res.Rows[i].Kind == "" {
			res.Rows[i] = crawl.Row{URL: i, Kind: crawl.Unfinished, Start: res.Wall * 1000}
			r.Unfinished++
		}
	}
	r.addPages(w, res.Rows)
	r.addUsage(res)
	r.addTraffic(seen)
	return r
}

func (r *Report) addPages(w *world.World, rows []crawl.Row) {
	first := firstVisits(w, rows)
	r.HostsHit = len(first)
	var all, cold, warm, excess, excessCold, ends []float64
	rightKind, rightFamily := 0, 0
	for i, row := range rows {
		h := w.Hosts[w.Work[i]]
		ends = append(ends, row.Start+row.Total)
		r.confuse(h.Fate, row.Kind)
		switch {
		case h.Fate != world.OK:
			r.BadURLs++
			if isRight(h.Fate, row.Kind) {
				rightKind++
			}
			blamed := familyOfFate(h.Fate)
			if familyOf(row.Kind) == blamed {
				rightFamily++
			}
			if blamed == itself {
				r.LostOnDead += row.Total / 1000
			} else {
				r.LostOnDNS += row.Total / 1000
			}
		case row.Kind != crawl.OK:
			r.HealthyURLs++
			r.Lost++
			r.LostOnPages += row.Total / 1000
		default:
			r.HealthyURLs++
			j := first[w.Work[i]]
			e := row.TTFB - floor(w, i, j, rows)
			all = append(all, row.TTFB)
			excess = append(excess, e)
			if i == j {
				cold = append(cold, row.TTFB)
				excessCold = append(excessCold, e)
			} else {
				warm = append(warm, row.TTFB)
			}
		}
	}
	r.TTFB, r.Cold, r.Warm = distribution(all), distribution(cold), distribution(warm)
	r.Excess, r.ExcessCold = distribution(excess), distribution(excessCold)
	if r.BadURLs > 0 {
		r.KindRight = float64(rightKind) / float64(r.BadURLs)
		r.FamilyRight = float64(rightFamily) / float64(r.BadURLs)
	}
	if len(ends) > 0 {
		slices.Sort(ends)
		r.T95 = ends[int(0.95*float64(len(ends)-1))] / 1000
		r.URLsPerSecond95 = 0.95 * float64(len(ends)) / r.T95
	}
}

func (r *Report) confuse(truth world.Fate, reported crawl.Kind) {
	m := r.Confusion[truth.String()]
	if m == nil {
		m = map[string]int{}
		r.Confusion[truth.String()] = m
	}
	m[string(reported)]++
	if reported != crawl.OK {
		r.Errors[reported]++
	}
}

// firstVisits returns the URL by which each host was visited first.
func firstVisits(w *world.World, rows []crawl.Row) map[int32]int {
	first := map[int32]int{}
	for i, row := range rows {
		h := w.Work[i]
		if j, ok := first[h]; !ok || row.Start < rows[j].Start {
			first[h] = i
		}
	}
	return first
}

// floor is the least TTFB that URL i could have had in this crawl, in which
// URL j was the first of its host.
func floor(w *world.World, i, j int, rows []crawl.Row) float64 {
	dns, connect, server := w.Floor(i, i == j)
	ms := milliseconds(dns + connect + server)
	if i == j {
		return ms
	}
	// While the first one was still on its way, there was neither an answer
	// nor a connection: the rest of that look-up, and a connection of its own.
	dns1, connect1, server1 := w.Floor(j, true)
	start, start1 := rows[i].Start, rows[j].Start
	if connect == 0 && start < start1+milliseconds(dns1+connect1+server1) {
		ms += milliseconds(connect1)
	}
	return ms + max(0, start1+milliseconds(dns1)-start)
}

func (r *Report) addUsage(res *crawl.Result) {
	n := float64(len(res.Rows))
	r.Wall = res.Wall
	r.URLsPerSecond = n / res.Wall
	r.CPUPer1000 = res.CPU / n * 1000
	r.RSSPeak, r.RSSDelta = res.RSSPeak, res.RSSPeak-res.RSSBase
	r.MallocsPerURL, r.AllocKBPerURL = float64(res.Mallocs)/n, res.AllocMB*1000/n
	r.GoroutinesEnd, r.GoroutinesLeft = res.GoroutinesEnd, res.GoroutinesAfter-res.GoroutinesBase
}

func (r *Report) addTraffic(seen world.Stats) {
	r.Queries = seen.QueriesA + seen.QueriesAAAA + seen.QueriesOther
	r.QueriesPerHost = float64(r.Queries) / float64(r.HostsHit)
	r.Connects = seen.SYN
	r.ConnectsPerURL = float64(seen.SYN) / float64(r.URLs)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
