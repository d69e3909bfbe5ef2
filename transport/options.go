package transport

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// A Resolver turns names into addresses; *dnscache.Resolver and
// *net.Resolver do.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options configures a Transport. A nil *Options and every zero field mean
// the documented default.
type Options struct {
	// Resolver resolves all names. It remains the caller's to close.
	// Default: a dnscache.Resolver with its defaults, which Close closes.
	Resolver Resolver

	// PublicOnly refuses to connect to addresses that are not on the public
	// Internet, whatever name or redirect led to them: DeniedError. It
	// refuses every request that a proxy would carry, since the proxy
	// resolves the name. Guard says what else is decided on, and how.
	PublicOnly bool

	// Guard has exceptions from PublicOnly, and further rules for addresses
	// and ports. Default: none.
	Guard GuardOptions

	// DialTimeout bounds connecting to a host, all its addresses together,
	// from the first attempt on. Neither resolving nor the TLS handshake
	// counts. Default: 10 s.
	DialTimeout time.Duration

	// ResolutionDelay is how long the addresses of one family wait for the
	// preferred family's answer: RFC 8305, section 3. Default: 50 ms;
	// negative: none.
	ResolutionDelay time.Duration

	// ConnectionAttemptDelay is how long an attempt to connect has before the
	// next address is tried as well: RFC 8305, section 5. At least 10 ms.
	// Default: twice the round trip to the address's network where one is
	// known, else what 95 of 100 recent connections took, within 0.1 and 1 s;
	// else 250 ms; and 1 s while more than a tenth of the dials (and 20) have
	// had to try a second address for want of an answer. At most 8 addresses
	// of a host are tried.
	ConnectionAttemptDelay time.Duration

	// Prefer is the family to try first, "ip6" or "ip4", on hosts of which
	// nothing else is known. Default: "ip6", or "ip4" where this machine's
	// own IPv6 addresses are not for the public Internet (RFC 6724,
	// section 6, rule 5).
	Prefer string

	// DisableIPv6 and DisableIPv4 leave a family out: it is not asked for
	// and not connected to.
	DisableIPv6 bool
	DisableIPv4 bool

	// DisableMemory begins every race as if it were the first: without what
	// is known of the host, of round trips, of whole families and of silent
	// addresses.
	DisableMemory bool

	// DialDone is called at the end of each dial, before it returns, which
	// it delays. Default: nothing.
	DialDone func(DialReport)

	// TLSHandshakeTimeout bounds one TLS handshake. Default: that of the
	// base transport, or 5 s.
	TLSHandshakeTimeout time.Duration

	// ResponseHeaderTimeout bounds the time from the request written to the
	// response headers, informational responses (1xx) before them included:
	// hostwise.HTTPHeaderTimeout. It also bounds how long the server may keep
	// the request from being written, anew for each 16 KiB of a body that it
	// takes (on Linux also while its system acknowledges some of what is on
	// the way, so that it may be twice as long), and refuse its HTTP/2
	// streams: hostwise.HTTPWriteTimeout and hostwise.H2RefusedStream. A
	// request counts as written when this system's buffers have the rest. The time that reading the request's body takes
	// does not count. Default: that of the base transport, or 15 s; negative:
	// none.
	ResponseHeaderTimeout time.Duration

	// MaxResponseHeaderBytes bounds the response headers, those of
	// informational responses (1xx) included unless an httptrace hook looks at
	// them: hostwise.HTTPHeaderTooLarge. Default: that of the base transport,
	// or 256 KiB.
	MaxResponseHeaderBytes int64

	// IdleBodyTimeout bounds how long a Read of a response body waits for a
	// byte: hostwise.HTTPBodyTimeout. The time between reads does not count,
	// and a connection that was upgraded (101) or is a tunnel (CONNECT) has no
	// such bound. Default: 30 s; negative: none, as for streams of events.
	IdleBodyTimeout time.Duration

	// MinBodyRate is the number of bytes a second that a response body must
	// bring on the average of each minute which its reads have waited:
	// hostwise.HTTPBodyTimeout, where IdleBodyTimeout would never end a body
	// of one byte now and then. What is free of that is free of this.
	// Default: 16, or none if IdleBodyTimeout is negative; negative: none.
	MinBodyRate int

	// MaxBodyBytes bounds a response body as the caller reads it, after the
	// gzip that net/http has undone: Read returns that many bytes, and if more
	// come an error, hostwise.HTTPBodyTooLarge. Where Content-Length says so
	// beforehand, the first Read returns it. With MinBodyRate it bounds the
	// time of a body, too. Default: no bound.
	MaxBodyBytes int64

	// SendPingTimeout is how long an HTTP/2 connection may bring nothing, in
	// use or idle, before it is asked for a sign of life (PING: RFC 9113,
	// section 6.7), and PingTimeout how long that may take. Then it is closed,
	// and its requests fail, with hostwise.HTTPHeaderTimeout or, in their
	// bodies, HTTPBodyTimeout. Defaults: those of the base transport's HTTP2,
	// or 10 s and 5 s; SendPingTimeout negative: no pings.
	SendPingTimeout time.Duration
	PingTimeout     time.Duration

	// MaxConns bounds the connections of the Transport in all, idle ones
	// included, and MaxConnsPerHost those to one host:port. A request above
	// the bound waits; for it, the connection that was not used for the
	// longest time is closed. Defaults: 200 and (unless the base transport says
	// otherwise) 8; negative: no bound but that of MaxFiles.
	MaxConns        int
	MaxConnsPerHost int

	// MaxDialsPerRequest bounds the connections made for one request:
	// hostwise.TooManyDials. An HTTP/2 server that ends every connection with
	// GOAWAY would otherwise be dialled for ever. Default: 3; negative: no
	// bound.
	MaxDialsPerRequest int

	// MaxFiles bounds the file descriptors of connections and of attempts to
	// connect, of which a race has several at a time. A quarter of them (one
	// at least) is kept for the second and further attempts of races, which
	// wait for one another where that is too little; MaxConns is lowered to
	// the rest. The sockets to nameservers are not among them: see package
	// dnscache. At least 2. Default: half of the descriptors that the process
	// may have when New is called (the soft limit RLIMIT_NOFILE), or no bound
	// where the system does not say, as on Windows; negative: no bound.
	// Several Transports in one process share that limit: set it then.
	MaxFiles int

	// WaitOnOutage has requests that need a new connection wait for the end of
	// an outage of the local network, rather than fail at once with a
	// hostwise.ConnectError of Kind hostwise.LocalOutage: until their context
	// ends, or the Transport is closed. Those that could not connect once it was
	// noticed wait, too. Default: off. See the package's section on outages.
	WaitOnOutage bool

	// OnOutage is called when an outage of the local network is suspected and
	// when it is over, in this order, for the request that has found out,
	// which it delays, on a goroutine of its own. No lock is held. Default:
	// nothing.
	OnOutage func(OutageChange)

	// DisableOutageDetection charges the hosts whatever happens: for programs
	// that ask for nothing but hosts that may well be down.
	DisableOutageDetection bool

	// Breaker configures the circuit breaker, which refuses requests to
	// hosts that keep failing: hostwise.HostDownError.
	Breaker BreakerOptions
}

