package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/hostwise-go/hostwise/bench/wire/result"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// A Report is all that was measured of one client.
type Report struct {
	Client        string           `json:"client"`
	Command       string           `json:"command"`
	Repetitions   int              `json:"repetitions"`
	TimeoutS      float64          `json:"timeout_s"`
	ResolvOptions string           `json:"resolv_options,omitempty"`
	When          string           `json:"when"`
	Results       []*result.Result `json:"results"`
}

// Read reads a file that [Report.Write] wrote.
func Read(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Write writes the report as JSON.
func (r *Report) Write(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// Merge adds the results of an older report for scenarios that this one does
// not have.
func (r *Report) Merge(older *Report) {
	measured := map[string]bool{}
	for _, x := range r.Results {
		measured[x.Scenario] = true
	}
	for _, x := range older.Results {
		if !measured[x.Scenario] {
			r.Results = append(r.Results, x)
		}
	}
	r.Repetitions = max(r.Repetitions, older.Repetitions)
	r.Sort(scenario.All())
}

// Sort puts the results in the order of the scenarios, and of the repetitions
// of each.
func (r *Report) Sort(scenarios []scenario.Scenario) {
	place := map[string]int{}
	for i, s := range scenarios {
		place[s.Name] = i
	}
	slices.SortStableFunc(r.Results, func(a, b *result.Result) int {
		if d := place[a.Scenario] - place[b.Scenario]; d != 0 {
			return d
		}
		return a.Repetition - b.Repetition
	})
}

// of are the results of a scenario.
func (r *Report) of(scenarioName string) (results []*result.Result) {
	for _, x := range r.Results {
		if x.Scenario == scenarioName {
			results = append(results, x)
		}
	}
	return results
}

// median is that of the figures that are numbers, or NaN.
func median(figures []float64) float64 {
	sorted := slices.DeleteFunc(slices.Clone(figures), math.IsNaN)
	if len(sorted) == 0 {
		return math.NaN()
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

func medianOf(results []*result.Result, figure func(*result.Result) float64) float64 {
	var figures []float64
	for _, r := range results {
		figures = append(figures, figure(r))
	}
	return median(figures)
}
