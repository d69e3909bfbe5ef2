//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/wire/network"
	"github.com/hostwise-go/hostwise/bench/wire/report"
)

// Exit codes. A goal that falls short is no error of the ruler's.
const (
	exitShort       = 1
	exitError       = 2
	exitInterrupted = 130 // as shells have it for Ctrl-C
)

func main() {
	short, err := wire(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(exitError)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "wire: interrupted")
		os.Exit(exitInterrupted)
	case err != nil:
		fmt.Fprintln(os.Stderr, "wire:", err)
		os.Exit(exitError)
	case short > 0:
		os.Exit(exitShort)
	}
}

// wire returns how many goals fall short.
func wire(args []string) (short int, err error) {
	o, err := parseOptions(args)
	if err != nil {
		return 0, err
	}
	switch {
	case o.list:
		for _, s := range o.scenarios {
			fmt.Printf("%-20s %s\n", s.Name, s.Description)
		}
		return 0, nil
	case o.compare != nil:
		return 0, compare(o.compare)
	}
	if err := namespace.Check(); err != nil {
		return 0, fmt.Errorf("cannot run here:\n%w", err)
	}
	// Ctrl-C ends the runs under way, and that removes what they made. So does
	// a reader of our output that has seen enough, such as head.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if o.client == "" {
		dir, err := os.MkdirTemp("", "hostwise-wire-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		client := filepath.Join(dir, "hostwise")
		if err := buildClient(ctx, client); err != nil {
			return 0, err
		}
		o.client = client
	}
	o.setClient(o.client)
	return measureAndPrint(ctx, o)
}

func measureAndPrint(ctx context.Context, o *options) (short int, err error) {
	// Go's scheduler lends out as many processors as there are cores, and a
	// goroutine that starts a client holds one of them for milliseconds. With
	// more of them no packet waits for that to be stamped.
	runtime.GOMAXPROCS(max(16, runtime.NumCPU()))
	if o.realTime { // not before the client is built: that is for spare time
		if err := network.SetRealTime(); err != nil {
			fmt.Fprintf(os.Stderr, "wire: no real-time priority, so that times suffer from what else runs here (%v)\n", err)
		}
	}
	fmt.Fprintf(os.Stderr, "wire: %s, %d scenarios, repetitions: %d\n", o.name, len(o.scenarios), o.repetitions)
	r, err := measure(ctx, o)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	if o.sweep {
		report.WriteSweep(os.Stdout, r.Results)
		return 0, nil
	}
	if err := keep(o, r); err != nil {
		return 0, err
	}
	if o.details {
		r.WriteDetails(os.Stdout)
		fmt.Println()
	}
	verdicts := r.Judge()
	short = report.WriteGoals(os.Stdout, verdicts)
	fmt.Printf("%d of %d goals met\n", len(verdicts)-short, len(verdicts))
	return short, nil
}

// keep writes the report to its file, if it has one.
func keep(o *options, r *report.Report) error {
	file := o.resultFile()
	if file == "" {
		return nil
	}
	if o.merge {
		switch older, err := report.Read(file); {
		case err == nil:
			r.Merge(older)
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := r.Write(file); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "wire: wrote", file)
	return nil
}

func compare(files []string) error {
	var reports []*report.Report
	for _, file := range files {
		r, err := report.Read(file)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	report.Compare(os.Stdout, reports)
	return nil
}
