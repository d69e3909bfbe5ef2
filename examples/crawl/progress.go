package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A progress shows how far a crawl has come: a bar on a terminal, elsewhere a
// line every few seconds.
type progress struct {
	name  string
	begin time.Time

	total, ok, failed atomic.Int64

	stop chan struct{}
	wg   sync.WaitGroup
}

func newProgress(w io.Writer, name string) *progress {
	p := &progress{name: name, begin: time.Now(), stop: make(chan struct{})}
	show, every := p.lines(w), 3*time.Second
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		show, every = p.bar(w), 100*time.Millisecond
	}
	p.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show(false)
			case <-p.stop:
				show(true)
				return
			}
		}
	})
	return p
}

// expect raises the number of pages to come.
func (p *progress) expect(pages int) { p.total.Add(int64(pages)) }

// done counts a page.
func (p *progress) done(ok bool) {
	if ok {
		p.ok.Add(1)
	} else {
		p.failed.Add(1)
	}
}

func (p *progress) close() {
	close(p.stop)
	p.wg.Wait()
}

func (p *progress) lines(w io.Writer) func(last bool) {
	return func(bool) {
		ok, failed := p.ok.Load(), p.failed.Load()
		fmt.Fprintf(w, "%s: %d of %d pages, %d failed, %.0fs\n",
			p.name, ok+failed, p.total.Load(), failed, time.Since(p.begin).Seconds())
	}
}

func (p *progress) bar(w io.Writer) func(last bool) {
	b := progressbar.NewOptions(1, // raised as pages come to be known
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(40),
		progressbar.OptionShowCount(),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(false),
	)
	return func(last bool) {
		ok, failed := p.ok.Load(), p.failed.Load()
		b.ChangeMax64(max(p.total.Load(), 1))
		b.Describe(fmt.Sprintf("%-8s %3d failed", p.name, failed))
		b.Set64(ok + failed)
		if last {
			b.Exit()
			fmt.Fprintln(w)
		}
	}
}
