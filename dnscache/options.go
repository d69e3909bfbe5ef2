package dnscache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Options configures a Resolver. A nil *Options and every zero field mean
// the documented default.
type Options struct {
	// Servers are the nameservers to ask, the preferred one first. Forms:
	//
	//	192.0.2.1, 192.0.2.1:53, [2001:db8::1]:53   UDP, and TCP where UDP will not do
	//	udp://192.0.2.1                             the same
	//	tcp://192.0.2.1                             TCP only (RFC 7766)
	//	tls://192.0.2.1#dns.example                 DNS over TLS (RFC 7858), port 853; the
	//	                                            certificate must be for the name, or for
	//	                                            the address if there is none
	//	https://192.0.2.1/dns-query                 DNS over HTTPS (RFC 8484)
	//	https://dns.example/dns-query#192.0.2.1     the same; the addresses of a host that
	//	                                            is a name follow #, separated by commas
	//
	// Default: what resolv.conf(5) says, which is read again when it changes;
	// on Windows there is no default. Search domains, ndots, timeout,
	// attempts, rotate and use-vc of resolv.conf apply with its servers only.
	Servers []string

	// ResolvConf is the file to take nameservers from when Servers is empty.
	// Default: /etc/resolv.conf.
	ResolvConf string

	// TLSConfig is for servers over TLS and HTTPS: trusted roots and the
	// like. It is cloned; ServerName is set for each server. Default: the
	// system's roots, TLS 1.2 or newer, sessions resumed.
	TLSConfig *tls.Config

	// RandomizeCase asks over UDP in upper and lower case at random
	// (draft-vixie-dnsext-dns0x20), which a forged reply would have to guess.
	// A reply in another case moves the question to TCP. Off by default:
	// ports and ids are random anyway, and a few servers do not keep the case.
	RandomizeCase bool

	// Cookies sends DNS cookies over UDP (RFC 7873). From a server that has
	// once given its own, replies without the right cookie are not accepted,
	// and the question goes over TCP. Off by default: it makes each message 12
	// to 44 bytes longer.
	Cookies bool

	// Timeout is how long one try waits, and Tries how many tries there are:
	// a lookup takes at most Timeout times Tries. Within that time every
	// server is asked at most Tries times, a lone one twice as often, the
	// first repetition coming after 0.4 s (or a fifth of Timeout, if that is
	// less). A server that has not answered three times over UDP is asked
	// over TCP (RFC 9520, section 3.1).
	// Defaults: what resolv.conf says, where it applies, or 2 s and 2. At most
	// an hour and 100.
	Timeout time.Duration
	Tries   int

	// MinTTL and MaxTTL are the bounds on how long an answer is kept.
	// Defaults: 30 s and 24 h. A negative MinTTL means no lower bound. At most
	// 30 days.
	MinTTL time.Duration
	MaxTTL time.Duration

	// MaxStale is for how long after its expiry an answer is still used when
	// no nameserver gives a new one, or not within 1.8 s: RFC 8767.
	// Default: 24 h; at most 30 days. Negative: not at all.
	MaxStale time.Duration

	// MaxHosts is the number of names kept; beyond it, names not used
	// lately make room. Default: 1,000,000; at most 2^28, or 2^24 on 32 bits.
	MaxHosts int

	// DisableIPv6 answers every lookup with IPv4 addresses only, and asks
	// for nothing else.
	DisableIPv6 bool

	// NXDomainCut takes the word of a nameserver that a name does not exist
	// for all there is to know of it, as long as it holds: for its addresses
	// of the other family and for the names below it, too (RFC 8020, section
	// 2). Off by default: some authorities say so of names that have names
	// below them, or of a name's IPv6 (RFC 4074, section 4.2), and only who
	// validates DNSSEC can tell.
	NXDomainCut bool

	// Hosts are static addresses of names. They go before those of
	// HostsFile, and before what holds of localhost, onion and invalid. A
	// name without addresses does not exist.
	Hosts map[string][]netip.Addr

	// HostsFile is the file of static names, read again when it changes.
	// Default: the system's hosts(5) file; os.DevNull switches it off.
	HostsFile string

	// Hooks are called as the Resolver works. Default: none.
	Hooks Hooks

	// Dial connects to a nameserver, as net.Resolver.Dial does: network is
	// "udp" or "tcp", address an ip:port. Connections for "udp" must keep
	// message boundaries. One that does not end with its context is given up
	// 0.1 s later. Default: a net.Dialer.
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

// Upper bounds, so that no sum of these overflows: an entry has 32 bits for a
// TTL or an age in milliseconds, and flight.asked 8 for a count.
const (
	mostTimeout = time.Hour
	mostTries   = 100
	mostTTL     = 30 * 24 * time.Hour
	mostStale   = 30 * 24 * time.Hour
	mostHosts   = 1 << (24 + 4*(^uint(0)>>63)) // 2^28 where an int has 64 bits
)

// withDefaults returns a copy of o with every field set that does not depend
// on resolv.conf, or an error that names the field.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	for _, d := range []struct {
		field     string
		v         *time.Duration
		def, most time.Duration
	}{{"Timeout", &c.Timeout, 0, mostTimeout}, {"MaxTTL", &c.MaxTTL, defaultMaxTTL, mostTTL}} {
		if *d.v < 0 || *d.v > d.most {
			return c, fmt.Errorf("dnscache: Options.%s is %v, must be from 0 to %v", d.field, *d.v, d.most)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, d := range []struct {
		field     string
		v         *int
		def, most int
	}{{"Tries", &c.Tries, 0, mostTries}, {"MaxHosts", &c.MaxHosts, defaultMaxHosts, mostHosts}} {
		if *d.v < 0 || *d.v > d.most {
			return c, fmt.Errorf("dnscache: Options.%s is %d, must be from 0 to %d", d.field, *d.v, d.most)
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
	switch {
	case c.MaxStale == 0:
		c.MaxStale = defaultMaxStale
	case c.MaxStale > mostStale:
		return c, fmt.Errorf("dnscache: Options.MaxStale is %v, must be at most %v", c.MaxStale, mostStale)
	}
	if c.HostsFile == "" {
		c.HostsFile = systemHostsFile()
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
		if len(c.Servers) == 0 && runtime.GOOS == "windows" {
			return c, fmt.Errorf("dnscache: Options.Servers is empty, and this system has no resolv.conf to take nameservers from; name some, such as \"1.1.1.1\"")
		}
	}
	return c, nil
}

// A serverName is one of the forms of Options.Servers, taken apart.
type serverName struct {
	protocol protocol
	addrs    []netip.AddrPort // at least one; more for HTTPS only
	tlsName  string           // that the certificate must be for; "": the address
	url      string           // HTTPS
}

// Ports: RFC 1035, section 4.2; RFC 7858, section 3.1; RFC 8484, section 5.
var ports = [...]uint16{overUDP: 53, overTCP: 53, overTLS: 853, overHTTPS: 443}

// parseServer reads one of the forms of Options.Servers.
func parseServer(s string) (n serverName, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "udp", s
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "udp":
	case "tcp":
		n.protocol = overTCP
	case "tls":
		n.protocol = overTLS
		rest, n.tlsName, _ = strings.Cut(rest, "#")
	case "https":
		return parseHTTPSServer(s)
	default:
		return n, fmt.Errorf("dnscache: nameserver %q: unknown scheme %q; use udp://, tcp://, tls:// or https://", s, scheme)
	}
	addr, err := parseAddrPort(rest, ports[n.protocol])
	switch {
	case err != nil && n.protocol == overTLS:
		return n, fmt.Errorf("dnscache: nameserver %q is not an IP address with an optional port and name, such as tls://192.0.2.1#dns.example", s)
	case err != nil:
		return n, fmt.Errorf("dnscache: nameserver %q is not an IP address with an optional port", s)
	}
	n.addrs = []netip.AddrPort{addr}
	if n.protocol == overTLS && n.tlsName == "" {
		n.tlsName = addr.Addr().WithZone("").String()
	}
	return n, nil
}

// parseHTTPSServer reads the URL of a server for DNS over HTTPS; the fragment
// has the addresses of a host that is a name.
func parseHTTPSServer(s string) (n serverName, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return n, fmt.Errorf("dnscache: nameserver %q is not a URL such as https://1.1.1.1/dns-query", s)
	}
	port := ports[overHTTPS]
	if p := u.Port(); p != "" {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil || v == 0 {
			return n, fmt.Errorf("dnscache: nameserver %q: %q is not a port", s, p)
		}
		port = uint16(v)
	}
	bootstrap := u.Fragment
	if bootstrap == "" {
		bootstrap = u.Hostname()
	}
	for a := range strings.SplitSeq(bootstrap, ",") {
		a = strings.TrimSpace(a)
		if _, err := netip.ParseAddrPort(a); err == nil {
			return n, fmt.Errorf("dnscache: nameserver %q: %q has a port, which belongs into the URL, such as https://dns.example:8443/dns-query#192.0.2.1", s, a)
		}
		addr, err := parseAddr(a)
		if err != nil {
			return n, fmt.Errorf("dnscache: nameserver %q: looking up its own name would need a nameserver; add the addresses it has, such as https://dns.example/dns-query#192.0.2.1,2001:db8::1", s)
		}
		n.addrs = append(n.addrs, netip.AddrPortFrom(addr, port))
	}
	u.Fragment = ""
	n.protocol, n.tlsName, n.url = overHTTPS, u.Hostname(), u.String()
	return n, nil
}

// parseAddrPort reads an address with or without a port.
func parseAddrPort(s string, port uint16) (netip.AddrPort, error) {
	if a, err := parseAddr(s); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	addr, err := netip.ParseAddrPort(s)
	if err == nil && addr.Port() == 0 {
		err = errors.New("port 0")
	}
	return addr, err
}

// parseAddr reads an address, which may be in brackets.
func parseAddr(s string) (netip.Addr, error) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	return netip.ParseAddr(s)
}
