package dnscache

import (
	"context"
	"sync"
)

// prefetchers is the number of names a Prefetch asks for at a time.
const prefetchers = 64

// A PrefetchResult says what became of one name.
type PrefetchResult struct {
	Host string
	Err  error // nil: the name has an address, and it is in the cache
}

// Prefetch looks hosts up, at most 64 at a time and each once, so that later
// lookups find them in the cache. It returns one result for each distinct
// host in the order of their first appearance, when all are done or ctx
// ends.
func (r *Resolver) Prefetch(ctx context.Context, hosts []string) []PrefetchResult {
	seen := make(map[string]bool, len(hosts))
	var results []PrefetchResult
	for _, h := range hosts {
		if !seen[h] {
			seen[h] = true
			results = append(results, PrefetchResult{Host: h})
		}
	}
	next := make(chan *PrefetchResult)
	var wg sync.WaitGroup
	for range min(prefetchers, len(results)) {
		wg.Go(func() {
			for p := range next {
				_, p.Err = r.LookupNetIP(ctx, "ip", p.Host)
			}
		})
	}
	for i := range results {
		next <- &results[i]
	}
	close(next)
	wg.Wait()
	return results
}
