package report

import "slices"

// metric is a column of a table.
type metric struct {
	head   string
	format string // of the value
	value  func(*Report) float64
	ratio  bool // worth a comparison between two clients
}

var metrics = []metric{
	{"TTFB50", "%.0f", func(r *Report) float64 { return r.TTFB.P50 }, true},
	{"p90", "%.0f", func(r *Report) float64 { return r.TTFB.P90 }, true},
	{"p99", "%.0f", func(r *Report) float64 { return r.TTFB.P99 }, true},
	{"cold50", "%.0f", func(r *Report) float64 { return r.Cold.P50 }, true},
	{"c90", "%.0f", func(r *Report) float64 { return r.Cold.P90 }, true},
	{"c99", "%.0f", func(r *Report) float64 { return r.Cold.P99 }, true},
	{"exc50", "%.1f", func(r *Report) float64 { return r.Excess.P50 }, false},
	{"exc99", "%.0f", func(r *Report) float64 { return r.Excess.P99 }, false},
	{"wall s", "%.1f", func(r *Report) float64 { return r.Wall }, true},
	{"t95 s", "%.1f", func(r *Report) float64 { return r.T95 }, true},
	{"URL/s95", "%.0f", func(r *Report) float64 { return r.URLsPerSecond95 }, false},
	{"cpu/1k", "%.2f", func(r *Report) float64 { return r.CPUPer1000 }, true},
	{"RSS MB", "%.0f", func(r *Report) float64 { return r.RSSPeak }, true},
	{"DNS q", "%.0f", func(r *Report) float64 { return float64(r.Queries) }, true},
	{"q/host", "%.1f", func(r *Report) float64 { return r.QueriesPerHost }, false},
	{"conns", "%.0f", func(r *Report) float64 { return float64(r.Connects) }, true},
	{"lost pg", "%.0f", func(r *Report) float64 { return float64(r.Lost) }, true},
	{"fam%", "%.0f", func(r *Report) float64 { return 100 * r.FamilyRight }, true},
	{"kind%", "%.0f", func(r *Report) float64 { return 100 * r.KindRight }, true},
	{"dead s", "%.0f", func(r *Report) float64 { return r.LostOnDead }, true},
	{"dns s", "%.0f", func(r *Report) float64 { return r.LostOnDNS }, true},
	{"false s", "%.0f", func(r *Report) float64 { return r.LostOnPages }, false},
	{"gor", "%.0f", func(r *Report) float64 { return float64(r.GoroutinesEnd) }, false},
	{"left", "%.0f", func(r *Report) float64 { return float64(r.GoroutinesLeft) }, false},
	{"forgn%", "%.0f", func(r *Report) float64 { return 100 * r.ForeignCPU }, false},
	{"late99", "%.1f", func(r *Report) float64 { return float64(r.World.LateP99us) / 1000 }, false},
}

// median of the reports of one client over several seeds.
func (m metric) median(reports []*Report) float64 {
	values := make([]float64, 0, len(reports))
	for _, r := range reports {
		values = append(values, m.value(r))
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 0 {
		return (values[middle-1] + values[middle]) / 2
	}
	return values[middle]
}
