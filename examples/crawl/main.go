// Command crawl does the same crawl twice, with Colly as it comes and with
// Colly on hostwise, and prints what came of it side by side.
//
// Without arguments it crawls a small internet that it serves itself on
// loopback sockets, with its share of broken hosts; given URLs, it crawls
// those. Run it with -h for the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0, also for an interrupted crawl, which ends
// with the report so far; 1 if the crawl could not be set up; 2 for bad
// arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "crawl: %v\nRun it with -h to see what it takes.\n", err)
		return 2
	}
	results, w, err := compare(ctx, cfg, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "crawl: %v\n", err)
		return 1
	}
	report(stdout, cfg, w, results, ctx.Err() != nil)
	return 0
}

// compare crawls with one client after the other. Each gets an internet of
// its own, so that neither finds it warmed by the other.
func compare(ctx context.Context, cfg *config, stderr io.Writer) (results []*result, w *world, err error) {
	for _, connect := range cfg.clients() {
		w, err = newWorld(cfg)
		if err != nil {
			return nil, nil, err
		}
		r, err := crawl(ctx, cfg, w, connect, stderr)
		if err := errors.Join(err, w.close()); err != nil {
			return nil, nil, err
		}
		results = append(results, r)
		if ctx.Err() != nil {
			break
		}
	}
	return results, w, nil
}
