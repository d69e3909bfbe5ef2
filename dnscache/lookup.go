package dnscache

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/failure"
)

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

// AppendCached appends host's addresses if the cache has fresh answers for
// every family of network, at least one of them with addresses; else it
// reports false, and AppendNetIP or Subscribe may know more: static names, and
// names in upper case. It asks nobody, and with enough room in dst it does not
// allocate.
func (r *Resolver) AppendCached(dst []netip.Addr, network, host string) ([]netip.Addr, bool) {
	want, err := r.families(network, host)
	if err != nil || r.candidates(host) != nil {
		return dst, false
	}
	return r.hit(dst, want, host)
}

// hit appends what the cache has for host as it stands, if that is the whole
// answer and there are addresses in it.
func (r *Resolver) hit(dst []netip.Addr, want familySet, host string) ([]netip.Addr, bool) {
	e := r.cache.get(host)
	if e == nil {
		return dst, false
	}
	now := r.clock.coarse()
	if now == 0 {
		now = r.askClock()
	}
	if r.hosts.isDue(now) {
		return dst, false
	}
	if want.has(v6) && !e.answers(v6, now) || want.has(v4) && !e.answers(v4, now) {
		return dst, false
	}
	n := len(dst)
	dst = slices.Grow(dst, e.addrs(v6)+e.addrs(v4)) // for one allocation
	var s6, s4 state                                // unknown if not wanted
	if want.has(v6) {
		dst, s6 = e.appendAddrs(dst, v6), e.state[v6]
	}
	if want.has(v4) {
		dst, s4 = e.appendAddrs(dst, v4), e.state[v4]
	}
	if len(dst) == n {
		return dst, false
	}
	r.counters.hit(s6, s4)
	if want.has(v6) && e.takeRefresh(v6, now) {
		r.refresh(flightKey{e.host(), v6})
	}
	if want.has(v4) && e.takeRefresh(v4, now) {
		r.refresh(flightKey{e.host(), v4})
	}
	e.used()
	return dst, true
}

// askClock is the time on the resolver's clock while nobody keeps it. When
// it is asked for often, it is kept from now on.
func (r *Resolver) askClock() int64 {
	now, busy := r.clock.ask()
	if busy && !r.own(func() { r.clock.keep(r.ctx.Done()) }, nil) {
		r.clock.kept.Store(0)
	}
	return now
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
