package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/failure"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

var networks = [2]string{happyeyeballs.IPv6: "ip6", happyeyeballs.IPv4: "ip4"}

// resolve asks for the host's addresses, IPv6 first (RFC 8305, section 3),
// and has one answer for each family not left out posted. The caller ends its
// interest with stop.
func (d *dial) resolve(without [2]bool) (stop func()) {
	if d.literal.IsValid() {
		f := happyeyeballs.Of(d.literal)
		other := event{family: f.Other()}
		if without[f] { // by network
			other.err = &hostwise.DNSError{Host: d.host, Kind: hostwise.DNSNoData}
		}
		d.state.resolve(nil)
		now := time.Now()
		d.answered(&event{family: f, addrs: append(d.room[:0], d.literal)}, now)
		d.answered(&other, now)
		return func() {}
	}
	if r, ok := d.t.resolver.(*dnscache.Resolver); ok {
		network := "ip"
		for f, left := range without {
			if left {
				network = networks[1-f]
			}
		}
		if without[0] && without[1] {
			return func() {}
		}
		if d.t.opt.DialDone == nil { // a report has the error of a family without addresses, too
			if addrs, ok := r.AppendCached(d.room[:0], network, d.host); ok {
				d.state.resolve(nil)
				d.cached(addrs, without)
				return func() {}
			}
		}
		events := d.events
		s := r.Subscribe(network, d.host, func(network string, addrs []netip.Addr, err error) {
			f := happyeyeballs.IPv6
			if network == "ip4" {
				f = happyeyeballs.IPv4
			}
			events.post(&event{answer: true, family: f, addrs: addrs, err: err})
		})
		d.state.resolve(s)
		return s.Stop
	}
	d.state.resolve(nil)
	if failure.EndsInNumber(d.host) { // package net would ask the nameservers or, with cgo, take it for an address
		for f, left := range without {
			if !left {
				d.answered(&event{family: happyeyeballs.Family(f), err: errMisspelt(d.host)}, time.Now())
			}
		}
		return func() {}
	}
	lookups, cancel := context.WithTimeout(d.ctx, d.t.opt.DialTimeout)
	events := d.events
	for f, left := range without {
		if left {
			continue
		}
		d.t.start(func() {
			addrs, err := d.t.lookup(lookups, networks[f], d.host)
			events.post(&event{answer: true, family: happyeyeballs.Family(f), addrs: addrs, err: err})
		})
	}
	return cancel
}

// errMisspelt is the error for a host such as 127.1 or 0x7f.0.0.1.
func errMisspelt(host string) error {
	return &hostwise.DNSError{Host: host, Kind: hostwise.DNSBadName, Err: errors.New("last label is a number, but the whole is not an IP address")}
}

// lookup asks the Resolver. What one of the caller's does to its goroutine is
// an error of the lookup.
func (t *Transport) lookup(ctx context.Context, network, host string) (addrs []netip.Addr, err error) {
	if r, ok := t.resolver.(*dnscache.Resolver); ok {
		return r.LookupNetIP(ctx, network, host)
	}
	if fault := t.calls.Call(func() { addrs, err = t.resolver.LookupNetIP(ctx, network, host) }); fault != nil {
		return nil, &hostwise.DNSError{Host: host, Kind: hostwise.Other, Err: fault}
	}
	return addrs, err
}

// cached takes in the answers that the cache has for all families, IPv6 first.
func (d *dial) cached(addrs []netip.Addr, without [2]bool) {
	n := slices.IndexFunc(addrs, func(a netip.Addr) bool { return happyeyeballs.Of(a) == happyeyeballs.IPv4 })
	if n < 0 {
		n = len(addrs)
	}
	now := time.Now()
	for f, addrs := range [2][]netip.Addr{happyeyeballs.IPv6: addrs[:n:n], happyeyeballs.IPv4: addrs[n:]} {
		if !without[f] {
			d.answered(&event{family: happyeyeballs.Family(f), addrs: addrs}, now)
		}
	}
}

// knowsNoData reports whether the resolver tells a name without addresses of
// a family from one that does not exist. Package net does not.
func (t *Transport) knowsNoData() bool {
	_, ok := t.resolver.(*dnscache.Resolver)
	return ok
}

// asDNSError makes a typed error of a foreign resolver's.
func asDNSError(host string, err error) *hostwise.DNSError {
	if err == nil {
		return nil
	}
	if own, ok := err.(*hostwise.DNSError); ok {
		return own
	}
	var own *hostwise.DNSError
	var std *net.DNSError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &std):
		e := &hostwise.DNSError{Host: host, Kind: hostwise.DNSServFail, Server: std.Server, Err: err}
		switch {
		case std.IsNotFound: // package net does not tell the two apart
			e.Kind = hostwise.DNSNXDomain
		case std.IsTimeout:
			e.Kind = hostwise.DNSTimeout
		}
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &hostwise.DNSError{Host: host, Kind: hostwise.DNSTimeout, Err: err}
	case errors.Is(err, context.Canceled):
		return &hostwise.DNSError{Host: host, Kind: hostwise.Canceled, Err: err}
	case isAddrError(err):
		return &hostwise.DNSError{Host: host, Kind: hostwise.DNSNoData, Err: err}
	}
	return &hostwise.DNSError{Host: host, Kind: hostwise.DNSServFail, Err: err}
}

