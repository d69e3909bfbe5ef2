package main

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/hostwise-go/hostwise/internal/loopnet"
)

// A world is what there is to crawl.
type world struct {
	net   *loopnet.Internet       // nil: the one out there
	start []string                // URLs to begin with
	fates map[string]loopnet.Fate // by host and port; nil if nobody knows
	hosts map[loopnet.Fate]int    // how many there are of each
}

// pages is how often a host is asked for something.
const pages = 5

func newWorld(cfg *config) (*world, error) {
	if len(cfg.urls) > 0 {
		return &world{start: cfg.urls}, nil
	}
	n, err := loopnet.Start(&loopnet.Options{Hosts: mix(cfg.hosts), Pages: pages, Seed: cfg.seed})
	if err != nil {
		return nil, err
	}
	w := &world{net: n, fates: make(map[string]loopnet.Fate), hosts: make(map[loopnet.Fate]int)}
	hosts := n.Hosts()
	if len(hosts) == 0 {
		return nil, errors.Join(fmt.Errorf("no host could be built: %q", n.Missing()), n.Close())
	}
	for _, h := range hosts {
		u, err := url.Parse(h.URL)
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		w.fates[u.Host] = h.Fate
		w.hosts[h.Fate]++
	}
	// Like a crawler's own list after some time: every host is on it several
	// times, and seldom twice in a row.
	for i := range pages {
		for _, h := range hosts {
			w.start = append(w.start, h.Pages[i])
		}
	}
	return w, nil
}

// workers returns how many requests may be under way at once. Hosts that are
// not ours are spared: two for each URL given.
func (w *world) workers(cfg *config) int {
	if w.net != nil {
		return cfg.workers
	}
	return min(cfg.workers, 2*len(w.start))
}

func (w *world) close() error {
	if w.net == nil {
		return nil
	}
	return w.net.Close()
}

// shares are the hosts of each fate among 200; the rest is loopnet.Healthy.
// There are more broken ones than on the web at large: every fault is to show
// in half a minute.
var shares = []struct {
	fate  loopnet.Fate
	of200 int
}{
	{loopnet.DeadFirst, 5}, {loopnet.DeadIPv6, 6}, {loopnet.SlowDNS, 6}, {loopnet.SlowHeader, 3},
	{loopnet.BlackHole, 3}, {loopnet.Mute, 2}, {loopnet.DNSSilent, 2},
	{loopnet.NXDomain, 6}, {loopnet.NoData, 2}, {loopnet.ServFail, 3},
	{loopnet.Refused, 4}, {loopnet.Closed, 3}, {loopnet.NotTLS, 2}, {loopnet.Expired, 2},
	{loopnet.DualStack, 25}, {loopnet.HTTPS, 20}, {loopnet.Alias, 3}, {loopnet.Truncated, 2},
}

// mix divides hosts among the fates, with one of each if there is room.
func mix(hosts int) map[loopnet.Fate]int {
	m := make(map[loopnet.Fate]int)
	left := hosts - 1 // one healthy host at least
	for _, s := range shares {
		n := min(max(1, s.of200*hosts/200), left)
		m[s.fate] = n
		left -= n
	}
	m[loopnet.Healthy] = left + 1
	return m
}
