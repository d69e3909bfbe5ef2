//go:build linux

package crawl

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Main is the whole of a program whose arguments are --plan FILE --out FILE:
// it runs the client that the plan names.
func Main(args []string, clients map[string]Factory) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	planFile := flags.String("plan", "", "the `file` that says what to fetch (JSON)")
	outFile := flags.String("out", "", "the `file` to write the result to (JSON)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p, err := readPlan(*planFile)
	if err != nil {
		return err
	}
	factory, ok := clients[p.Client]
	if !ok {
		return fmt.Errorf("no client %q here, there are %v", p.Client, slices.Sorted(maps.Keys(clients)))
	}
	result, err := run(p, factory)
	if err != nil {
		return err
	}
	b, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return os.WriteFile(*outFile, b, 0o644)
}

func run(p *Plan, factory Factory) (*Result, error) {
	f := newFrontier(p)
	config, err := p.config(f)
	if err != nil {
		return nil, err
	}
	goroutines := runtime.NumGoroutine()
	c, err := factory(config)
	if err != nil {
		return nil, err
	}
	if p.CPUProfile != "" {
		w, err := os.Create(p.CPUProfile)
		if err != nil {
			return nil, err
		}
		defer w.Close()
		if err := pprof.StartCPUProfile(w); err != nil {
			return nil, err
		}
		defer pprof.StopCPUProfile()
	}
	result := measure(p, f, c)
	result.GoroutinesBase = goroutines
	if info, ok := debug.ReadBuildInfo(); ok {
		result.Version = info.GoVersion
	}
	return result, nil
}

// measure crawls, closes the client, and says what it took.
func measure(p *Plan, f *frontier, c Client) *Result {
	runtime.GC()
	r := &Result{Client: p.Client, Rows: make([]Row, len(p.URLs)), RSSBase: residentMB("VmRSS")}
	tell := newTeller(p)
	f.onDispatch = tell.dispatched
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	user0, system0 := cpuTime()
	start := time.Now()
	f.start(start, time.Duration(p.LimitS*float64(time.Second)))
	peak := watchGoroutines()
	var workers sync.WaitGroup
	for range p.Workers {
		workers.Go(func() {
			for {
				url, ok := f.take()
				if !ok {
					return
				}
				r.Rows[url] = fetch(c, p, url, start, f)
			}
		})
	}
	workers.Wait()
	r.Wall = time.Since(start).Seconds()
	user1, system1 := cpuTime()
	runtime.ReadMemStats(&after)
	r.GoroutinesPeak = peak()
	r.CPU, r.CPUUser = user1+system1-user0-system0, user1-user0
	r.AllocMB, r.Mallocs = float64(after.TotalAlloc-before.TotalAlloc)/1e6, after.Mallocs-before.Mallocs
	r.RSSPeak = residentMB("VmHWM")
	r.GoroutinesEnd = runtime.NumGoroutine()
	tell.close()
	c.Close()
	time.Sleep(time.Second) // for what ends by itself
	r.GoroutinesAfter = runtime.NumGoroutine()
	if p.Goroutines {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	}
	return r
}

func fetch(c Client, p *Plan, url int, crawlStart time.Time, f *frontier) Row {
	start := time.Now()
	o := c.Fetch(context.Background(), p.URLs[url])
	total := time.Since(start)
	f.done(url)
	row := Row{
		URL:     url,
		Start:   milliseconds(start.Sub(crawlStart)),
		TTFB:    milliseconds(o.TTFB),
		Total:   milliseconds(total),
		Kind:    OK,
		DNS:     milliseconds(o.Phases.DNS),
		Connect: milliseconds(o.Phases.Connect),
		Reused:  o.Phases.Reused,
	}
	switch {
	case o.Err != nil:
		row.Kind, row.Err = c.Classify(o.Err), o.Err.Error()
	case o.Status != http.StatusOK:
		row.Kind, row.Err = Other, "HTTP "+strconv.Itoa(o.Status)
	}
	return row
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// teller tells the world how far the crawl is.
type teller struct {
	client *http.Client
	marks  map[int]bool
}

func newTeller(p *Plan) *teller {
	t := &teller{marks: map[int]bool{}}
	for _, m := range p.Marks {
		t.marks[m] = true
	}
	t.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.Control)
		},
	}}
	return t
}

// dispatched must not block: it is called with the frontier locked.
func (t *teller) dispatched(n int) {
	if !t.marks[n] {
		return
	}
	go func() {
		resp, err := t.client.Get("http://control/progress?n=" + strconv.Itoa(n))
		if err != nil {
			fmt.Fprintln(os.Stderr, "the world was not told of the progress:", err)
			return
		}
		resp.Body.Close()
	}()
}

func (t *teller) close() { t.client.CloseIdleConnections() }
