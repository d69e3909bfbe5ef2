package transport

import (
	"net/http"
	"slices"
	"sync"
)

// An http.Transport never forgets a host that it has dialled unless one of
// its connections becomes idle: what it keeps of a dead host, or of one that
// closes its connections, is half a kilobyte for ever (its idleConnWait;
// go.dev/issue/50798 has made the entry smaller). So a new one takes its place
// after so many hosts, or so many times the bound on the connections: few of
// those that are closed for it would have been used again.
const (
	leastPoolHosts = 4096
	poolHostsShare = 8     // times MaxConns
	mostPoolHosts  = 32768 // where there is no such bound
)

// pools keeps the connections, in one pool after the other. All requests to a
// host that are under way, and all its connections, are in the same pool, so
// that net/http's own bounds for a host hold.
type pools struct {
	base *http.Transport // all others are clones of it
	most int             // hosts

	mu      sync.Mutex // protects what follows, and the pools
	current *pool
	old     []*pool // those that still have hosts
}

type pool struct {
	*http.Transport
	of    *pools
	came  int            // hosts, each time that it had left before
	hosts map[string]int // requests that wait, dials under way and connections, by poolKey
}

func newPools(base *http.Transport, maxConns int) *pools {
	p := &pools{base: base, most: mostPoolHosts}
	if maxConns > 0 {
		p.most = min(max(leastPoolHosts, poolHostsShare*min(maxConns, mostPoolHosts)), mostPoolHosts)
	}
	p.current = p.fresh()
	return p
}

func (p *pools) fresh() *pool {
	return &pool{Transport: p.base.Clone(), of: p, hosts: map[string]int{}}
}

// enter returns the pool for a request to a host, which leaves it in the end.
func (p *pools) enter(host string) *pool {
	p.mu.Lock()
	for _, x := range p.old {
		if x.hosts[host] > 0 {
			x.hosts[host]++
			p.mu.Unlock()
			return x
		}
	}
	x := p.current
	full := x.hosts[host] == 0 && x.came >= p.most
	if full {
		if len(x.hosts) > 0 {
			p.old = append(p.old, x)
		}
		x = p.fresh()
		p.current = x
	}
	if x.hosts[host] == 0 {
		x.came++
	}
	x.hosts[host]++
	old := p.old
	if full {
		old = slices.Clone(old)
	}
	p.mu.Unlock()
	if full {
		closeIdle(old)
	}
	return x
}

// enter counts a dial to a host, or the connection that it becomes.
func (x *pool) enter(host string) {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	x.hosts[host]++
}

func (x *pool) leave(host string) {
	p := x.of
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.hosts[host]--; x.hosts[host] > 0 {
		return
	}
	delete(x.hosts, host)
	if len(x.hosts) == 0 && x != p.current {
		p.old = slices.DeleteFunc(p.old, func(o *pool) bool { return o == x })
	}
}

func (p *pools) closeIdle() {
	p.mu.Lock()
	all := append(slices.Clone(p.old), p.current)
	p.mu.Unlock()
	closeIdle(all)
}

func closeIdle(list []*pool) {
	for _, x := range list {
		x.CloseIdleConnections()
	}
}

// poolKey is what net/http shares connections by, or less: those to a proxy
// that is asked in plain HTTP carry requests to all hosts.
func (j *journey) poolKey(scheme string) string {
	if j.proxy != nil && scheme == "http" && (j.proxy.Scheme == "http" || j.proxy.Scheme == "https") {
		return j.proxy.Host
	}
	return j.key
}
