package dnscache

import "time"

// Waiting is the number of queries that wait for room on a socket.
func (r *Resolver) Waiting() (n int) {
	for _, s := range r.conf.Load().servers {
		s.mu.Lock()
		n += len(s.pool.waiting)
		s.mu.Unlock()
	}
	return n
}

// TTL is for how long the cache took in what it has of host and network, and
// 0 if it has nothing.
func (r *Resolver) TTL(network, host string) time.Duration {
	want, _ := familiesOf(network)
	for f, rec := range r.cache.records(host) {
		if want[f] && rec != nil {
			return rec.ttl
		}
	}
	return 0
}
