package report

import (
	"fmt"
	"strings"
)

// Table has one line for each client, in the order of the reports; each value
// is the median over the seeds.
func Table(reports []*Report) string {
	clients, byClient := groupBy(reports, func(r *Report) string { return r.Client })
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s", "client")
	for _, m := range metrics {
		fmt.Fprintf(&b, " %7s", m.head)
	}
	b.WriteByte('\n')
	for _, c := range clients {
		fmt.Fprintf(&b, "%-16s", c)
		for _, m := range metrics {
			fmt.Fprintf(&b, " %7s", fmt.Sprintf(m.format, m.median(byClient[c])))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Ratios has a table for each scenario: the values of one client, and these
// divided by those of each other client, over the seeds that both have run.
// Below 1 is better, except for fam% and kind%.
func Ratios(client string, reports []*Report) string {
	var b strings.Builder
	scenarios, byScenario := groupBy(reports, func(r *Report) string { return r.Scenario })
	for _, s := range scenarios {
		clients, byClient := groupBy(byScenario[s], func(r *Report) string { return r.Client })
		own := byClient[client]
		if own == nil {
			continue
		}
		fmt.Fprintf(&b, "%-24s", s+": "+client+" /")
		for _, m := range metrics {
			if m.ratio {
				fmt.Fprintf(&b, " %7s", m.head)
			}
		}
		b.WriteByte('\n')
		for _, c := range clients {
			a, other := sameSeeds(own, byClient[c])
			if len(a) == 0 {
				continue
			}
			fmt.Fprintf(&b, "%24s", c)
			for _, m := range metrics {
				if m.ratio {
					fmt.Fprintf(&b, " %7s", ratio(m.median(a), m.median(other), c == client))
				}
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func ratio(a, b float64, itself bool) string {
	switch {
	case itself:
		return fmt.Sprintf("%.4g", a)
	case b != 0:
		return fmt.Sprintf("%.2f", a/b)
	case a == 0:
		return "="
	}
	return fmt.Sprintf("%.4g/0", a)
}

// sameSeeds returns the reports of both over the seeds that both have. A later
// report replaces an earlier one.
func sameSeeds(a, b []*Report) (as, bs []*Report) {
	bySeed := func(rs []*Report) map[uint64]*Report {
		m := map[uint64]*Report{}
		for _, r := range rs {
			m[r.Seed] = r
		}
		return m
	}
	other := bySeed(b)
	for seed, r := range bySeed(a) {
		if o := other[seed]; o != nil {
			as, bs = append(as, r), append(bs, o)
		}
	}
	return as, bs
}

// groupBy returns the keys in the order in which they come first.
func groupBy(reports []*Report, key func(*Report) string) (keys []string, groups map[string][]*Report) {
	groups = map[string][]*Report{}
	for _, r := range reports {
		k := key(r)
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], r)
	}
	return keys, groups
}
