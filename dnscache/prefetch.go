package dnscache

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// prefetchers is the number of names a Prefetch asks for at a time.
const prefetchers = 64

// A PrefetchResult says what became of one name.
type PrefetchResult struct {
	Host  string
	Addrs int   // that the name has
	Err   error // why it has none; a *hostwise.DNSError

	// Why it has none of one family; nil where it has some, or was not asked
	// for since ctx had ended. A failure here may hide addresses: the next
	// lookup asks for them again.
	Err6, Err4 error
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
				r.prefetch(ctx, p)
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

// prefetch looks one name up. A context that ends leaves to the cache what
// comes within the next second.
func (r *Resolver) prefetch(ctx context.Context, p *PrefetchResult) {
	if err := failure.Context(ctx); err != nil {
		p.Err = r.contextError(ctx, p.Host, err)
		return
	}
	type answer struct {
		network string
		addrs   int
		err     error
	}
	answers := make(chan answer, 2)
	s := r.Subscribe("ip", p.Host, func(network string, addrs []netip.Addr, err error) {
		answers <- answer{network, len(addrs), err}
	})
	defer s.Stop()
	var worst *hostwise.DNSError
	for range 2 {
		select {
		case a := <-answers:
			p.Addrs += a.addrs
			if a.network == "ip6" {
				p.Err6 = a.err
			} else {
				p.Err4 = a.err
			}
			var e *hostwise.DNSError
			if errors.As(a.err, &e) {
				worst = failure.Resolve(worst, e)
			}
		case <-ctx.Done():
			if p.Addrs == 0 {
				p.Err = r.contextError(ctx, p.Host, failure.Context(ctx))
			}
			return
		}
	}
	if p.Addrs == 0 {
		p.Err = worst
	}
}