// isAddrError reports the error of net.Resolver for a host that has
// addresses, but none of the family asked for.
func isAddrError(err error) bool {
	var a *net.AddrError
	return errors.As(err, &a)
}

// routes knows which families have a default route, and from which address
// connections over it come. When that address changes, this machine is in
// another network.
type routes struct {
	changed atomic.Bool // since hasChanged was last called
	had     atomic.Bool // there has been a default route
	family  [2]struct {
		first   sync.Once    // check, which all dials wait for
		checked atomic.Int64 // Unix nanoseconds
		missing atomic.Bool
		source  atomic.Pointer[netip.Addr]
	}
}

const routeCheck = time.Second

// Addresses that a default route leads to: RFC 3849 and RFC 5737.
var probes = [2]string{happyeyeballs.IPv6: "[2001:db8::1]:53", happyeyeballs.IPv4: "192.0.2.1:53"}

// without says which families a dial leaves out, by its network and by the
// options.
func (t *Transport) without(network string) [2]bool {
	return [2]bool{
		happyeyeballs.IPv6: network == "tcp4" || t.opt.DisableIPv6,
		happyeyeballs.IPv4: network == "tcp6" || t.opt.DisableIPv4,
	}
}

// prefer is the family to try first on a host of which nothing is known.
func (t *Transport) prefer(r *routes) happyeyeballs.Family {
	switch {
	case t.opt.Prefer == networks[happyeyeballs.IPv4]:
		return happyeyeballs.IPv4
	case t.opt.Prefer != "" || r == nil:
		return happyeyeballs.IPv6
	}
	return happyeyeballs.Preferred(r.defaultSource(happyeyeballs.IPv6), r.defaultSource(happyeyeballs.IPv4))
}

// without adds to w the families that have no route. With none left, or a
// nil r, w remains as it was, and so it does when one is left out already.
func (r *routes) without(w [2]bool, now time.Time) [2]bool {
	if r == nil || w[0] || w[1] {
		return w
	}
	for i := range r.family {
		f := &r.family[i]
		switch last := f.checked.Load(); {
		case last == 0:
			f.first.Do(func() {
				r.found(i, failure.LocalAddr)
				f.checked.Store(now.UnixNano())
			})
		case now.UnixNano()-last >= int64(routeCheck) && f.checked.CompareAndSwap(last, now.UnixNano()):
			r.found(i, failure.LocalAddr)
		}
		w[i] = f.missing.Load()
	}
	if w[0] && w[1] {
		return [2]bool{}
	}
	return w
}

// found takes in what there is of a family's default route.
func (r *routes) found(i int, localAddr func(address string) (netip.Addr, error)) {
	f := &r.family[i]
	source, err := localAddr(probes[i])
	f.missing.Store(failure.IsNoRoute(err))
	if err != nil && !failure.IsNoRoute(err) { // for want of descriptors, perhaps
		return
	}
	if err == nil {
		r.had.Store(true)
	}
	if before := f.source.Swap(&source); before != nil && *before != source {
		r.changed.Store(true)
	}
}

// none reports whether there is no default route, as things stand, for either
// family.
func (r *routes) none() bool {
	if r == nil {
		return false
	}
	for _, p := range probes {
		if _, err := failure.LocalAddr(p); !failure.IsNoRoute(err) {
			return false
		}
	}
	return true
}

// hasChanged reports whether this machine has come to another network, once.
func (r *routes) hasChanged() bool { return r != nil && r.changed.Load() && r.changed.Swap(false) }

// defaultSource is the source address of a family's default route, if it is
// known.
func (r *routes) defaultSource(f happyeyeballs.Family) (a netip.Addr) {
	if p := r.family[f].source.Load(); p != nil {
		a = *p
	}
	return a
}

var globalUnicast = netip.MustParsePrefix("2000::/3") // RFC 4291, section 2.4

// source is the local address that connections to a would come from, and the
// zero Addr if that is not to be known. What looks like the public Internet
// is taken to be behind the default route.
func (r *routes) source(a netip.Addr) netip.Addr {
	switch {
	case r == nil:
		return netip.Addr{}
	case a.Unmap().Is4() || globalUnicast.Contains(a):
		return r.defaultSource(happyeyeballs.Of(a))
	}
	source, _ := failure.LocalAddr(netip.AddrPortFrom(a, 53).String())
	return source
}
