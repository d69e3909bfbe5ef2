//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/lab/clients"
	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/internet"
	"github.com/hostwise-go/hostwise/bench/lab/report"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

const clientCommand = "client" // --plan FILE --out FILE

// clientTimeout ends a client that does not come to an end.
const clientTimeout = 8 * time.Minute

// runClient runs a client once, in fresh namespaces with a fresh world.
func runClient(ctx context.Context, o *options, name string, w *world.World) (*report.Report, error) {
	dir, err := os.MkdirTemp("", "hostwise-lab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ns := newNamespaces()
	defer func() {
		if err := ns.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, "lab: not all is removed:", err)
		}
	}()
	if err := ns.Create(resolvConf(o.resolvOptions)); err != nil {
		return nil, err
	}
	config := internet.Config{Scenario: w.Scenario, Seed: w.Seed, Namespaces: ns, Control: filepath.Join(dir, "control")}
	if w.Scenario.TLS {
		config.CAFile = filepath.Join(dir, "ca.pem")
	}
	wp, err := startWorld(ctx, config, dir)
	if err != nil {
		return nil, err
	}
	defer wp.stop()

	plan, err := newPlan(o, name, w, config)
	if err != nil {
		return nil, err
	}
	busy, start := machineCPU(), time.Now()
	result, clientCPU, err := runPlan(ctx, o, plan, ns, dir)
	if err != nil {
		return nil, err
	}
	busy, wall := machineCPU()-busy, time.Since(start)
	seen, err := wp.stats()
	if err != nil {
		return nil, err
	}
	if o.rows != "" {
		if err := keepRows(o.rows, plan, result); err != nil {
			return nil, err
		}
	}
	r := report.Aggregate(w, result, seen)
	r.ForeignCPU = max(0, busy-seen.CPU-clientCPU.Seconds()) / wall.Seconds() / float64(runtime.NumCPU())
	return r, nil
}

// newNamespaces names those of the run under way.
func newNamespaces() namespace.Pair { return namespace.NewPair("lab") }

func resolvConf(options string) string {
	var b strings.Builder
	for _, ip := range world.Resolvers {
		fmt.Fprintf(&b, "nameserver %s\n", ip)
	}
	if options != "" {
		fmt.Fprintf(&b, "options %s\n", options)
	}
	return b.String()
}

func newPlan(o *options, name string, w *world.World, c internet.Config) (*crawl.Plan, error) {
	s := w.Scenario
	definition, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	p := &crawl.Plan{
		Client:      name,
		Scenario:    s.Name,
		Seed:        w.Seed,
		Host:        w.Work,
		Workers:     s.Workers,
		PerHost:     s.PerHost,
		TimeoutMS:   s.TimeoutMS,
		Control:     c.Control,
		CAFile:      c.CAFile,
		Wave:        s.Wave,
		WaveMS:      s.WaveMS,
		LimitS:      o.limit,
		ScenarioDef: string(definition),
		Trace:       o.trace,
		CPUProfile:  o.cpuProfile,
		Goroutines:  o.goroutines,
	}
	for _, ip := range world.Resolvers {
		p.Nameservers = append(p.Nameservers, net.JoinHostPort(ip.String(), "53"))
	}
	for k := range w.Work {
		p.URLs = append(p.URLs, w.URL(k))
	}
	for _, share := range []float64{s.NSDeathAt, s.NSReviveAt, s.MovedAt} {
		if share > 0 {
			p.Marks = append(p.Marks, int(share*float64(len(w.Work)))+1)
		}
	}
	return p, nil
}

// runPlan runs the process of a client. It comes right after the world, which
// runs in real time, and before all other programs of the machine.
func runPlan(ctx context.Context, o *options, p *crawl.Plan, ns namespace.Pair, dir string) (_ *crawl.Result, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	planFile, outFile := filepath.Join(dir, "plan.json"), filepath.Join(dir, "out.json")
	b, err := json.Marshal(p)
	if err != nil {
		return nil, 0, err
	}
	if err := os.WriteFile(planFile, b, 0o644); err != nil {
		return nil, 0, err
	}
	args := []string{"-n", "-15", "ip", "netns", "exec", ns.Client}
	if program, ok := o.programs[p.Client]; ok {
		args = append(args, program)
	} else {
		self, err := os.Executable()
		if err != nil {
			return nil, 0, err
		}
		args = append(args, self, clientCommand)
	}
	cmd := exec.CommandContext(ctx, "nice", append(args, "--plan", planFile, "--out", outFile)...)
	cmd.Env = append(os.Environ(), clients.Environment(p.Client)...)
	cmd.SysProcAttr = ownGroup()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("%w: %s", err, tail(&output))
	}
	if output.Len() > 0 && (o.verbose || o.goroutines) {
		fmt.Fprintln(os.Stderr, output.String())
	}
	b, err = os.ReadFile(outFile)
	if err != nil {
		return nil, 0, err
	}
	result := new(crawl.Result)
	if err := json.Unmarshal(b, result); err != nil {
		return nil, 0, err
	}
	if len(result.Rows) != len(p.URLs) {
		return nil, 0, fmt.Errorf("%d rows for %d URLs", len(result.Rows), len(p.URLs))
	}
	return result, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// keepRows writes a result to a folder, for the command explain.
func keepRows(folder string, p *crawl.Plan, r *crawl.Result) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%d.json", filepath.Base(p.Scenario), p.Client, p.Seed)
	return os.WriteFile(filepath.Join(folder, name), b, 0o644)
}

// machineCPU is what all processes of the machine have used, in seconds: the
// first line of /proc/stat, without idle, iowait and the guests, which user
// and nice hold already.
func machineCPU() float64 {
	const idle, iowait, guest = 3, 4, 8
	const ticksPerSecond = 100 // USER_HZ
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	ticks := 0.0
	for i, field := range strings.Fields(strings.TrimPrefix(line, "cpu")) {
		if i != idle && i != iowait && i < guest {
			t, _ := strconv.ParseFloat(field, 64)
			ticks += t
		}
	}
	return ticks / ticksPerSecond
}