const (
	defaultDialTimeout           = 10 * time.Second
	defaultTLSHandshakeTimeout   = 5 * time.Second
	defaultResponseHeaderTimeout = 15 * time.Second
	defaultIdleConnTimeout       = 30 * time.Second
	defaultMaxHeaderBytes        = 256 << 10
	defaultIdleBodyTimeout       = 30 * time.Second
	defaultMinBodyRate           = 16
	defaultSendPingTimeout       = 10 * time.Second
	defaultPingTimeout           = 5 * time.Second
	defaultWriteByteTimeout      = 15 * time.Second // HTTP/2, as ResponseHeaderTimeout
	defaultMaxConns              = 200
	defaultMaxConnsPerHost       = 8
	spareShare                   = 4                // one in so many of MaxFiles is for second attempts
	keepAlive                    = 30 * time.Second // TCP probes, as net/http's default
	defaultMaxDialsPerRequest    = 3
)

// withDefaults returns a copy of o with every field set, as far as base does
// not decide it; negative bounds have become 0, net/http's word for none.
func (o *Options) withDefaults(base *http.Transport) (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.DialTimeout < 0 || c.TLSHandshakeTimeout < 0 {
		return c, fmt.Errorf("transport: Options.DialTimeout %v and TLSHandshakeTimeout %v must not be negative; zero is the default", c.DialTimeout, c.TLSHandshakeTimeout)
	}
	switch {
	case c.MaxResponseHeaderBytes < 0 || c.MaxBodyBytes < 0:
		return c, fmt.Errorf("transport: Options.MaxResponseHeaderBytes %d and MaxBodyBytes %d must not be negative; zero is the default", c.MaxResponseHeaderBytes, c.MaxBodyBytes)
	case c.PingTimeout < 0:
		return c, fmt.Errorf("transport: Options.PingTimeout %v must not be negative; zero is the default, and a negative SendPingTimeout switches pings off", c.PingTimeout)
	case c.ConnectionAttemptDelay != 0 && c.ConnectionAttemptDelay < happyeyeballs.MinimumConnectionAttemptDelay:
		return c, fmt.Errorf("transport: Options.ConnectionAttemptDelay is %v, must be at least %v (RFC 8305, section 5); zero is the default", c.ConnectionAttemptDelay, happyeyeballs.MinimumConnectionAttemptDelay)
	case c.Prefer != "" && !slices.Contains(networks[:], c.Prefer):
		return c, fmt.Errorf("transport: Options.Prefer is %q, must be \"ip6\" or \"ip4\"", c.Prefer)
	case c.MaxFiles == 1:
		return c, fmt.Errorf("transport: Options.MaxFiles is 1, must be at least 2, since a race tries a second address beside the first; zero is the default, negative is no bound")
	case c.DisableIPv6 && c.DisableIPv4:
		return c, fmt.Errorf("transport: Options.DisableIPv6 and DisableIPv4 leave nothing to connect to")
	}
	c.ResolutionDelay = first(c.ResolutionDelay, happyeyeballs.ResolutionDelay)
	c.DialTimeout = first(c.DialTimeout, defaultDialTimeout)
	c.TLSHandshakeTimeout = first(c.TLSHandshakeTimeout, base.TLSHandshakeTimeout, defaultTLSHandshakeTimeout)
	c.ResponseHeaderTimeout = max(0, first(c.ResponseHeaderTimeout, base.ResponseHeaderTimeout, defaultResponseHeaderTimeout))
	c.MaxResponseHeaderBytes = first(c.MaxResponseHeaderBytes, base.MaxResponseHeaderBytes, defaultMaxHeaderBytes)
	if c.MinBodyRate == 0 && c.IdleBodyTimeout >= 0 {
		c.MinBodyRate = defaultMinBodyRate
	}
	c.MinBodyRate = max(0, c.MinBodyRate)
	c.IdleBodyTimeout = max(0, first(c.IdleBodyTimeout, defaultIdleBodyTimeout))
	http2 := base.HTTP2
	if http2 == nil {
		http2 = &http.HTTP2Config{}
	}
	c.SendPingTimeout = max(0, first(c.SendPingTimeout, http2.SendPingTimeout, defaultSendPingTimeout))
	c.PingTimeout = first(c.PingTimeout, http2.PingTimeout, defaultPingTimeout)
	c.MaxDialsPerRequest = max(0, first(c.MaxDialsPerRequest, defaultMaxDialsPerRequest))
	c.MaxConns = max(0, first(c.MaxConns, defaultMaxConns))
	c.MaxFiles = max(0, first(c.MaxFiles, halfOfFiles()))
	if room := c.MaxFiles - max(1, c.MaxFiles/spareShare); c.MaxFiles > 0 && (c.MaxConns == 0 || c.MaxConns > room) {
		c.MaxConns = room
	}
	c.MaxConnsPerHost = max(0, first(c.MaxConnsPerHost, base.MaxConnsPerHost, defaultMaxConnsPerHost))
	if err := c.Breaker.setDefaults(); err != nil {
		return c, err
	}
	return c, nil
}

