//go:build linux

package dnscache_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/miekg/dns"
)

// These tests start nameservers of other makers, as Debian packages them, on
// loopback ports, and skip those that are not installed, with the name of the
// package. They need no root.

// interopCases are what every nameserver must tell, in every way of asking.
// Nameservers may change the order of the addresses.
var interopCases = []struct {
	name, network, host string
	want                []netip.Addr    // all of them, or
	most                int             // as many of them
	kinds               []hostwise.Kind // or why there are none
	rcode               int
	ttl                 time.Duration // as the zone has it
	large               bool          // more than fits into a UDP message
}{
	{name: "AAndAAAA", network: "ip", host: "both", want: addrs("2001:db8::1", "192.0.2.1", "192.0.2.2"), ttl: 200 * time.Second},
	{name: "A", network: "ip4", host: "both", want: addrs("192.0.2.1", "192.0.2.2"), ttl: 300 * time.Second},
	{name: "OneFamily/4", network: "ip", host: "only4", want: addrs("192.0.2.4")},
	{name: "OneFamily/6", network: "ip", host: "only6", want: addrs("2001:db8::6"), ttl: 300 * time.Second},
	{name: "UpperCase", network: "ip6", host: "BOTH", want: addrs("2001:db8::1")},
	{name: "NXDomain", network: "ip", host: "gone", kinds: kinds(hostwise.DNSNXDomain), rcode: dns.RcodeNameError, ttl: 40 * time.Second},
	{name: "NXDomain/4", network: "ip4", host: "gone4", kinds: kinds(hostwise.DNSNXDomain), rcode: dns.RcodeNameError, ttl: 40 * time.Second},
	{name: "NoData", network: "ip", host: "text", kinds: kinds(hostwise.DNSNoData), ttl: 40 * time.Second},
	{name: "NoData/6", network: "ip6", host: "only4", kinds: kinds(hostwise.DNSNoData), ttl: 40 * time.Second},
	{name: "NoData/BetweenNames", network: "ip", host: "sub", kinds: kinds(hostwise.DNSNoData), ttl: 40 * time.Second},
	{name: "CNAME", network: "ip", host: "alias1", want: addrs("2001:db8::1", "192.0.2.1", "192.0.2.2"), ttl: 60 * time.Second},
	{name: "CNAME/Eight", network: "ip4", host: "chain1", want: addrs("192.0.2.9"), ttl: 300 * time.Second},
	{name: "CNAME/ToNXDomain", network: "ip", host: "nowhere", kinds: kinds(hostwise.DNSNXDomain), rcode: dns.RcodeNameError, ttl: 40 * time.Second},
	{name: "CNAME/Loop", network: "ip4", host: "loop1", kinds: kinds(hostwise.DNSCNAMELoop, hostwise.DNSServFail)},
	{name: "Truncated", network: "ip6", host: "large", want: addrs(series("2001:db8:1::", 60)...), ttl: 300 * time.Second, large: true},
	{name: "HundredAddresses", network: "ip", host: "hundred", want: addrs(append(series("2001:db8:2::", 100), series("198.51.100.", 100)...)...), most: 128, large: true},
	{name: "ServFail", network: "ip", host: "fail", kinds: kinds(hostwise.DNSServFail), rcode: dns.RcodeServerFailure, ttl: time.Second},
}

func addrs(texts ...string) (as []netip.Addr) {
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func series(prefix string, n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(prefix, i+1))
	}
	return texts
}

func kinds(k ...hostwise.Kind) []hostwise.Kind { return k }

// A form is a way of asking a nameserver, and how Options.Servers has it.
type form struct{ name, server string }

// forms puts UDP first: dnsmasq 2.90 forgets links of a chain of aliases, and
// their TTL, when it has learned of them over TCP.
func (r *recursor) forms() []form {
	forms := []form{
		{"UDP", fmt.Sprintf("127.0.0.1:%d", r.DNS)},
		{"TCP", fmt.Sprintf("tcp://127.0.0.1:%d", r.DNS)},
	}
	if r.roots == nil {
		return forms
	}
	return append(forms,
		form{"TLS", fmt.Sprintf("tls://127.0.0.1:%d", r.TLS)},
		form{"TLS/Name", fmt.Sprintf("tls://127.0.0.1:%d#dns.test", r.TLS)},
		form{"HTTPS", fmt.Sprintf("https://127.0.0.1:%d/dns-query", r.HTTPS)},
		form{"HTTPS/Name", fmt.Sprintf("https://dns.test:%d/dns-query#127.0.0.1", r.HTTPS)},
	)
}

