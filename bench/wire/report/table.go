package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hostwise-go/hostwise/bench/wire/result"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// WriteDetails prints all properties of a client and a table of the scenarios
// measured, in Markdown.
func (r *Report) WriteDetails(w io.Writer) {
	fmt.Fprintf(w, "\n## %s\n`%s` (repetitions %d, limit %g s, resolv.conf options %q, %s)\n\n",
		r.Client, r.Command, r.Repetitions, r.TimeoutS, r.ResolvOptions, r.When)
	for _, p := range properties() {
		if answer := p.of(r); answer != none {
			fmt.Fprintf(w, "- %s: **%s**\n", p.question, answer)
		}
	}
	fmt.Fprint(w, "\n| scenario | winner, TTFB ms | attempts of the first run (address@ms after the first SYN) | SYN6+SYN4 | connections |\n|---|---|---|---|---|\n")
	for i, x := range r.Results {
		if i > 0 && r.Results[i-1].Scenario == x.Scenario {
			continue
		}
		attempts := x.Order()
		if hasManyFetches(x.Scenario) {
			attempts = x.Series()
		}
		fmt.Fprintf(w, "| %s | %s | %s | %d+%d | %d |\n", x.Scenario, r.winners(x.Scenario), attempts, x.SYN6(), x.SYN4(), x.Up())
	}
}

// Compare prints the properties and the winners of clients side by side, in
// Markdown.
func Compare(w io.Writer, reports []*Report) {
	row := func(title string, cell func(*Report) string) {
		fmt.Fprintf(w, "| %s |", title)
		for _, r := range reports {
			fmt.Fprintf(w, " %s |", cell(r))
		}
		fmt.Fprintln(w)
	}
	head := func(title string) {
		row(title, func(r *Report) string { return r.Client })
		fmt.Fprintln(w, "|---|"+strings.Repeat("---|", len(reports)))
	}
	head("property")
	for _, p := range properties() {
		row(p.question, p.of)
	}
	fmt.Fprintln(w)
	head("winner and TTFB (ms), median")
	for _, s := range scenario.All() {
		if !hasManyFetches(s.Name) {
			row(s.Name, func(r *Report) string { return r.winners(s.Name) })
		}
	}
}

// WriteSweep prints who won at each value.
func WriteSweep(w io.Writer, results []*result.Result) {
	fmt.Fprintf(w, "%-14s %-6s %8s  %s\n", "value", "winner", "TTFB ms", "attempts")
	for _, r := range results {
		f := r.Fetches[0]
		fmt.Fprintf(w, "%-14s %-6s %8.1f  %s\n", r.Scenario, f.Winner, f.FirstByte, r.Order())
	}
}

func hasManyFetches(scenarioName string) bool {
	return strings.HasPrefix(scenarioName, "mem-") || strings.HasPrefix(scenarioName, "conc-")
}

// winners is a cell as "v6a 1.2" or "FAIL connect 10002".
func (r *Report) winners(scenarioName string) string {
	results := r.of(scenarioName)
	won, lost := map[string]bool{}, map[string]bool{}
	var wonMS, lostMS []float64
	for _, x := range results {
		f := x.Fetches[0]
		if f.OK && f.Family != 0 {
			won["v"+f.Winner] = true
			wonMS = append(wonMS, f.FirstByte)
			continue
		}
		class, ms := f.Class, f.ClientMS
		if class == "" {
			class = "?"
		}
		if ms < 0 {
			ms = x.WallMS
		}
		lost[class] = true
		lostMS = append(lostMS, ms)
	}
	var s []string
	if len(won) > 0 {
		s = append(s, names(won)+" "+result.Number(median(wonMS)))
	}
	if len(lost) > 0 {
		share := ""
		if len(won) > 0 {
			share = fmt.Sprintf(" %d/%d", len(lostMS), len(results))
		}
		s = append(s, fmt.Sprintf("FAIL%s %s %s", share, names(lost), result.Number(median(lostMS))))
	}
	if len(s) == 0 {
		return none
	}
	return strings.Join(s, "; ")
}

func names(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), "/")
}
