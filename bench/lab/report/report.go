// Package report judges the result of a crawl by the world it went through.
package report

import (
	"math"
	"slices"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// Report is one client over one scenario and seed.
type Report struct {
	Client   string `json:"client"`
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	URLs     int    `json:"urls"`
	HostsHit int    `json:"hosts_hit"`

	// Time to first byte of the pages that healthy hosts delivered: all of
	// them, the first one of each host, and the others.
	TTFB Dist `json:"ttfb_ms"`
	Cold Dist `json:"ttfb_cold_ms"`
	Warm Dist `json:"ttfb_warm_ms"`

	// TTFB less the floor of that very URL: what the client and its resolver
	// added to the physics.
	Excess     Dist `json:"excess_ms"`
	ExcessCold Dist `json:"excess_cold_ms"`

	Wall            float64 `json:"wall_s"`
	T95             float64 `json:"t95_s"` // when 95 % of the URLs were done
	URLsPerSecond   float64 `json:"urls_per_s"`
	URLsPerSecond95 float64 `json:"urls_per_s_95"` // up to then
	CPUPer1000      float64 `json:"cpu_s_per_1k"`
	RSSPeak         float64 `json:"rss_peak_mb"`
	RSSDelta        float64 `json:"rss_delta_mb"`
	MallocsPerURL   float64 `json:"mallocs_per_url"`
	AllocKBPerURL   float64 `json:"alloc_kb_per_url"`

	Queries        int64   `json:"dns_queries"`
	QueriesPerHost float64 `json:"dns_queries_per_host"`
	Connects       int64   `json:"connects"`
	ConnectsPerURL float64 `json:"connects_per_url"`

	Errors      map[crawl.Kind]int        `json:"errors"`
	Confusion   map[string]map[string]int `json:"truth_vs_reported"`
	Lost        int                       `json:"healthy_failed"` // pages lost on hosts that were fine
	HealthyURLs int                       `json:"healthy_urls"`
	BadURLs     int                       `json:"bad_urls"`
	Unfinished  int                       `json:"unfinished"`         // not handed out within the limit
	FamilyRight float64                   `json:"error_family_right"` // share of the bad URLs: DNS told from host
	KindRight   float64                   `json:"error_kind_right"`   // ... and which of these

	// Worker-seconds spent on dead, refusing and mute hosts, on names that
	// cannot be resolved, and on lost pages.
	LostOnDead  float64 `json:"lost_dead_worker_s"`
	LostOnDNS   float64 `json:"lost_dns_worker_s"`
	LostOnPages float64 `json:"lost_false_worker_s"`

	GoroutinesEnd  int `json:"goroutines_end"`
	GoroutinesLeft int `json:"goroutines_left"` // over the base, a second after Close

	ForeignCPU float64 `json:"foreign_cpu"` // share of the machine that other programs used meanwhile
	Tries      int     `json:"tries"`

	World world.Stats `json:"world"`
}

// Dist is a distribution.
type Dist struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// distribution sorts values.
func distribution(values []float64) Dist {
	n := len(values)
	if n == 0 {
		return Dist{}
	}
	slices.Sort(values)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	nearestRank := func(p float64) float64 { return values[min(n-1, int(math.Ceil(p*float64(n)))-1)] }
	return Dist{
		N:    n,
		Mean: sum / float64(n),
		P50:  nearestRank(0.5),
		P90:  nearestRank(0.9),
		P99:  nearestRank(0.99),
		Max:  values[n-1],
	}
}
