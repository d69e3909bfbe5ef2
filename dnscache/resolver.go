package dnscache

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

// A Resolver turns host names into addresses and remembers them. It is safe
// for concurrent use. It owns sockets and goroutines, which Close ends.
type Resolver struct {
	opt        Options
	conf       atomic.Pointer[config]
	resolvConf watchedFile
	cache      *cache
	clock      clock
	hosts      hostsFile
	counters   counters
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
		resolvConf: watchedFile{path: opt.ResolvConf},
		cache:      newCache(opt.MaxHosts),
		clock:      clock{start: time.Now().Add(-1)}, // its readings are not 0
		hosts:      hostsFile{watchedFile: watchedFile{path: opt.HostsFile}},
		wake:       make(chan struct{}, 1),
		flights:    map[flightKey]*flight{},
		owned:      map[io.Closer]struct{}{},
	}
	if r.hosts.static, err = staticHosts(opt.Hosts); err != nil {
		return nil, err
	}
	conf, err := r.firstConfig()
	if err != nil {
		return nil, err
	}
	r.conf.Store(conf)
	r.hosts.reload(r.clock.exact())
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
// Resolver's goroutines. Later lookups fail with net.ErrClosed. It returns
// nil.
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
	return nil
}

// LookupNetIP returns the addresses of host, like the method of
// net.Resolver: network is "ip", "ip4" or "ip6", and host a name, in Unicode
// or ASCII, or an address. IPv6 addresses come first, each family in the
// order of the nameserver. An error of one family, or that it did not come
// before ctx's deadline, is reported only when the other has no address
// either. Errors are *hostwise.DNSError.
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

// appendTraced is AppendNetIP with the hooks of net/http/httptrace, which are
// silent about literals, as those of net.Resolver are.
func (r *Resolver) appendTraced(ctx context.Context, t *httptrace.ClientTrace, dst []netip.Addr, network, host string) ([]netip.Addr, error) {
	var info httptrace.DNSDoneInfo
	if _, ok := parseLiteral(host); ok {
		return r.append(ctx, dst, network, host, &info.Coalesced)
	}
	if t.DNSStart != nil {
		t.DNSStart(httptrace.DNSStartInfo{Host: host})
	}
	n := len(dst)
	dst, info.Err = r.append(ctx, dst, network, host, &info.Coalesced)
	if t.DNSDone != nil {
		for _, a := range dst[n:] {
			info.Addrs = append(info.Addrs, net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()})
		}
		t.DNSDone(info)
	}
	return dst, info.Err
}

// append is AppendNetIP without hooks. It sets coalesced when it has waited
// for another caller's question.
func (r *Resolver) append(ctx context.Context, dst []netip.Addr, network, host string, coalesced *bool) ([]netip.Addr, error) {
	want, err := r.families(network, host)
	if err != nil {
		return dst, err
	}
	if names := r.candidates(host); names != nil {
		return r.appendFirst(ctx, dst, want, host, names, coalesced)
	}
	return r.appendExact(ctx, dst, want, host, coalesced)
}

