//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/clients"
	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/internet"
	"github.com/hostwise-go/hostwise/bench/lab/report"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

func main() {
	args := os.Args[1:]
	var err error
	switch { // the two parts that the lab starts as processes of their own, so that no run warms another
	case len(args) == 2 && args[0] == worldCommand:
		err = serveWorld(args[1])
	case len(args) > 0 && args[0] == clientCommand:
		err = crawl.Main(args[1:], clients.All())
	default:
		err = lab(args)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "lab: interrupted")
		os.Exit(130) // as shells have it for Ctrl-C
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func lab(args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	switch {
	case o.listClients:
		fmt.Println(strings.Join(o.allClients(), "\n"))
		return nil
	case o.plan:
		return o.forEachWorld(func(w *world.World) error {
			fmt.Println(w.Describe())
			return nil
		})
	}
	if err := internet.Check(); err != nil {
		return fmt.Errorf("cannot run here:\n%w", err)
	}
	// Ctrl-C ends the run under way, and that removes what it made.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return measureAll(ctx, o)
}

// measureAll prints a table for each scenario.
func measureAll(ctx context.Context, o *options) error {
	var all []*report.Report
	var failed []error
	for _, s := range o.scenarios {
		reports, err := measureScenario(ctx, o, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, err)
		if len(reports) == 0 {
			continue
		}
		fmt.Printf("\nscenario %s: %d hosts, %d URLs, %d workers, %d per host, seeds %s, %d cores, %s (times in ms unless said)\n",
			s.Name, s.Hosts, s.URLs, s.Workers, s.PerHost, o.seedList(), runtime.NumCPU(), runtime.Version())
		fmt.Print(report.Table(reports))
		all = append(all, reports...)
	}
	if o.json != "" {
		b, err := json.MarshalIndent(all, "", " ")
		if err != nil {
			return err
		}
		failed = append(failed, os.WriteFile(o.json, b, 0o644))
	}
	return errors.Join(failed...)
}

// measureScenario runs the clients in turn, seed by seed. The reports are in
// the order of the clients.
func measureScenario(ctx context.Context, o *options, s world.Scenario) ([]*report.Report, error) {
	var reports []*report.Report
	var failed []error
	for k, seed := range o.seeds {
		w, err := world.New(s, seed)
		if err != nil {
			return nil, err
		}
		if k == 0 {
			o.progress("%s\n", w.Describe())
		}
		for j := range o.clients {
			// Another order for each seed, so that no client is always the first.
			name := o.clients[(j+k*(len(o.clients)/2+1))%len(o.clients)]
			start := time.Now()
			r, err := runUntilTrusted(ctx, o, name, w)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("%s, seed %d: %w", name, seed, err))
				continue
			}
			reports = append(reports, r)
			o.progress("%-10s %-16s seed %d: %.1f s\n", filepath.Base(s.Name), name, seed, time.Since(start).Seconds())
		}
	}
	slices.SortStableFunc(reports, func(a, b *report.Report) int {
		return slices.Index(o.clients, a.Client) - slices.Index(o.clients, b.Client)
	})
	return reports, errors.Join(failed...)
}

// runUntilTrusted runs a client again if the delays of the world were late,
// and keeps the run in which they were the least.
func runUntilTrusted(ctx context.Context, o *options, name string, w *world.World) (*report.Report, error) {
	var best *report.Report
	for try := 1; ; try++ {
		r, err := runClient(ctx, o, name, w)
		switch {
		case err != nil && best == nil:
			return nil, err
		case err != nil:
			return best, nil
		case best == nil || r.World.LateP99us < best.World.LateP99us:
			best = r
		}
		best.Tries = try
		if float64(best.World.LateP99us) <= o.maxLate*1000 || try > o.retries {
			return best, nil
		}
	}
}
