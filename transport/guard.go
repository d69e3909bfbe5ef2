package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// GuardOptions says, beside Options.PublicOnly, where requests may lead. What
// it forbids ends with a hostwise.DeniedError that names the rule.
//
// The addresses of a host are decided upon each time that it is dialled,
// before the race, so that a forbidden one does not hide an allowed one; and
// once more when the socket is about to connect, unless the base transport
// brings a DialContext of its own. A request over a connection that is there
// does not ask again. An address inside another (IPv4-mapped and
// -compatible, SIIT, NAT64's well-known prefix, 6to4, Teredo) must be allowed as
// well.
//
// With any rule for addresses, those with a zone and the unspecified ones,
// which lead to this machine, are refused, and so are requests that a proxy
// would carry, since the proxy resolves the name, and schemes other than http
// and https.
type GuardOptions struct {
	// Allow exempts addresses from PublicOnly, each prefix from ranges that
	// are no smaller than it: a cloud's metadata service inside it is still
	// refused, unless it is listed by itself.
	Allow []netip.Prefix

	// Deny refuses addresses, also those that Allow has.
	Deny []netip.Prefix

	// Ports are the only ports that the http and https URLs of requests may
	// name, also through a proxy, and DialContext may connect to. Default: all.
	Ports []uint16

	// Check decides last, on an address that all other rules allow: its
	// error refuses it, and is DeniedError.Err. host is the host:port that is
	// dialled, as net/http makes it of the URL, in ASCII, but in lower case
	// and without a final dot. An IPv4-mapped address comes as IPv4, and one
	// inside another by itself, too. Check is called from many goroutines at
	// once, before the race and again before connecting, and must not block,
	// nor call Close.
	// An address over which it panics is refused.
	// Default: nothing is refused.
	Check func(host string, addr netip.AddrPort) error
}

// A guard decides where requests may lead.
type guard struct {
	publicOnly bool
	GuardOptions
	calls *hook.Group
}

func newGuard(publicOnly bool, o GuardOptions, calls *hook.Group) (guard, error) {
	o.Allow, o.Deny, o.Ports = slices.Clone(o.Allow), slices.Clone(o.Deny), slices.Clone(o.Ports)
	if err := errors.Join(badPrefix("Allow", o.Allow), badPrefix("Deny", o.Deny)); err != nil {
		return guard{}, err
	}
	if len(o.Allow) > 0 && !publicOnly {
		return guard{}, fmt.Errorf("transport: Options.Guard.Allow exempts addresses from PublicOnly, which is not set; set it, or leave Allow out")
	}
	return guard{publicOnly, o, calls}, nil
}

// badPrefix returns an error if a list has a prefix that no address matches.
func badPrefix(name string, list []netip.Prefix) error {
	for _, p := range list {
		switch {
		case !p.IsValid():
			return fmt.Errorf("transport: Options.Guard.%s has an invalid prefix; make it with netip.ParsePrefix", name)
		case p.Addr().Is4In6():
			return fmt.Errorf("transport: Options.Guard.%s has the prefix %v; write it as that of an IPv4 address", name, p)
		}
	}
	return nil
}

// decides reports whether there is a rule for addresses.
func (g *guard) decides() bool { return g.publicOnly || len(g.Deny) > 0 || g.Check != nil }

// A guardedHost is the host:port of a request, as its URL has it and as it is
// dialled.
type guardedHost struct{ url, dialled string }

// denies returns the error for connecting to a for a host, or nil.
func (g *guard) denies(host guardedHost, a netip.AddrPort) *hostwise.DeniedError {
	if !g.decides() {
		return nil
	}
	addr := a.Addr()
	if addr.Zone() == "" { // else it would be lost
		addr = addr.Unmap()
	}
	for i, x := range append([]netip.Addr{addr}, embedded(addr)...) {
		rule, err := g.rule(host.dialled, x, a.Port())
		switch {
		case rule == "":
			continue
		case i > 0:
			rule = fmt.Sprintf("%v inside it: %s", x, rule)
		}
		return &hostwise.DeniedError{Host: host.url, Addr: a.Addr(), Rule: rule, Err: err}
	}
	return nil
}

// rule returns the rule that forbids an address as it stands, or "", and
// Check's error, if it is that.
func (g *guard) rule(host string, a netip.Addr, port uint16) (string, error) {
	switch {
	case a.Zone() != "":
		return "address with a zone (RFC 4007)", nil
	case !a.IsValid() || a.IsUnspecified():
		return "unspecified address (RFC 1122, RFC 4291)", nil
	}
	for _, p := range g.Deny {
		if p.Contains(a) {
			return "Options.Guard.Deny: " + p.String(), nil
		}
	}
	if s := specialOf(a); g.publicOnly && s.rule != "" && !slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) && p.Bits() >= s.prefix.Bits() }) {
		return s.rule, nil
	}
	if g.Check == nil {
		return "", nil
	}
	if err := g.check(host, netip.AddrPortFrom(a, port)); err != nil {
		return "Options.Guard.Check: " + err.Error(), err
	}
	return "", nil
}

// check is Check, of which a panic is an error.
func (g *guard) check(host string, a netip.AddrPort) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = g.calls.Recovered(v)
		}
	}()
	return g.Check(host, a)
}

// deniesPort returns the error for a host:port whose port is not among those
// allowed, or nil.
func (g *guard) deniesPort(hostPort string) *hostwise.DeniedError {
	if len(g.Ports) == 0 {
		return nil
	}
	_, service, _ := net.SplitHostPort(hostPort)
	if port, err := strconv.ParseUint(service, 10, 16); err == nil && slices.Contains(g.Ports, uint16(port)) {
		return nil
	}
	return &hostwise.DeniedError{Host: hostPort, Rule: "Options.Guard.Ports: port " + service + " is not among them"}
}

// newDialer returns what connects to an ip:port by this system's own means. With
// rules for addresses, the socket's own address must pass them, whatever has
// become of it since the dial decided.
func (g *guard) newDialer() *net.Dialer {
	d := &net.Dialer{KeepAlive: keepAlive}
	if g.decides() {
		d.ControlContext = func(ctx context.Context, _, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("transport: cannot guard the address %q: %w", address, err)
			}
			host, _ := ctx.Value(guardedKey{}).(guardedHost)
			if denied := g.denies(host, a); denied != nil {
				return denied
			}
			return nil
		}
	}
	return d
}

// guardedKey is the context key of the guardedHost that an attempt to connect
// is for.
type guardedKey struct{}
