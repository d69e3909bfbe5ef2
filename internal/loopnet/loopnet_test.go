package loopnet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must not come.
const patience = 300 * time.Millisecond

// quick are options that keep tests short.
func quick() *Options {
	return &Options{
		DNSLatency: time.Millisecond,
		ColdDNS:    -1,
		SlowDNS:    patience,
		SlowHeader: patience,
	}
}

func start(t *testing.T, o *Options) *Internet {
	t.Helper()
	n, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for _, m := range n.Missing() {
		t.Logf("missing here: %s", m)
	}
	return n
}

// client is net/http as shipped, on the Internet's nameserver.
func client(t *testing.T, n *Internet) *http.Client {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.Proxy = nil
	tr.DialContext = (&net.Dialer{Resolver: n.Resolver()}).DialContext
	tr.TLSClientConfig = &tls.Config{RootCAs: n.RootCAs()}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// get fetches a URL and returns the protocol and the body.
func get(ctx context.Context, c *http.Client, url string) (proto, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return "", "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return res.Proto, string(b), err
}

func TestFates(t *testing.T) {
	n := start(t, quick())
	c := client(t, n)

	pages := func(t *testing.T, h Host) {
		if len(h.Pages) != 4 || h.Pages[0] != h.URL {
			t.Fatalf("pages %q of %q, want 4, the first page first", h.Pages, h.URL)
		}
		for i, p := range h.Pages {
			_, body, err := get(t.Context(), c, p)
			if err != nil {
				t.Fatal(err)
			}
			if title := fmt.Sprintf("<title>%s, page %d</title>", h.Name, i); !strings.Contains(body, title) {
				t.Errorf("%s: no %s in:\n%s", p, title, body)
			}
			if link := `<a href="/3">`; i == 0 && !strings.Contains(body, link) {
				t.Errorf("%s: no %s in:\n%s", p, link, body)
			}
		}
	}
	slow := func(t *testing.T, h Host) {
		begin := time.Now()
		pages(t, h)
		if d := time.Since(begin); d < patience {
			t.Errorf("4 pages within %v, want at least %v", d, patience)
		}
	}
	fails := func(is func(error) bool) func(*testing.T, Host) {
		return func(t *testing.T, h Host) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, _, err := get(ctx, c, h.URL); err == nil || !is(err) {
				t.Errorf("%s: %v", h.URL, err)
			}
		}
	}
	hangs := func(t *testing.T, h Host) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, _, err := get(ctx, c, h.URL); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want it to hang", h.URL, err)
		}
	}
	dnsError := func(is func(*net.DNSError) bool) func(*testing.T, Host) {
		return fails(func(err error) bool {
			de, ok := errors.AsType[*net.DNSError](err)
			return ok && is(de)
		})
	}
	notFound := dnsError(func(e *net.DNSError) bool { return e.IsNotFound })

	tests := map[Fate]func(*testing.T, Host){
		Healthy: pages,
		HTTPS: func(t *testing.T, h Host) {
			pages(t, h)
			if proto, _, err := get(t.Context(), c, h.URL); proto != "HTTP/2.0" {
				t.Errorf("protocol %q (%v), want HTTP/2.0", proto, err)
			}
			h1 := client(t, n)
			h1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
			if proto, _, err := get(t.Context(), h1, h.URL); proto != "HTTP/1.1" {
				t.Errorf("protocol %q (%v) without HTTP/2, want HTTP/1.1", proto, err)
			}
		},
		DualStack: func(t *testing.T, h Host) {
			pages(t, h)
			for _, a := range lookup(t, n, h.Name) {
				connect(t, h, a)
			}
		},
		Alias:      pages,
		Truncated:  pages,
		SlowDNS:    slow,
		SlowHeader: slow,
		DeadFirst: func(t *testing.T, h Host) {
			a := lookup(t, n, h.Name)
			if len(a) != 2 {
				t.Fatalf("addresses %v, want 2", a)
			}
			dead(t, h, a[0])
			connect(t, h, a[1])
		},
		DeadIPv6: func(t *testing.T, h Host) {
			pages(t, h) // the fallback of net.Dialer
			dead(t, h, loopback6)
		},
		NXDomain:  notFound,
		NoData:    notFound,
		ServFail:  dnsError(func(e *net.DNSError) bool { return e.IsTemporary && !e.IsTimeout }),
		DNSSilent: hangs,
		Refused:   fails(func(err error) bool { return refused(err) }),
		BlackHole: hangs,
		Mute:      hangs,
		Closed:    fails(func(err error) bool { return errors.Is(err, io.EOF) }),
		NotTLS:    fails(func(err error) bool { return errors.Is(err, http.ErrSchemeMismatch) }),
		Expired: fails(func(err error) bool {
			ce, ok := errors.AsType[x509.CertificateInvalidError](err)
			return ok && ce.Reason == x509.Expired
		}),
	}
	for _, f := range Fates() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			hosts := n.Hosts(f)
			if len(hosts) == 0 {
				t.Skip("not to be had on this system")
			}
			tests[f](t, hosts[0])
		})
	}
}

func lookup(t *testing.T, n *Internet, name string) []netip.Addr {
	t.Helper()
	a, err := n.Resolver().LookupNetIP(t.Context(), "ip", name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		a[i] = a[i].Unmap()
	}
	return a
}

// endpoint returns the port of a host at one of its addresses.
func endpoint(t *testing.T, h Host, a netip.Addr) string {
	t.Helper()
	u, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(a.String(), u.Port())
}

