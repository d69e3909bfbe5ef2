//go:build linux

package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hostwise-go/hostwise/bench/lab/clients"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

type options struct {
	clients   []string
	scenarios []world.Scenario
	seeds     []uint64
	programs  map[string]string // clients that are programs of their own

	listClients bool
	plan        bool
	quiet       bool
	verbose     bool
	json, rows  string

	resolvOptions string
	limit         float64
	maxLate       float64
	retries       int

	trace, goroutines bool
	cpuProfile        string
}

// defaultClients are the ones most worth comparing.
var defaultClients = []string{"floor", "stock", "stock-cgo", "stock-best", "stock-breaker", "dnscache", "ncruces", "colly", "hostwise", "hostwise-colly"}

func parseOptions(args []string) (*options, error) {
	o := &options{programs: map[string]string{}}
	f := flag.NewFlagSet("lab", flag.ContinueOnError)
	names := f.String("clients", "default", "comma `list`, or default, all, or list to print the names")
	scenarios := f.String("scenario", "web", "comma `list` of "+strings.Join(world.Names(), ", ")+", or JSON files")
	seeds := f.String("seed", "1", "comma `list`; the clients take turns within each")
	hosts := f.Int("hosts", 0, "instead of the scenario's")
	urls := f.Int("urls", 0, "instead of the scenario's")
	workers := f.Int("workers", 0, "instead of the scenario's")
	perHost := f.Int("per-host", 0, "requests to one host at a time, instead of the scenario's")
	https := f.Bool("tls", false, "https instead of http")
	f.Func("program", "a client that is a program of its own, as `NAME=FILE`; it is run with --plan FILE --out FILE", func(s string) error {
		name, file, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("not NAME=FILE")
		}
		file, err := filepath.Abs(file)
		o.programs[name] = file
		return err
	})
	f.BoolVar(&o.plan, "plan", false, "print what the world holds, and run nothing")
	f.StringVar(&o.json, "json", "", "write all reports to this `file`")
	f.StringVar(&o.rows, "rows", "", "keep what became of each URL, in this `folder`")
	f.StringVar(&o.resolvOptions, "resolv-options", "", "the options of the client's resolv.conf, like 'timeout:2 attempts:2'")
	f.Float64Var(&o.limit, "limit", 60, "`seconds` after which a client is handed no more URLs; the rest count as lost")
	f.Float64Var(&o.maxLate, "max-late", 10, "run again when more than 1 % of the packets left this many `milliseconds` late ...")
	f.IntVar(&o.retries, "retries", 1, "... so many times")
	f.BoolVar(&o.trace, "trace", false, "with -rows: DNS and connect times, too")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the last client to this `file`")
	f.BoolVar(&o.goroutines, "goroutines", false, "print the goroutines left after Close")
	f.BoolVar(&o.verbose, "v", false, "print what the clients print")
	f.BoolVar(&o.quiet, "q", false, "no progress lines")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if err := o.setClients(*names); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(*scenarios, ",") {
		s, err := world.Load(name)
		if err != nil {
			return nil, err
		}
		override(&s.Hosts, *hosts)
		override(&s.URLs, *urls)
		override(&s.Workers, *workers)
		override(&s.PerHost, *perHost)
		s.TLS = s.TLS || *https
		o.scenarios = append(o.scenarios, s)
	}
	for text := range strings.SplitSeq(*seeds, ",") {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("seed %q: %w", text, err)
		}
		o.seeds = append(o.seeds, seed)
	}
	return o, nil
}

func override(value *int, with int) {
	if with > 0 {
		*value = with
	}
}

func (o *options) setClients(names string) error {
	all := o.allClients()
	switch names {
	case "list":
		o.listClients = true
	case "default":
		o.clients = defaultClients
	case "all":
		o.clients = all
	default:
		o.clients = strings.Split(names, ",")
	}
	for _, name := range o.clients {
		if !slices.Contains(all, name) {
			return fmt.Errorf("no client %q; there are %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

func (o *options) allClients() []string {
	names := slices.Collect(maps.Keys(clients.All()))
	names = slices.AppendSeq(names, maps.Keys(o.programs))
	slices.Sort(names)
	return slices.Compact(names)
}

func (o *options) forEachWorld(f func(*world.World) error) error {
	for _, s := range o.scenarios {
		for _, seed := range o.seeds {
			w, err := world.New(s, seed)
			if err != nil {
				return err
			}
			if err := f(w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *options) seedList() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(o.seeds), " ", ","), "[]")
}

func (o *options) progress(format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(os.Stderr, format, args...)
	}
}
