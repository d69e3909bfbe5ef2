// Package loopnet is a small internet on loopback sockets: a real nameserver
// and real web servers, some of them broken in the ways hosts on the web are.
// Tests and examples use it where an in-memory network would prove too
// little: the kernel's own connect, its queues and its errors take part.
//
// It needs no privileges. What the system cannot do, such as a port that
// drops connection attempts or a second loopback address, is left out and
// named by [Internet.Missing].
package loopnet

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options describe an Internet. Nil options are valid.
type Options struct {
	// Hosts is the number of hosts of each Fate. Nil means one of each.
	Hosts map[Fate]int

	// Pages is the number of pages of each host: "/", which links to
	// "/1", "/2" and so on. Zero means 4.
	Pages int

	// Nameservers is the number of nameservers, which all know the same.
	// Zero means 1.
	Nameservers int

	// Seed decides the order of the hosts, how long their servers think
	// (5 to 20 ms a page) and how long their names take to resolve. The same
	// seed gives the same internet, save for its ports.
	Seed uint64

	// DNSLatency is the time the nameserver takes for an answer it has
	// cached. Zero means 8 ms, negative none.
	DNSLatency time.Duration

	// ColdDNS is the mean time the first answer for a name takes on top.
	// Zero means 40 ms, negative none.
	ColdDNS time.Duration

	// SlowDNS is that time for a host of Fate SlowDNS. Zero means 1.5 s.
	SlowDNS time.Duration

	// SlowHeader is the time a host of Fate SlowHeader takes for each
	// response. Zero means 1.5 s.
	SlowHeader time.Duration
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Hosts == nil {
		c.Hosts = make(map[Fate]int, len(fates))
		for _, f := range fates {
			c.Hosts[f] = 1
		}
	}
	c.Hosts = maps.Clone(c.Hosts)
	c.Pages = cmp.Or(c.Pages, 4)
	c.Nameservers = cmp.Or(c.Nameservers, 1)
	c.DNSLatency = max(cmp.Or(c.DNSLatency, 8*time.Millisecond), 0)
	c.ColdDNS = max(cmp.Or(c.ColdDNS, 40*time.Millisecond), 0)
	c.SlowDNS = max(cmp.Or(c.SlowDNS, 1500*time.Millisecond), 0)
	c.SlowHeader = max(cmp.Or(c.SlowHeader, 1500*time.Millisecond), 0)
	return c
}

func (o *Options) check() error {
	for f, n := range o.Hosts {
		if !slices.Contains(fates, f) {
			return fmt.Errorf("loopnet: unknown fate %q", f)
		}
		if n < 0 {
			return fmt.Errorf("loopnet: %d hosts of fate %q", n, f)
		}
	}
	if o.Nameservers < 1 || o.Nameservers > 250 {
		return fmt.Errorf("loopnet: %d nameservers", o.Nameservers)
	}
	if o.Pages < 1 {
		return fmt.Errorf("loopnet: %d pages a host", o.Pages)
	}
	return nil
}

// A Host is one website.
type Host struct {
	Name  string // "h17.test"
	Fate  Fate
	URL   string   // its first page, "http://h17.test:41017/"
	Pages []string // the URLs of all its pages, URL first
}

// Stats count what the servers have seen.
type Stats struct {
	Queries  int64 // DNS queries received
	Conns    int64 // connections accepted
	Open     int64 // connections open now
	Requests int64 // HTTP requests received
}

// A Query is a question the nameserver was asked.
type Query struct {
	Name string // lower case, no trailing dot
	Type string // "A", "AAAA", ...
}

// An Internet is its nameservers and hosts. It is safe for concurrent use.
type Internet struct {
	opt     Options
	hosts   []Host
	missing []string
	ca      *authority
	ns      []*nameserver

	sites   []*site
	shared  bool         // hosts share 127.0.0.1
	parking net.Listener // never accepts: see site.park

	done    chan struct{} // closed by Close: servers stop waiting
	closing sync.Once
	wg      sync.WaitGroup // the servers and their connections

	conns, open, requests atomic.Int64
}

// Start builds an Internet and returns when all its servers answer. It fails
// only if there is no nameserver to be had; see Missing for the rest.
func Start(o *Options) (*Internet, error) {
	opt := o.withDefaults()
	if err := opt.check(); err != nil {
		return nil, err
	}
	n := &Internet{opt: opt, done: make(chan struct{})}
	if err := n.start(); err != nil {
		n.Close()
		return nil, fmt.Errorf("loopnet: %w", err)
	}
	return n, nil
}

