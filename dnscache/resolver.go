package dnscache

import (
	"context"
	"io"
	"maps"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise/internal/hook"
)

// A Resolver turns host names into addresses and remembers them. It is safe
// for concurrent use. It owns sockets and goroutines, which Close ends.
type Resolver struct {
	opt        Options
	ownDial    bool // by a net.Dialer of ours
	conf       atomic.Pointer[config]
	resolvConf watchedFile
	cache      *cache
	clock      clock
	hosts      hostsFile
	counters   counters
	calls      hook.Group    // of the caller's functions
	hooks      hook.Queue    // of these, Options.Hooks
	wake       chan struct{} // of runSchedule

	ctx    context.Context // ends with Close; for connections to nameservers only
	cancel context.CancelFunc
	wg     sync.WaitGroup // the goroutines begun by own

	mu       sync.Mutex // protects what follows, and every flight
	flights  map[flightKey]*flight
	schedule schedule
	sleeping time.Time              // until when runSchedule sleeps, unless it is woken; zero: until it is
	timer    time.Time              // what its timer is set to; zero: nothing
	owned    map[io.Closer]struct{} // connections to close with the Resolver
	closed   bool

	allowance int // of retransmissions, in retransmitShares
}

// New returns a Resolver. Its errors are about o: a server that is not an
// address, a value out of range, or no nameserver to be found.
func New(o *Options) (*Resolver, error) {
	opt, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Resolver{
		opt:        opt,
		ownDial:    o == nil || o.Dial == nil,
		resolvConf: watchedFile{path: opt.ResolvConf},
		cache:      newCache(opt.MaxHosts),
		clock:      clock{start: time.Now().Add(-1)}, // its readings are not 0
		hosts:      hostsFile{watchedFile: watchedFile{path: opt.HostsFile}},
		wake:       make(chan struct{}, 1),
		flights:    map[flightKey]*flight{},
		owned:      map[io.Closer]struct{}{},
		allowance:  retransmitBurst * retransmitShare,
	}
	r.hooks = hook.Queue{Group: &r.calls, Max: hooksWaiting}
	if r.hosts.static, err = staticHosts(opt.Hosts); err != nil {
		return nil, err
	}
	conf, err := r.firstConfig()
	if err != nil {
		return nil, err
	}
	r.conf.Store(conf)
	r.hosts.reload(r.clock.exact(), r.cache.forget, nil)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.own(r.runSchedule, nil)
	return r, nil
}

// own starts a goroutine that Close waits for, and has Close close c; either
// may be nil. It returns false, doing nothing, when the Resolver is closed.
func (r *Resolver) own(run func(), c io.Closer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if c != nil {
		r.owned[c] = struct{}{}
	}
	if run != nil {
		r.wg.Go(run)
	}
	return true
}

func (r *Resolver) disown(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owned, c)
}

// Close fails the lookups on their way, closes the sockets and waits for the
// Resolver's goroutines. Later lookups get what the cache has, or fail with
// net.ErrClosed. For hooks, and for functions given to Subscribe, it waits for
// a second at most, so that they may call it, and for Options.Dial 0.1 s. It
// returns nil.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.closed = true
	owned := slices.Collect(maps.Keys(r.owned))
	flights := slices.Collect(maps.Values(r.flights))
	r.mu.Unlock()
	r.cancel()
	for _, c := range owned {
		c.Close()
	}
	for _, f := range flights {
		r.finish(f, closedRecord(f.name))
	}
	r.wg.Wait()
	r.calls.Wait(hooksAtClose)
	return nil
}

// LookupNetIP returns the addresses of host, like the method of
// net.Resolver: network is "ip", "ip4" or "ip6", and host a name, in Unicode
// or ASCII, or an address. IPv6 addresses come first, each family in the
// order of the nameserver. An error of one family, or that it did not come
// before ctx's deadline, is reported only when the other has no address
// either. Errors are *hostwise.DNSError. What is known is returned even when
// ctx has ended.
//
// A lookup for "ip" waits for both families: a nameserver that never answers
// for one of them, as some do for IPv6, costs it the whole time. Subscribe
// tells each as it comes. Of each family the first 64 addresses are kept.
//
// Other than net.Resolver, it returns IPv4 addresses as such (192.0.2.1, not
// ::ffff:192.0.2.1, unless host is written so), and keeps the zone of an
// address. Like net.Resolver, it calls the hooks DNSStart and DNSDone of
// net/http/httptrace.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.AppendNetIP(ctx, nil, network, host)
}

// AppendNetIP is LookupNetIP, appending to dst. With enough room in dst it
// does not allocate when the answer is cached.
func (r *Resolver) AppendNetIP(ctx context.Context, dst []netip.Addr, network, host string) ([]netip.Addr, error) {
	var coalesced bool
	if t := httptrace.ContextClientTrace(ctx); t != nil && (t.DNSStart != nil || t.DNSDone != nil) {
		return r.appendTraced(ctx, t, dst, network, host)
	}
	return r.append(ctx, dst, network, host, &coalesced)
}

// Forget removes what the cache knows of host, with each search domain, too,
// where a lookup would try them, so that the next lookup asks for it again.
func (r *Resolver) Forget(host string) {
	for _, h := range append(r.candidates(host), host) {
		if name, fault := normalize(h); fault == "" {
			r.cache.forget(name)
		}
	}
}

// ForgetFailures removes what the cache knows of failures (timeouts, SERVFAIL and
// the like, not that a name or its addresses do not exist), and has the
// questions on their way asked again, 0.4 s after the last time at the earliest:
// the network is back.
func (r *Resolver) ForgetFailures() {
	r.cache.forgetErrors(true)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.flights {
		if f.sends < f.maxSends() {
			r.waitFor(f, now)
		}
	}
}
