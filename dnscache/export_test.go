package dnscache

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
)

// Waiting is the number of queries that wait for room on a socket.
func (r *Resolver) Waiting() (n int) {
	for _, s := range r.conf.Load().servers {
		s.mu.Lock()
		n += len(s.pool.waiting)
		s.mu.Unlock()
	}
	return n
}

// Put puts what nameservers might have said into the cache, for an hour: err
// stands for the families without addresses.
func (r *Resolver) Put(name string, addrs4, addrs6 []netip.Addr, err *hostwise.DNSError) {
	for f, addrs := range [2][]netip.Addr{v6: addrs6, v4: addrs4} {
		rec := &record{state: positive, addrs: addrs, ttl: time.Hour, expires: r.clock.exact() + int64(time.Hour)}
		if len(addrs) == 0 {
			rec.state, rec.err = negative, err
		}
		r.cache.put(name, family(f), rec)
	}
}

// Names returns the names in the cache.
func (r *Resolver) Names() (names []string) {
	for e := range r.cache.table.Load().all {
		names = append(names, e.host())
	}
	return names
}

// WithSum completes a snapshot.
func WithSum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(slices.Clip(body), sum[:]...)
}

// UnderWay is the number of questions on their way, and of times at which
// something is to be done about one.
func (r *Resolver) UnderWay() (flights, due int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flights), len(r.schedule)
}

// TTL is for how long the cache took in what it has of host and network, and
// 0 if it has nothing.
func (r *Resolver) TTL(network, host string) time.Duration {
	want, _ := familiesOf(network)
	for f, rec := range r.cache.records(host) {
		if want.has(family(f)) && rec != nil {
			return rec.ttl
		}
	}
	return 0
}

// StandStill is what r sees after the machine has stood still for a second.
func (r *Resolver) StandStill() {
	r.mu.Lock()
	r.timer = time.Now().Add(-time.Second)
	r.mu.Unlock()
	r.wake <- struct{}{}
}