func connect(t *testing.T, h Host, a netip.Addr) {
	t.Helper()
	c, err := net.DialTimeout("tcp", endpoint(t, h, a), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// dead checks that nothing connects. Where the system cannot drop connection
// attempts it refuses them.
func dead(t *testing.T, h Host, a netip.Addr) {
	t.Helper()
	c, err := net.DialTimeout("tcp", endpoint(t, h, a), patience)
	if err == nil {
		c.Close()
		t.Fatalf("%v: connected to its dead address", c.RemoteAddr())
	}
	if !isTimeout(err) && runtime.GOOS == "linux" {
		t.Errorf("%v, want no answer at all", err)
	}
}

func refused(err error) bool {
	const wsaeConnRefused = syscall.Errno(10061) // what Windows calls ECONNREFUSED
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaeConnRefused)
}

func TestStart_LinuxLacksNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere Missing says what is lacking")
	}
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback: %v", err)
	}
	l.Close()
	n := start(t, quick())
	if got, want := len(n.Hosts()), len(Fates()); got != want || len(n.Missing()) > 0 {
		t.Errorf("%d hosts, missing %q, want %d and nothing", got, n.Missing(), want)
	}
}

// On a system without 127.0.0.2 the hosts share an address.
func TestStart_SharedAddress(t *testing.T) {
	n := &Internet{opt: quick().withDefaults(), done: make(chan struct{}), shared: true}
	n.opt.Hosts = map[Fate]int{Healthy: 2, Refused: 1, BlackHole: 1, Mute: 1}
	defer n.Close()
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	if len(n.Missing()) > 0 && runtime.GOOS == "linux" {
		t.Errorf("missing %q", n.Missing())
	}
	ports := make(map[string]bool)
	for _, h := range n.Hosts() {
		a := lookup(t, n, h.Name)
		if want := netip.MustParseAddr("127.0.0.1"); len(a) != 1 || a[0] != want {
			t.Errorf("%s (%s): addresses %v, want %v", h.Name, h.Fate, a, want)
		}
		ports[endpoint(t, h, a[0])] = true
	}
	if len(ports) != len(n.Hosts()) {
		t.Errorf("%d hosts at %d ports", len(n.Hosts()), len(ports))
	}
}

func TestStart_SameSeedSameInternet(t *testing.T) {
	o := quick()
	o.Hosts = map[Fate]int{Healthy: 20, NXDomain: 20, Refused: 5}
	plan := func(seed uint64) []string {
		o.Seed = seed
		var p []string
		for _, s := range (&Internet{opt: o.withDefaults()}).plan() {
			p = append(p, fmt.Sprint(s.Name, s.Fate, s.think, s.cold, s.closes))
		}
		return p
	}
	if !slices.Equal(plan(7), plan(7)) {
		t.Error("the same seed gave two internets")
	}
	if slices.Equal(plan(7), plan(8)) {
		t.Error("two seeds gave the same internet")
	}
}

func TestStart_RefusesNonsense(t *testing.T) {
	for _, o := range []*Options{
		{Hosts: map[Fate]int{"rainy": 1}},
		{Hosts: map[Fate]int{Healthy: -1}},
		{Pages: -1},
	} {
		if n, err := Start(o); err == nil {
			n.Close()
			t.Errorf("Start(%+v) gave no error", *o)
		}
	}
}

func TestStats(t *testing.T) {
	o := quick()
	o.Hosts = map[Fate]int{Healthy: 1}
	n := start(t, o)
	c := client(t, n)
	h := n.Hosts()[0]
	for _, p := range h.Pages[:2] {
		if _, _, err := get(t.Context(), c, p); err != nil {
			t.Fatal(err)
		}
	}
	s := n.Stats()
	if s.Requests != 2 || s.Conns < 1 || s.Conns > 2 {
		t.Errorf("%+v, want 2 requests on 1 or 2 connections", s)
	}
	for _, typ := range []string{"A", "AAAA"} {
		if got := n.Queries()[Query{h.Name, typ}]; int64(got) != s.Conns {
			t.Errorf("%d queries for %s, want one a connection, that is %d", got, typ, s.Conns)
		}
	}
	c.CloseIdleConnections()
	eventually(t, "open connections after all were closed", func() int { return int(n.Stats().Open) }, 0)
}

func TestClose_EndsEverything(t *testing.T) {
	base := runtime.NumGoroutine()
	n, err := Start(quick())
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, n)
	var hosts []Host
	for _, f := range Fates() {
		if f != DNSSilent && f != BlackHole && f != DeadFirst { // these have no server that Close could end
			hosts = append(hosts, n.Hosts(f)...)
		}
	}
	ended := make(chan string)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, h := range hosts {
		go func() {
			get(ctx, c, h.URL)
			ended <- h.URL
		}()
	}
	for range hosts[1:] { // all but Mute
		<-ended
	}
	if err := n.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if u := <-ended; ctx.Err() != nil {
		t.Errorf("%s was still waiting after Close", u)
	}
	if s := n.Stats(); s.Open != 0 {
		t.Errorf("%d connections open after Close", s.Open)
	}
	if err := n.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := net.DialTimeout("tcp", n.DNSAddr(), patience); err == nil {
		t.Error("the nameserver still accepts after Close")
	}
	c.CloseIdleConnections()
	eventually(t, "goroutines after Close", runtime.NumGoroutine, base)
}

// eventually waits for got to come down to want.
func eventually(t *testing.T, what string, got func() int, want int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Second); got() > want; <-tick.C {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%s: %d, want %d\n%s", what, got(), want, buf[:runtime.Stack(buf, true)])
		}
	}
}