func TestInterop(t *testing.T) {
	if testing.Short() {
		t.Skip("starts nameservers")
	}
	auth := startAuthority(t)
	for _, p := range products {
		t.Run(p.command, func(t *testing.T) {
			t.Parallel()
			srv := p.start(t, auth)
			teachMany(t, srv)
			for _, f := range srv.forms() {
				t.Run(f.name, func(t *testing.T) { testInterop(t, p, srv, f) })
			}
			if p.tls {
				t.Run("WrongCertificate", func(t *testing.T) { testWrongCertificate(t, srv) })
			}
			t.Run("IdleConnection", func(t *testing.T) { testIdleConnection(t, p, srv) })
		})
	}
}

func testInterop(t *testing.T, p product, srv *recursor, f form) {
	for _, tc := range interopCases {
		t.Run(tc.name, func(t *testing.T) {
			r := interopResolver(t, srv, f, nil)
			host := tc.host + ".interop.example"
			got, err := r.LookupNetIP(t.Context(), tc.network, host)
			checkAddrs(t, got, tc.want, tc.most)
			if p.confused && tc.network == "ip" && slices.Equal(tc.kinds, kinds(hostwise.DNSNXDomain)) {
				checkError(t, err, kinds(hostwise.DNSNXDomain, hostwise.DNSNoData), 0)
			} else {
				checkError(t, err, tc.kinds, tc.rcode)
			}
			if ttl := r.TTL(tc.network, strings.ToLower(host)); tc.ttl > 0 && (ttl > tc.ttl || ttl < tc.ttl-15*time.Second) {
				t.Errorf("taken in for %v, the zone says %v", ttl, tc.ttl)
			}
			if tcp := r.Stats().TCP > 0; f.name == "UDP" && tcp != tc.large {
				t.Errorf("asked over TCP: %v, want %v", tcp, tc.large)
			}
		})
	}
	if !p.singleHTTPS || !strings.HasPrefix(f.name, "HTTPS") {
		t.Run("ManyAtOnce", func(t *testing.T) { testInteropMany(t, srv, f) })
	}
}

// interopResolver returns a resolver that asks srv; changed changes its
// options, unless it is nil.
func interopResolver(t *testing.T, srv *recursor, f form, changed func(*dnscache.Options)) *dnscache.Resolver {
	t.Helper()
	o := &dnscache.Options{Servers: []string{f.server}, HostsFile: os.DevNull, MinTTL: -1, Timeout: 5 * time.Second}
	if srv.roots != nil {
		o.TLSConfig = &tls.Config{RootCAs: srv.roots}
	}
	if changed != nil {
		changed(o)
	}
	r, err := dnscache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// checkAddrs compares addresses: IPv6 ones come first. With most > 0, got
// must have that many of want.
func checkAddrs(t *testing.T, got, want []netip.Addr, most int) {
	t.Helper()
	if !slices.IsSortedFunc(got, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() }) {
		t.Errorf("got %v, want IPv6 addresses first", got)
	}
	sorted := func(as []netip.Addr) []netip.Addr { return slices.SortedFunc(slices.Values(as), netip.Addr.Compare) }
	if most == 0 && !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("got %v, want %v", got, want)
	}
	if most == 0 {
		return
	}
	distinct := slices.Compact(sorted(got))
	if len(got) != most || len(distinct) != most || slices.ContainsFunc(got, func(a netip.Addr) bool { return !slices.Contains(want, a) }) {
		t.Errorf("got %d addresses, %d different: %v, want %d of %v", len(got), len(distinct), got, most, want)
	}
}

// checkError checks that err is a *hostwise.DNSError of one of the kinds that
// names the server, or nil if there are none.
func checkError(t *testing.T, err error, kinds []hostwise.Kind, rcode int) {
	t.Helper()
	if len(kinds) == 0 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	e, ok := errors.AsType[*hostwise.DNSError](err)
	switch {
	case !ok:
		t.Errorf("got error %v, want %v", err, kinds)
	case !slices.Contains(kinds, e.Kind) || e.Server == "":
		t.Errorf("got kind %v of server %q, want %v: %v", e.Kind, e.Server, kinds, err)
	case rcode != 0 && e.Rcode != rcode:
		t.Errorf("got rcode %d, want %d: %v", e.Rcode, rcode, err)
	}
}

const manyNames = 500

func manyName(i int) string { return fmt.Sprintf("host%d.many.interop.example", i) }

