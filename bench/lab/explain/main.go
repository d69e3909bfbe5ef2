// Command explain lists the healthy hosts that a client lost pages on, or was
// slow on, with what the world did there.
//
//	go run ./lab -clients stock -rows out
//	go run ./lab/explain -scenario web -seed 1 -rows out/web-stock-1.json -slow 1500
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

func main() {
	scenario := flag.String("scenario", "web", "the `name` or JSON file of the run")
	seed := flag.Uint64("seed", 1, "the seed of the run")
	hosts := flag.Int("hosts", 0, "the -hosts of the run, if it had one")
	rows := flag.String("rows", "", "a `file` that the run left with -rows")
	slow := flag.Float64("slow", 0, "also the pages with a TTFB over this many `milliseconds`")
	flag.Parse()
	if err := explain(os.Stdout, *scenario, *seed, *hosts, *rows, *slow); err != nil {
		fmt.Fprintln(os.Stderr, "explain:", err)
		os.Exit(1)
	}
}

func explain(out io.Writer, scenario string, seed uint64, hosts int, file string, slow float64) error {
	s, err := world.Load(scenario)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r crawl.Result
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.URLs = len(r.Rows)
	if hosts > 0 {
		s.Hosts = hosts
	}
	w, err := world.New(s, seed)
	if err != nil {
		return err
	}
	pages := map[string]int{}
	for i, row := range r.Rows {
		h := w.Hosts[w.Work[i]]
		if h.Fate != world.OK || row.Kind == crawl.OK && (slow == 0 || row.TTFB < slow) {
			continue
		}
		what := faults(h)
		pages[what]++
		fmt.Fprintf(out, "%s url %d start %.0f ttfb %.0f total %.0f %s %s\n", h.Name, i, row.Start, row.TTFB, row.Total, row.Kind, what)
	}
	fmt.Fprintln(out, pages)
	return nil
}

// faults says what is wrong with a healthy host.
func faults(h *world.Host) string {
	var found []string
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"moved", h.Moved != nil},
		{"first-A-dead", h.V4[0].Treatment != world.Deliver},
		{"v6-blackhole", len(h.V6) > 0 && h.V6[0].Treatment == world.Drop},
		{"v6-refused", len(h.V6) > 0 && h.V6[0].Treatment == world.Reset},
		{"truncated", h.Truncated},
		{"servfail-first", h.ServFailFirst},
	} {
		if f.is {
			found = append(found, f.name)
		}
	}
	if found == nil {
		return "(DNS or SYN packet loss, slow resolver)"
	}
	return strings.Join(found, " ")
}