// appendFirst appends the addresses of the first of the names that has any;
// host is what the caller calls it.
func (r *Resolver) appendFirst(ctx context.Context, dst []netip.Addr, want familySet, host string, names []string, coalesced *bool) ([]netip.Addr, error) {
	n := len(dst)
	var worst *hostwise.DNSError
	for _, name := range names {
		var err error
		if dst, err = r.appendExact(ctx, dst, want, name, coalesced); err == nil {
			return dst, nil
		}
		dst = dst[:n]
		var e *hostwise.DNSError
		if errors.As(err, &e) {
			e.Host = host
			worst = failure.Resolve(worst, e)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return dst, worst
}

// appendExact appends the addresses of the name that host is.
func (r *Resolver) appendExact(ctx context.Context, dst []netip.Addr, want familySet, host string, coalesced *bool) ([]netip.Addr, error) {
	if dst, ok := r.hit(dst, want, host); ok {
		return dst, nil
	}
	records, name, ask, err := r.known(want, host)
	if err != nil {
		return dst, err
	}
	if ask[v6] || ask[v4] {
		if err := r.wait(ctx, name, ask, &records, coalesced); err != nil {
			if ctx.Err() == context.DeadlineExceeded { // what came in time is not lost
				if dst, err := r.appendRecords(dst, host, want, records, ask); err == nil {
					return dst, nil
				}
			}
			return dst, err
		}
	}
	return r.appendRecords(dst, host, want, records, ask)
}

// hit appends what the cache has for host as it stands, if that is the whole
// answer and there are addresses in it.
func (r *Resolver) hit(dst []netip.Addr, want familySet, host string) ([]netip.Addr, bool) {
	e := r.cache.get(host)
	if e == nil {
		return dst, false
	}
	now := r.now()
	if r.hosts.isDue(now) {
		return dst, false
	}
	n := len(dst)
	for _, f := range [...]family{v6, v4} {
		switch {
		case !want.has(f):
		case now >= e.expires[f]:
			return dst[:n], false
		case e.state[f].hasAddrs():
			if len(dst) == n { // for one allocation
				dst = slices.Grow(dst, e.addrs(v6)+e.addrs(v4))
			}
			dst = e.appendAddrs(dst, f)
			if e.takeRefresh(f, now) {
				r.refresh(flightKey{e.host(), f})
			}
		case e.state[f] == unknown || e.state[f] == failed:
			return dst[:n], false
		}
	}
	if len(dst) == n {
		return dst, false
	}
	for _, f := range [...]family{v6, v4} {
		if want.has(f) {
			r.counters.hit(e.state[f])
		}
	}
	e.used()
	return dst, true
}

// now is the time on the resolver's clock, at most clockTick late.
func (r *Resolver) now() int64 {
	now, busy := r.clock.coarse()
	if busy && !r.own(func() { r.clock.keep(r.ctx.Done()) }, nil) {
		r.clock.kept.Store(0)
	}
	return now
}

var errIPv6Disabled = errors.New("Options.DisableIPv6 is set")

// families is the part of network that is to be asked for.
func (r *Resolver) families(network, host string) (want familySet, err error) {
	want, ok := familiesOf(network)
	if !ok {
		return want, &hostwise.DNSError{Host: host, Kind: hostwise.DNSBadName, Err: net.UnknownNetworkError(network)}
	}
	if r.opt.DisableIPv6 {
		want &^= 1 << v6
	}
	if want == 0 {
		return want, &hostwise.DNSError{Host: host, Kind: hostwise.DNSNoData, Err: errIPv6Disabled}
	}
	return want, nil
}

// known returns what can be said of host without asking: literals, static
// names, the cache. ask says which families remain to be asked for, under
// name.
func (r *Resolver) known(want familySet, host string) (records [2]*record, name string, ask [2]bool, err error) {
	if a, ok := parseLiteral(host); ok {
		return literal(a), host, ask, nil
	}
	name, fault := normalize(host)
	if fault != "" {
		return records, "", ask, badName(host, fault)
	}
	now := r.clock.exact()
	static, ok := special(name)
	if !ok {
		static, ok = r.lookupHosts(name, now)
	}
	if ok {
		return staticRecords(name, static), name, ask, nil
	}
	r.config(now)
	records = r.cache.records(name)
	cut := r.cutOff(name, now)
	for f := range records {
		if !want.has(family(f)) {
			continue
		}
		rec, other := records[f], records[1-f]
		if cut != nil && !rec.valid(now) {
			rec, records[f] = cut, cut
		}
		if rec == nil && other.valid(now) && other.covers() {
			rec, records[f] = other, other
		}
		if ask[f] = !rec.valid(now); !ask[f] {
			r.counters.hit(rec.state)
			r.use(name, family(f), now)
		}
	}
	return records, name, ask, nil
}

// cutOff returns what is known of the first name above name that does not
// exist, so that name does not exist either (RFC 8020, section 2); nil if
// there is none, or Options.NXDomainCut is not set. What an alias points to
// says nothing of the names below the alias.
func (r *Resolver) cutOff(name string, now int64) *record {
	if !r.opt.NXDomainCut {
		return nil
	}
	for denied := name; ; {
		var ok bool
		if _, name, ok = strings.Cut(name, "."); !ok {
			return nil
		}
		for _, rec := range r.cache.records(name) {
			if rec.valid(now) && rec.covers() && !rec.aliased {
				e := *rec.err
				e.Host = denied
				return &record{state: negative, err: &e, expires: rec.expires, ttl: rec.ttl}
			}
		}
	}
}

// isStatic reports whether host is answered for without any nameserver.
func (r *Resolver) isStatic(host string) bool {
	if _, ok := parseLiteral(host); ok {
		return true
	}
	name, fault := normalize(host)
	if fault != "" {
		return true
	}
	_, ok := special(name)
	if !ok {
		_, ok = r.lookupHosts(name, r.clock.exact())
	}
	return ok
}

// use keeps a name that was found in the cache there, and refreshes it ahead
// of its expiry.
func (r *Resolver) use(name string, f family, now int64) {
	if e := r.cache.get(name); e != nil {
		e.used()
		if e.takeRefresh(f, now) {
			r.refresh(flightKey{name, f})
		}
	}
}

// lookupHosts returns the static addresses of name.
func (r *Resolver) lookupHosts(name string, now int64) (addrs [2][]netip.Addr, ok bool) {
	if r.hosts.isDue(now) {
		for static := range r.hosts.reload(now) {
			r.cache.forget(static) // or a hit would not see the change
		}
	}
	return r.hosts.lookup(name)
}

func badName(host, fault string) error {
	return &hostwise.DNSError{Host: host, Kind: hostwise.DNSBadName, Err: nameFault(fault)}
}

type nameFault string

func (f nameFault) Error() string { return string(f) }

func literal(a netip.Addr) (records [2]*record) {
	records[familyOf(a)] = &record{state: positive, addrs: []netip.Addr{a}}
	return records
}

// staticRecords are those of names that need no nameserver; a family without
// an address has none.
func staticRecords(name string, static [2][]netip.Addr) (records [2]*record) {
	kind := hostwise.DNSNoData
	if len(static[v6])+len(static[v4]) == 0 {
		kind = hostwise.DNSNXDomain
	}
	for f, addrs := range static {
		if len(addrs) > 0 {
			records[f] = &record{state: positive, addrs: addrs}
		} else {
			records[f] = &record{state: negative, err: &hostwise.DNSError{Host: name, Kind: kind}}
		}
	}
	return records
}

// appendRecords is the end of a lookup: the addresses of the wanted families
// or, without any, the error. fresh says which families were just asked for.
func (r *Resolver) appendRecords(dst []netip.Addr, host string, want familySet, records [2]*record, fresh [2]bool) ([]netip.Addr, error) {
	n := len(dst)
	var worst *hostwise.DNSError
	for f, rec := range records {
		switch {
		case !want.has(family(f)):
		case rec == nil: // a literal of the other family
			worst = failure.Resolve(worst, &hostwise.DNSError{Host: host, Kind: hostwise.DNSNoData})
		case rec.err != nil:
			worst = failure.Resolve(worst, r.callerError(rec, fresh[f]))
		default:
			if other := records[1-f]; len(dst) == n && other != nil { // for one allocation
				dst = slices.Grow(dst, len(rec.addrs)+len(other.addrs))
			}
			dst = append(dst, rec.addrs...)
		}
	}
	if len(dst) == n {
		return dst, worst
	}
	return dst, nil
}

// callerError is a record's error for one caller.
func (r *Resolver) callerError(rec *record, fresh bool) *hostwise.DNSError {
	e := *rec.err
	if rec.expires != 0 {
		e.Cached, e.RetryAt = !fresh, r.clock.at(rec.expires)
	}
	return &e
}

// A lookup waits for one or two flights.
type lookup struct {
	records [2]atomic.Pointer[record] // each written by its flight
	left    atomic.Int32              // those to be written
	done    chan struct{}
}

func (l *lookup) answered(f family, rec *record) {
	l.records[f].Store(rec)
	if l.left.Add(-1) == 0 {
		close(l.done)
	}
}

// wait asks for the families in ask and fills in records. When ctx ends first
// it returns an error, and those that have not come are nil. It sets
// coalesced if another caller has asked already.
func (r *Resolver) wait(ctx context.Context, name string, ask [2]bool, records *[2]*record, coalesced *bool) error {
	for f := range ask {
		if ask[f] {
			records[f] = nil
		}
	}
	if err := failure.Context(ctx); err != nil {
		return r.contextError(ctx, name, err)
	}
	l := &lookup{done: make(chan struct{})}
	l.left.Store(int32(len(ask)))
	var first [2]*query
	now := time.Now()
	r.mu.Lock()
	for f := range ask {
		var rec *record
		if ask[f] {
			rec, first[f] = r.join(flightKey{name, family(f)}, l, now)
			*coalesced = *coalesced || rec == nil && first[f] == nil
		}
		if rec != nil || !ask[f] {
			l.answered(family(f), rec)
		}
	}
	r.mu.Unlock()
	for _, q := range first {
		if q != nil {
			r.launch(q)
		}
	}
	var err error
	select {
	case <-l.done:
	case <-ctx.Done():
		err = r.contextError(ctx, name, failure.Context(ctx))
		for f := range ask {
			if ask[f] {
				r.leave(flightKey{name, family(f)}, l, 0)
			}
		}
	}
	for f := range ask {
		if ask[f] {
			records[f] = l.records[f].Load()
		}
	}
	return err
}

// contextError says that the caller's context ended a lookup.
func (r *Resolver) contextError(ctx context.Context, name string, err error) error {
	e := &hostwise.DNSError{Host: name, Kind: hostwise.Canceled, Asked: r.asking(name), Err: err}
	if ctx.Err() == context.DeadlineExceeded {
		e.Kind = hostwise.DNSTimeout
	}
	return e
}

// asking names the servers that name's questions on their way were sent to.
func (r *Resolver) asking(name string) (servers []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fam := range []family{v6, v4} {
		if f := r.flights[flightKey{name, fam}]; f != nil && len(servers) == 0 {
			servers = r.askedServers(f)
		}
	}
	return servers
}

// Forget removes what the cache knows of host, so that the next lookup asks
// for it again.
func (r *Resolver) Forget(host string) {
	if name, fault := normalize(host); fault == "" {
		r.cache.forget(name)
	}
}
