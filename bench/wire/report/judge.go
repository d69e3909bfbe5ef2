package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/hostwise-go/hostwise/bench/wire/result"
)

// A Goal is what a client must show in a scenario.
type Goal struct {
	Scenario string
	Want     string
	judge    judge
}

// A judge says in a few words what the results show, and whether that will do.
// There is at least one result, and each has a fetch.
type judge func([]*result.Result) (got string, ok bool)

// A Verdict is what became of a Goal.
type Verdict struct {
	Goal
	Got string
	OK  bool
}

// Judge judges the goals whose scenarios were measured.
func (r *Report) Judge() (verdicts []Verdict) {
	for _, g := range Goals() {
		if results := r.of(g.Scenario); len(results) > 0 {
			v := Verdict{Goal: g, Got: "no fetch"}
			if every(results, func(x *result.Result) bool { return len(x.Fetches) > 0 }) {
				v.Got, v.OK = g.judge(results)
			}
			verdicts = append(verdicts, v)
		}
	}
	return verdicts
}

// WriteGoals prints a line for each verdict, and reports how many goals fall
// short.
func WriteGoals(w io.Writer, verdicts []Verdict) (short int) {
	for _, v := range verdicts {
		mark := "ok"
		if !v.OK {
			mark = "SHORT"
			short++
		}
		fmt.Fprintf(w, "%-5s %-18s %-58s %s\n", mark, v.Scenario, v.Want, v.Got)
	}
	return short
}

func every(results []*result.Result, f func(*result.Result) bool) bool {
	for _, r := range results {
		if !f(r) {
			return false
		}
	}
	return true
}

func allOK(results []*result.Result) bool { return every(results, (*result.Result).AllOK) }

// atMost: the first fetch succeeds over a family (0: either), its first byte
// within so many milliseconds.
func atMost(family int, limit float64) judge {
	return func(results []*result.Result) (string, bool) {
		ms := medianOf(results, func(r *result.Result) float64 { return r.Fetches[0].FirstByte })
		ok := every(results, func(r *result.Result) bool {
			return r.Fetches[0].OK && (family == 0 || r.Fetches[0].Family == family)
		})
		return fmt.Sprintf("v%s %.1f ms", results[0].Fetches[0].Winner, ms), ok && ms <= limit
	}
}

// between: a figure in milliseconds is in a range.
func between(low, high float64, figure func(*result.Result) float64) judge {
	return func(results []*result.Result) (string, bool) {
		ms := medianOf(results, figure)
		known := every(results, func(r *result.Result) bool { return !math.IsNaN(figure(r)) })
		return fmt.Sprintf("%.1f ms", ms), known && low <= ms && ms <= high
	}
}

// later: every fetch succeeds, and all but the first n within so many
// milliseconds, by the client's own clock.
func later(n int, limit float64) judge {
	return func(results []*result.Result) (string, bool) {
		worst := 0.0
		for _, r := range results {
			for _, f := range r.Fetches[min(n, len(r.Fetches)):] {
				worst = max(worst, f.ClientMS)
			}
		}
		return fmt.Sprintf("worst %.1f ms", worst), allOK(results) && worst <= limit
	}
}

// fails: the fetch fails with a class of this prefix, within so many
// milliseconds.
func fails(class string, limit float64) judge {
	return func(results []*result.Result) (string, bool) {
		first := results[0].Fetches[0]
		ok := every(results, func(r *result.Result) bool {
			return !r.Fetches[0].OK && strings.HasPrefix(r.Fetches[0].Class, class)
		})
		return fmt.Sprintf("%s after %.0f ms", first.Class, first.ClientMS), ok && first.ClientMS <= limit
	}
}

// attempts: every fetch succeeds, with at most so many attempts over each
// family in all.
func attempts(most6, most4 int) judge {
	return func(results []*result.Result) (string, bool) {
		v6, v4 := results[0].SYN6(), results[0].SYN4()
		return fmt.Sprintf("%d+%d", v6, v4), v6 <= most6 && v4 <= most4 && allOK(results)
	}
}
