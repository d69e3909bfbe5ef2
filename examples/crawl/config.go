package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

const usageHead = `usage: crawl [flags]
       crawl [flags] URL...

Crawls twice, with Colly as it comes ("stock") and with Colly on hostwise, the
same work with the same settings, and prints one table of what came of it.

Without URLs it crawls an internet of its own: a nameserver and some 200 web
servers on loopback sockets. Three in four are plain and healthy, one in ten has
a fault that a browser overcomes (a dead address beside a good one, IPv6 that
never connects, slow DNS, slow servers), the rest are broken in one way each.
Every host is asked for five pages.

With URLs it crawls those, and the links they have to pages of the same host.
robots.txt is not read, as in Colly's defaults: name hosts you may crawl. At most
two requests for each URL given are then under way at once. Stock goes first and
warms the web's own caches for hostwise; -only looks at one alone.

Ctrl-C ends the crawl with the report so far, a second one without it.
The exit code is 0, or 1 if the crawl could not start, or 2 for bad flags and URLs.

flags:
`

type config struct {
	hosts   int
	workers int
	pages   int
	timeout time.Duration
	only    string
	seed    uint64
	urls    []string // empty: the internet of its own
}

func flags(cfg *config) *flag.FlagSet {
	fs := flag.NewFlagSet("crawl", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors and usage itself
	fs.IntVar(&cfg.hosts, "hosts", 200, "`number` of hosts, without URLs")
	fs.IntVar(&cfg.workers, "workers", 32, "`number` of requests under way at once")
	fs.DurationVar(&cfg.timeout, "timeout", 10*time.Second, "`time` a request may take; Colly's own default is 10s")
	fs.StringVar(&cfg.only, "only", "both", "`client` to crawl with: stock, hostwise or both")
	fs.Uint64Var(&cfg.seed, "seed", 1, "`number` that decides which host is what, without URLs")
	fs.IntVar(&cfg.pages, "pages", 20, "`number` of pages to fetch from each host at most, with URLs")
	return fs
}

func usage() string {
	var b strings.Builder
	b.WriteString(usageHead)
	fs := flags(new(config))
	fs.SetOutput(&b)
	fs.PrintDefaults()
	return b.String()
}

func parse(args []string) (*config, error) {
	cfg := new(config)
	fs := flags(cfg)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case cfg.hosts < 1 || cfg.hosts > 1000:
		return nil, fmt.Errorf("-hosts %d: want 1 to 1000", cfg.hosts)
	case cfg.workers < 1:
		return nil, fmt.Errorf("-workers %d: want at least 1", cfg.workers)
	case cfg.pages < 1:
		return nil, fmt.Errorf("-pages %d: want at least 1", cfg.pages)
	case cfg.timeout <= 0:
		return nil, fmt.Errorf("-timeout %v: want more than 0", cfg.timeout)
	case cfg.only != "stock" && cfg.only != "hostwise" && cfg.only != "both":
		return nil, fmt.Errorf("-only %q: want stock, hostwise or both", cfg.only)
	}
	for _, a := range fs.Args() {
		if err := checkURL(a); err != nil {
			return nil, err
		}
	}
	cfg.urls = fs.Args()
	return cfg, nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		err = errors.Unwrap(err) // url.Error says no more than "parse" and s
		return fmt.Errorf("%q is not a URL: %w", s, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not a URL to crawl: it does not begin with http:// or https://", s)
	}
	if u.Hostname() == "" {
		return fmt.Errorf("%q is not a URL to crawl: it names no host", s)
	}
	return nil
}

// clients returns what to crawl with, in order.
func (cfg *config) clients() []connector {
	switch cfg.only {
	case "stock":
		return []connector{stock}
	case "hostwise":
		return []connector{wise}
	}
	return []connector{stock, wise}
}