// spares is the number of attempts beside the first ones of the dials.
func (o *Options) spares() int {
	if o.MaxFiles == 0 {
		return math.MaxInt
	}
	return o.MaxFiles - o.MaxConns
}

// first returns the first value that is set.
func first[T comparable](values ...T) (v T) {
	for _, x := range values {
		if x != v {
			return x
		}
	}
	return v
}

// crawlerBase is the base transport of those who bring none.
func crawlerBase() *http.Transport {
	base := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if d, ok := http.DefaultTransport.(*http.Transport); ok {
		base = d.Clone()
	}
	base.TLSHandshakeTimeout = defaultTLSHandshakeTimeout
	base.IdleConnTimeout = defaultIdleConnTimeout
	return base
}

// innerTransport is the transport that keeps the connections: a clone of
// base whose dials are ours.
func innerTransport(base *http.Transport, o *Options) (inner *http.Transport, err error) {
	if base.DialTLSContext != nil || base.DialTLS != nil {
		return nil, fmt.Errorf("transport: the base transport has a DialTLSContext (or DialTLS) of its own, which cannot be part of the race between addresses; set DialContext and TLSClientConfig instead")
	}
	http2 := wantsHTTP2(base)
	inner = base.Clone()
	inner.Dial = nil
	inner.ForceAttemptHTTP2 = http2
	inner.TLSHandshakeTimeout = o.TLSHandshakeTimeout
	inner.ResponseHeaderTimeout = o.ResponseHeaderTimeout
	inner.MaxConnsPerHost = o.MaxConnsPerHost
	if inner.MaxIdleConnsPerHost == 0 {
		inner.MaxIdleConnsPerHost = o.MaxConnsPerHost
	}
	if inner.IdleConnTimeout == 0 {
		inner.IdleConnTimeout = defaultIdleConnTimeout
	}
	if _, foreign := inner.TLSNextProto["h2"]; foreign && http2 {
		// golang.org/x/net/http2's, which keeps the connections of all clones
		// in one place, where neither guard nor bounds are asked.
		if len(inner.TLSNextProto) > 1 {
			return nil, fmt.Errorf("transport: the base transport has its own HTTP/2 (golang.org/x/net/http2.ConfigureTransport) beside other protocols in TLSNextProto; leave it out, net/http speaks HTTP/2 itself")
		}
		inner.TLSNextProto = nil
	}
	inner.MaxResponseHeaderBytes = o.MaxResponseHeaderBytes
	if inner.HTTP2 == nil {
		inner.HTTP2 = &http.HTTP2Config{}
	}
	inner.HTTP2.SendPingTimeout = o.SendPingTimeout
	inner.HTTP2.PingTimeout = o.PingTimeout
	inner.HTTP2.WriteByteTimeout = first(inner.HTTP2.WriteByteTimeout, defaultWriteByteTimeout)
	if o.MaxConns > 0 && inner.MaxIdleConns > o.MaxConns {
		inner.MaxIdleConns = o.MaxConns
	}
	return inner, nil
}