// teachMany has the nameserver learn of the names that testInteropMany asks
// for, with a client that is not ours. Knot Resolver 5.6.0 fails what it has
// asked its authority when it does not run for two seconds, though the answers
// wait in its sockets: of 256 questions, 125 to 157 are answered SERVFAIL
// after it was stopped for 3 s, and that happens on a busy machine.
func teachMany(t *testing.T, srv *recursor) {
	t.Helper()
	c := &dns.Client{Timeout: time.Second}
	deadline := time.Now().Add(time.Minute)
	for i := range 2 * manyNames {
		q := new(dns.Msg).SetQuestion(manyName(i/2)+".", []uint16{dns.TypeA, dns.TypeAAAA}[i%2])
		for {
			m, _, err := c.Exchange(q, fmt.Sprintf("127.0.0.1:%d", srv.DNS))
			if err == nil && len(m.Answer) == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v, %v", q.Question[0].Name, m, err)
			}
		}
	}
}

// testInteropMany looks up many names at once: none is lost, though over UDP
// they are more than the receive buffer that Linux gives to a socket holds.
// Over connections they are fewer: with 1,000 requests unbound 1.17.1 resets
// one of HTTP/2 at times, that of a client of net/http alone, too.
func testInteropMany(t *testing.T, srv *recursor, f form) {
	names := 200
	if f.name == "UDP" {
		names = manyNames
	}
	w := newWatcher()
	r := interopResolver(t, srv, f, func(o *dnscache.Options) { o.Dial = w.dial })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	want := addrs("2001:db8::7", "192.0.2.7")
	failed := make(chan string, names)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range names {
		wg.Go(func() {
			host := manyName(i)
			if got, err := r.LookupNetIP(ctx, "ip", host); err != nil || !slices.Equal(got, want) {
				failed <- fmt.Sprintf("%s: got %v, %v, want %v", host, got, err, want)
			}
		})
	}
	wg.Wait()
	if n := len(failed); n > 0 {
		t.Errorf("%d of %d lookups failed; %s", n, names, <-failed)
	}
	s := r.Stats()
	t.Logf("%d lookups in %v, %d messages, %d of them repetitions", names, time.Since(start), s.Queries, s.Retransmits)
	if n := w.dials.Load(); n > 32 {
		t.Errorf("%d connections for %d queries at once, want 32 at most", n, s.Queries)
	}
}

// testIdleConnection checks that one connection serves many lookups without
// delay, and that the next one does not suffer when the server has closed it
// for want of use.
func testIdleConnection(t *testing.T, p product, srv *recursor) {
	const lookups = 10
	lookup := func(f form, r *dnscache.Resolver, i int) time.Duration {
		start := time.Now()
		if _, err := r.LookupNetIP(t.Context(), "ip", fmt.Sprintf("idle%d.many.interop.example", i)); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		return time.Since(start)
	}
	var again []func()
	for _, f := range srv.forms()[1:] {
		w := newWatcher()
		r := interopResolver(t, srv, f, func(o *dnscache.Options) { o.Dial = w.dial })
		fastest := time.Hour
		for i := range lookups {
			fastest = min(fastest, lookup(f, r, i))
		}
		if fastest > 30*time.Millisecond {
			t.Errorf("%s: the fastest of %d lookups took %v: a delayed acknowledgement?", f.name, lookups, fastest)
		}
		most := int32(2)
		if p.command == "unbound" && strings.HasPrefix(f.name, "HTTPS") { // it resets a connection at times, for other clients, too
			most = lookups / 2
		}
		if n := w.dials.Load(); n > most {
			t.Errorf("%s: %d connections for %d queries, want %d at most", f.name, n, 2*lookups, most)
		}
		again = append(again, func() {
			w.awaitEnd(t, f)
			lookup(f, r, lookups)
		})
	}
	if !p.impatient {
		return
	}
	for _, f := range again {
		f()
	}
}

// A watcher knows how many connections were made, and when they end.
type watcher struct {
	dials atomic.Int32
	ended chan struct{}
}

func newWatcher() *watcher { return &watcher{ended: make(chan struct{}, 1000)} }

func (w *watcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.dials.Add(1)
	return &watchedConn{Conn: conn, ended: w.ended}, nil
}

// awaitEnd waits until all connections have ended, for less than the 10 s
// after which the resolver itself closes idle ones.
func (w *watcher) awaitEnd(t *testing.T, f form) {
	t.Helper()
	late := time.After(8 * time.Second)
	for range w.dials.Load() {
		select {
		case <-w.ended:
		case <-late:
			t.Fatalf("%s: the server has not closed an idle connection after 8 s", f.name)
		}
	}
}

type watchedConn struct {
	net.Conn
	ended chan<- struct{}
	once  sync.Once
}

func (c *watchedConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { c.ended <- struct{}{} })
	return c.Conn.Close()
}
