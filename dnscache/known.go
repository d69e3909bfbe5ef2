package dnscache

import (
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/hostwise-go/hostwise"
)

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
	if static, ok := r.static(name, now); ok {
		return staticRecords(name, static), name, ask, nil
	}
	r.config(now)
	records = r.cache.records(name)
	for f, rec := range records {
		if r.outlived(rec) {
			records[f] = nil
		}
	}
	cut := r.cutOff(name, now)
	var found [2]state
	for f := range records {
		if !want.has(family(f)) {
			continue
		}
		rec, other := records[f], records[1-f]
		if cut != nil && !rec.valid(now) {
			rec, records[f] = cut, cut
		}
		if rec == nil && r.opt.NXDomainCut && other.valid(now) && other.covers() {
			rec, records[f] = other, other
		}
		if ask[f] = !rec.valid(now); !ask[f] {
			found[f] = rec.state
			r.use(name, family(f), now)
		}
	}
	r.counters.hit(found[v6], found[v4])
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
	_, ok := r.static(name, r.clock.exact())
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

// static returns the static addresses of name: those of Options.Hosts go
// before what holds of special names, and this before the file.
func (r *Resolver) static(name string, now int64) (addrs [2][]netip.Addr, ok bool) {
	if addrs, ok = r.hosts.static[name]; ok {
		return addrs, true
	}
	if addrs, ok = special(name); ok {
		return addrs, true
	}
	if r.hosts.isDue(now) {
		r.hosts.reload(now, r.cache.forget, func(run func()) bool { return r.own(run, nil) })
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
