package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hostwise-go/hostwise/internal/loopnet"
)

// report prints one table, a column for each client.
func report(out io.Writer, cfg *config, w *world, results []*result, interrupted bool) {
	fmt.Fprintln(out)
	fmt.Fprintf(out, "%s; %d workers, request timeout %v", w.title(cfg), w.workers(cfg), cfg.timeout)
	if interrupted {
		fmt.Fprint(out, "; INTERRUPTED, this is how far it came")
	}
	fmt.Fprint(out, "\n\n")

	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	row := func(label string, cell func(*result) string) {
		fmt.Fprint(tw, label)
		for _, r := range results {
			fmt.Fprintf(tw, "\t%s", cell(r))
		}
		fmt.Fprintln(tw)
	}
	number := func(n func(*result) int) func(*result) string {
		return func(r *result) string { return strconv.Itoa(n(r)) }
	}
	row("", func(r *result) string { return r.client })
	row("pages fetched", number(func(r *result) int { return r.fetched }))
	if w.fates != nil {
		row("pages lost on healthy hosts", number(func(r *result) int { return r.lost }))
	}
	row("pages failed", number(func(r *result) int { return r.failed }))
	if interrupted {
		row("pages not asked for", number(func(r *result) int { return r.unasked }))
	}
	both := common(results)
	for _, p := range []int{50, 90, 99} {
		row(fmt.Sprintf("time to first byte, p%d", p), func(r *result) string { return percentile(r.times(both), p) })
	}
	row("DNS queries", number(func(r *result) int { return int(r.queries) }))
	row("connections tried", number(func(r *result) int { return int(r.dials) }))
	wasted := "worker time lost on failures"
	if w.fates != nil {
		wasted = "worker time lost on broken hosts"
	}
	row(wasted, func(r *result) string { return seconds(r.wasted) })
	row("wall time", func(r *result) string { return seconds(r.wall) })

	places := w.places(results)
	if len(places) > 0 {
		row("", func(*result) string { return "" })
		row("failures, and what the client said", func(*result) string { return "" })
	}
	for _, p := range places {
		label := "  " + p
		if n := w.hosts[loopnet.Fate(p)]; n > 0 {
			label += fmt.Sprintf(", %d of the hosts", n)
			if loopnet.Fate(p).OK() {
				label += ", healthy"
			}
		}
		row(label, func(r *result) string { return kinds(r.kinds[p]) })
	}
	tw.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}

	fmt.Fprintf(out, "\nTime to first byte is from the moment Colly hands a request to its http.Client to the\n"+
		"moment the response headers are there, over the %d pages that every client fetched.\n", len(both))
	if w.net != nil {
		for _, m := range w.net.Missing() {
			fmt.Fprintf(out, "Not on this system: %s.\n", m)
		}
	}
}

func (w *world) title(cfg *config) string {
	if w.net == nil {
		return fmt.Sprintf("%d start URLs, at most %d pages a host", len(w.start), cfg.pages)
	}
	ok := 0
	for f, n := range w.hosts {
		if f.OK() {
			ok += n
		}
	}
	n := len(w.net.Hosts())
	return fmt.Sprintf("%d hosts on loopback, %d of them healthy, %d pages; seed %d", n, ok, len(w.start), cfg.seed)
}

// places returns where failures were seen, in the order of the fates or else
// of the alphabet.
func (w *world) places(results []*result) []string {
	seen := make(map[string]bool)
	for _, r := range results {
		for p := range r.kinds {
			seen[p] = true
		}
	}
	places := slices.Sorted(maps.Keys(seen))
	if w.fates != nil {
		fates := loopnet.Fates()
		slices.SortFunc(places, func(a, b string) int {
			return cmp.Compare(slices.Index(fates, loopnet.Fate(a)), slices.Index(fates, loopnet.Fate(b)))
		})
	}
	return places
}

// kinds lists kinds of failures, the frequent ones first.
func kinds(m map[string]int) string {
	if len(m) == 0 {
		return "-"
	}
	ks := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	for i, k := range ks {
		ks[i] = fmt.Sprintf("%d %s", m[k], k)
	}
	return strings.Join(ks, ", ")
}

// common returns the pages that every client fetched: those that only one
// got are the slow ones, and would count against it.
func common(results []*result) (pages []string) {
	for p := range results[0].ttfb {
		if !slices.ContainsFunc(results[1:], func(r *result) bool { _, ok := r.ttfb[p]; return !ok }) {
			pages = append(pages, p)
		}
	}
	return pages
}

func (r *result) times(pages []string) []time.Duration {
	var d []time.Duration
	for _, p := range pages {
		d = append(d, r.ttfb[p])
	}
	return d
}

// percentile returns the value that p percent of d do not exceed.
func percentile(d []time.Duration, p int) string {
	if len(d) == 0 {
		return "-"
	}
	d = slices.Sorted(slices.Values(d))
	v := d[(len(d)*p+99)/100-1]
	return fmt.Sprintf("%.1f ms", float64(v)/float64(time.Millisecond))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