// wantsHTTP2 reports whether base, used as it is, would speak HTTP/2 over
// TLS: a dial function of ours switches net/http's own decision off.
func wantsHTTP2(base *http.Transport) bool {
	if base.ForceAttemptHTTP2 || base.TLSClientConfig != nil && slices.Contains(base.TLSClientConfig.NextProtos, "h2") {
		return true
	}
	return base.TLSClientConfig == nil && base.DialContext == nil && base.Dial == nil && base.TLSNextProto == nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

//lint:file-ignore SA1019 a base transport may have Dial or DialTLS set: they are honoured or refused, not used

// baseDial returns base's own way to dial an ip:port, or nil if it has none.
func baseDial(base *http.Transport) dialFunc {
	switch {
	case base.DialContext != nil:
		return base.DialContext
	case base.Dial != nil:
		return func(_ context.Context, network, address string) (net.Conn, error) { return base.Dial(network, address) }
	}
	return nil
}

// standardDial is that of http.DefaultTransport, unless it has been replaced
// before this package began.
var standardDial = func() dialFunc {
	if d, ok := http.DefaultTransport.(*http.Transport); ok {
		return d.DialContext
	}
	return nil
}()

// isStandard reports whether dial is standardDial, which a dialer of ours can
// stand in for: the same closure, not only the method of another net.Dialer,
// which reflect cannot tell apart.
func isStandard(dial dialFunc) bool {
	closure := func(f *dialFunc) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(f)) }
	return standardDial != nil && closure(&dial) == closure(&standardDial)
}

// usesRoutes reports whether dial is the method of a net.Dialer, as that of
// http.DefaultTransport is, so that this system's routes decide whether it
// can reach an address. Of any other function nobody knows.
func usesRoutes(dial dialFunc) bool {
	f := runtime.FuncForPC(reflect.ValueOf(dial).Pointer())
	return f != nil && f.Name() == "net.(*Dialer).DialContext-fm"
}
