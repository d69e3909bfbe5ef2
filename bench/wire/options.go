//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

type options struct {
	client, name string
	scenarios    []scenario.Scenario
	repetitions  int
	parallel     int
	timeout      time.Duration

	resolvOptions string
	out, pcap     string
	merge         bool

	sweep, details, verbose bool
	realTime                bool

	list    bool
	compare []string
}

func parseOptions(args []string) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("wire", flag.ContinueOnError)
	f.StringVar(&o.client, "client", "", "the client's `command`, for sh; it gets URLs as arguments (default: hostwise's, built from the folder wireclient)")
	f.StringVar(&o.name, "name", "", "the client's `name` in tables (default: the base name of its command)")
	pattern := f.String("scenario", ".", "only the scenarios whose name matches this regular `expression`")
	f.IntVar(&o.repetitions, "reps", 3, "repetitions of each scenario")
	f.IntVar(&o.parallel, "parallel", 4, "scenarios run at once, each in namespaces of its own")
	f.DurationVar(&o.timeout, "timeout", 15*time.Second, "the limit for one fetch, which the client is told")
	f.StringVar(&o.resolvOptions, "resolv-options", "", "the options of the client's resolv.conf, like 'timeout:2 attempts:2'")
	f.StringVar(&o.out, "out", "results", "the `folder` for the results in JSON, empty for none")
	f.StringVar(&o.pcap, "pcap", "", "also write the packets of each run into this `folder`")
	f.BoolVar(&o.merge, "merge", false, "keep the results of scenarios not run now from the file of this name")
	f.BoolVar(&o.realTime, "realtime", true, "run with real-time priority, if possible")
	sweep := f.String("sweep", "", "instead of the scenarios, a `figure` that grows: cad:FROM:TO:STEP is the RTT of IPv6, rd:FROM:TO:STEP the delay of the AAAA answer, in ms")
	f.BoolVar(&o.details, "details", false, "print what the client does, and all scenarios, before the goal table")
	f.BoolVar(&o.verbose, "v", false, "print each run's time line")
	f.BoolVar(&o.list, "list", false, "list the scenarios")
	compare := f.Bool("compare", false, "print the comparison of the result files named as arguments")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case *compare && f.NArg() == 0:
		return nil, errors.New("-compare: no result files")
	case *compare:
		o.compare = f.Args()
		return o, nil
	case f.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.repetitions < 1 || o.parallel < 1 || o.timeout <= 0:
		return nil, errors.New("-reps, -parallel and -timeout must be more than 0")
	}
	o.sweep = *sweep != ""
	return o, o.setScenarios(*pattern, *sweep)
}

func (o *options) setScenarios(pattern, sweep string) error {
	matches, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("-scenario: %w", err)
	}
	all := scenario.All()
	if o.sweep {
		if all, err = scenario.Sweep(sweep); err != nil {
			return fmt.Errorf("-sweep: %w", err)
		}
	}
	for _, s := range all {
		if matches.MatchString(s.Name) {
			o.scenarios = append(o.scenarios, s)
		}
	}
	if len(o.scenarios) == 0 {
		return fmt.Errorf("-scenario: none matches %q; -list lists them", pattern)
	}
	return nil
}

// setClient makes sure that there is a client and a name for it.
func (o *options) setClient(command string) {
	o.client = command
	if fields := strings.Fields(command); o.name == "" && len(fields) > 0 {
		o.name = filepath.Base(fields[0])
	}
}

// resultFile is where the report goes, or empty.
func (o *options) resultFile() string {
	if o.out == "" {
		return ""
	}
	return filepath.Join(o.out, o.name+".json")
}