func (n *Internet) start() error {
	var err error
	if n.ca, err = newAuthority(); err != nil {
		return err
	}
	if n.parking, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return err
	}
	if l, err := net.Listen("tcp4", netip.AddrPortFrom(address(0), 0).String()); err == nil {
		l.Close()
	} else {
		n.shared = true
		n.missing = append(n.missing, fmt.Sprintf("an address for each host: they share 127.0.0.1: %v", err))
	}

	n.sites = n.plan()
	n.build()
	zone := make(map[string]*record, len(n.sites))
	flaws := make(map[Fate]string)
	for _, s := range n.sites {
		if s.flaw != nil {
			flaws[s.Fate] = fmt.Sprintf("%s: %v", s.Fate, s.flaw)
		}
		if s.URL == "" {
			continue
		}
		n.hosts = append(n.hosts, s.Host)
		maps.Copy(zone, s.zone)
	}
	for _, f := range fates {
		if flaws[f] != "" {
			n.missing = append(n.missing, flaws[f])
		}
	}
	for i := range n.opt.Nameservers {
		ns, err := newNameserver(n.nameserverAddr(i), zone, n.opt.DNSLatency, n.done)
		if err != nil {
			return err
		}
		n.ns = append(n.ns, ns)
	}
	return nil
}

// nameserverAddr is the address of the i-th nameserver: one that no client's
// socket has, so that its port is free when it comes back.
func (n *Internet) nameserverAddr(i int) netip.Addr {
	if n.shared {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{127, 77, 255, byte(1 + i)})
}

// plan names the hosts and mixes their fates.
func (n *Internet) plan() []*site {
	var sites []*site
	for _, f := range fates {
		for range n.opt.Hosts[f] {
			sites = append(sites, &site{Host: Host{Fate: f}, net: n})
		}
	}
	r := rand.New(rand.NewPCG(n.opt.Seed, 0))
	r.Shuffle(len(sites), func(i, j int) { sites[i], sites[j] = sites[j], sites[i] })
	for i, s := range sites {
		s.index = i
		s.Name = fmt.Sprintf("h%d.test", i+1)
		s.think = 5*time.Millisecond + time.Duration(r.Int64N(int64(15*time.Millisecond)))
		s.closes = r.IntN(4) == 0
		s.cold = time.Duration(min(r.ExpFloat64(), 5) * float64(n.opt.ColdDNS))
		if s.Fate == SlowDNS {
			s.cold = n.opt.SlowDNS
		}
	}
	return sites
}

// build gives every host its sockets. Those that drop connection attempts
// come last and together: each takes a moment to prove, best when the
// machine is quiet.
func (n *Internet) build() {
	var wg sync.WaitGroup
	defer wg.Wait()
	var last []*site
	for _, s := range n.sites {
		switch s.Fate {
		case BlackHole, DeadFirst, DeadIPv6:
			last = append(last, s)
		default:
			s.build()
		}
	}
	for _, s := range last {
		wg.Go(s.build)
	}
}

// Hosts returns the hosts of the given fates, or all of them if none is
// given, in the order of their names.
func (n *Internet) Hosts(fates ...Fate) []Host {
	if len(fates) == 0 {
		return slices.Clone(n.hosts)
	}
	var hosts []Host
	for _, h := range n.hosts {
		if slices.Contains(fates, h.Fate) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// Missing says what this system did not allow to be built, and why.
func (n *Internet) Missing() []string { return slices.Clone(n.missing) }

// DNSAddr returns the address and port of the first nameserver, UDP and TCP.
func (n *Internet) DNSAddr() string { return n.ns[0].addr }

// DNSAddrs returns those of all nameservers.
func (n *Internet) DNSAddrs() (addrs []string) {
	for _, ns := range n.ns {
		addrs = append(addrs, ns.addr)
	}
	return addrs
}

// Resolver returns Go's own resolver, asking the nameserver.
func (n *Internet) Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, n.DNSAddr())
		},
	}
}

// RootCAs returns the authority that signs the certificates of the hosts.
func (n *Internet) RootCAs() *x509.CertPool { return n.ca.pool() }

// Stats returns the counters as they stand.
func (n *Internet) Stats() Stats {
	s := Stats{Conns: n.conns.Load(), Open: n.open.Load(), Requests: n.requests.Load()}
	for _, ns := range n.ns {
		s.Queries += ns.total()
	}
	return s
}

// Queries returns how often each question was asked.
func (n *Internet) Queries() map[Query]int {
	total := make(map[Query]int)
	for _, ns := range n.ns {
		ns.queries(total)
	}
	return total
}

// Close ends every server and every connection, and waits for them.
func (n *Internet) Close() error {
	var errs []error
	n.closing.Do(func() {
		close(n.done)
		for _, ns := range n.ns {
			errs = append(errs, ns.stop())
		}
		for _, s := range n.sites {
			errs = append(errs, s.close())
		}
		if n.parking != nil {
			errs = append(errs, n.parking.Close())
		}
		n.wg.Wait()
	})
	return errors.Join(errs...)
}
