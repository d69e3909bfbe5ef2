package dnscache

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"
)

// Options configures a Resolver. A nil *Options and every zero field mean
// the documented default.
type Options struct {
	// Servers are the nameservers to ask, the preferred one first. Forms:
	// "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]:53", with
	// "udp://" (the same) or "tcp://" (TCP only) in front.
	// Default: those of the system's resolv.conf(5); on Windows there is no
	// default.
	Servers []string

	// Timeout is how long one try waits, and Tries how many tries there are:
	// a lookup takes at most Timeout times Tries. Within that time every
	// server is asked at most Tries times, the first repetition coming after
	// 0.4 s (or a fifth of Timeout, if that is less).
	// Defaults: 2 s and 2.
	Timeout time.Duration
	Tries   int

	// MinTTL and MaxTTL are the bounds on how long an answer is kept.
	// Defaults: 30 s and 24 h. A negative MinTTL means no lower bound.
	MinTTL time.Duration
	MaxTTL time.Duration

	// MaxStale is for how long after its expiry an answer is still used when
	// no nameserver gives a new one, or not within 1.8 s: RFC 8767.
	// Default: 24 h. Negative: not at all.
	MaxStale time.Duration

	// MaxHosts is the number of names kept; beyond it, names not used
	// lately make room. Default: 1,000,000.
	MaxHosts int

	// DisableIPv6 answers every lookup with IPv4 addresses only, and asks
	// for nothing else.
	DisableIPv6 bool

	// HostsFile is the file of static names, read again when it changes.
	// Default: the system's hosts(5) file; os.DevNull switches it off.
	HostsFile string

	// Dial connects to a nameserver, as net.Resolver.Dial does: network is
	// "udp" or "tcp", address an ip:port. Connections for "udp" must keep
	// message boundaries. Default: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	defaultTimeout  = 2 * time.Second
	defaultTries    = 2
	defaultMinTTL   = 30 * time.Second
	defaultMaxTTL   = 24 * time.Hour
	defaultMaxStale = 24 * time.Hour
	defaultMaxHosts = 1_000_000
)

// withDefaults returns a copy of o with every field set, or an error that
// names the field.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	for _, d := range []struct {
		field string
		v     *time.Duration
		def   time.Duration
	}{{"Timeout", &c.Timeout, defaultTimeout}, {"MaxTTL", &c.MaxTTL, defaultMaxTTL}} {
		if *d.v < 0 {
			return c, fmt.Errorf("dnscache: Options.%s is %v, must not be negative", d.field, *d.v)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, d := range []struct {
		field string
		v     *int
		def   int
	}{{"Tries", &c.Tries, defaultTries}, {"MaxHosts", &c.MaxHosts, defaultMaxHosts}} {
		if *d.v < 0 {
			return c, fmt.Errorf("dnscache: Options.%s is %d, must not be negative", d.field, *d.v)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	switch {
	case c.MinTTL == 0:
		c.MinTTL = min(defaultMinTTL, c.MaxTTL)
	case c.MinTTL < 0:
		c.MinTTL = 0
	case c.MinTTL > c.MaxTTL:
		return c, fmt.Errorf("dnscache: Options.MinTTL %v is above MaxTTL %v", c.MinTTL, c.MaxTTL)
	}
	if c.MaxStale == 0 {
		c.MaxStale = defaultMaxStale
	}
	if c.HostsFile == "" {
		c.HostsFile = systemHostsFile()
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if len(c.Servers) == 0 {
		if runtime.GOOS == "windows" {
			return c, fmt.Errorf("dnscache: Options.Servers is empty, and this system has no resolv.conf to take nameservers from; name some, such as \"1.1.1.1\"")
		}
		var err error
		if c.Servers, err = readResolvConf("/etc/resolv.conf"); err != nil {
			return c, fmt.Errorf("dnscache: Options.Servers is empty, and the system's nameservers cannot be read: %w", err)
		}
	}
	return c, nil
}

// parseServer reads one of the forms of Options.Servers.
func parseServer(s string) (addr netip.AddrPort, tcpOnly bool, err error) {
	rest := s
	if scheme, r, ok := strings.Cut(s, "://"); ok {
		rest = r
		switch scheme {
		case "udp":
		case "tcp":
			tcpOnly = true
		case "tls", "https":
			return addr, false, fmt.Errorf("dnscache: nameserver %q: DNS over %s is not supported in this version; use an address, udp:// or tcp://", s, strings.ToUpper(scheme))
		default:
			return addr, false, fmt.Errorf("dnscache: nameserver %q: unknown scheme %q; use udp:// or tcp://", s, scheme)
		}
	}
	if a, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53), tcpOnly, nil
	}
	addr, err = netip.ParseAddrPort(rest)
	if err != nil || addr.Port() == 0 {
		return addr, false, fmt.Errorf("dnscache: nameserver %q is not an IP address with an optional port", s)
	}
	return addr, tcpOnly, nil
}

// lookupTime is how long a lookup takes at most.
func (o *Options) lookupTime() time.Duration { return o.Timeout * time.Duration(o.Tries) }
