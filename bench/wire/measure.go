//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise/bench/wire/network"
	"github.com/hostwise-go/hostwise/bench/wire/report"
	"github.com/hostwise-go/hostwise/bench/wire/result"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// measure runs the client through all scenarios, several at once.
func measure(ctx context.Context, o *options) (*report.Report, error) {
	if o.pcap != "" {
		if err := os.MkdirAll(o.pcap, 0o755); err != nil {
			return nil, err
		}
	}
	m := &measurement{
		options: o,
		jobs:    make(chan job, o.repetitions*len(o.scenarios)),
		report: &report.Report{
			Client:        o.name,
			Command:       o.client,
			Repetitions:   o.repetitions,
			TimeoutS:      o.timeout.Seconds(),
			ResolvOptions: o.resolvOptions,
			When:          time.Now().UTC().Format(time.RFC3339),
		},
	}
	for repetition := range o.repetitions {
		for i := range o.scenarios {
			m.jobs <- job{&o.scenarios[i], repetition}
		}
	}
	close(m.jobs)
	var networks sync.WaitGroup
	for id := range min(o.parallel, cap(m.jobs)) {
		networks.Go(func() {
			if err := m.work(ctx, id); err != nil {
				m.fail(err)
			}
		})
	}
	networks.Wait()
	m.report.Sort(o.scenarios)
	return m.report, errors.Join(m.failed...)
}

type measurement struct {
	options *options
	jobs    chan job

	mu     sync.Mutex // protects what follows, and standard output
	report *report.Report
	failed []error
}

type job struct {
	scenario   *scenario.Scenario
	repetition int
}

// work makes a network and does jobs in it until none is left.
func (m *measurement) work(ctx context.Context, id int) (err error) {
	n, err := network.New(id, m.options.resolvOptions)
	if err != nil {
		return err
	}
	defer func() {
		if failed := n.Close(); failed != nil {
			err = errors.Join(err, fmt.Errorf("not all is removed: %w", failed))
		}
	}()
	for j := range m.jobs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := m.do(ctx, n, j); err != nil {
			m.fail(fmt.Errorf("%s: %w", j.scenario.Name, err))
		}
	}
	return nil
}

func (m *measurement) do(ctx context.Context, n *network.Network, j job) error {
	pcap := ""
	if m.options.pcap != "" {
		pcap = filepath.Join(m.options.pcap, fmt.Sprintf("%s-%s-%d.pcap", m.options.name, j.scenario.Name, j.repetition))
	}
	run, err := n.Run(ctx, j.scenario, network.Client{Command: m.options.client, Timeout: m.options.timeout}, pcap)
	if err != nil {
		return err
	}
	r := result.Analyze(j.scenario, run)
	r.Repetition = j.repetition
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report.Results = append(m.report.Results, r)
	if m.options.verbose {
		fmt.Println(r.Timeline())
	}
	return nil
}

func (m *measurement) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = append(m.failed, err)
}
