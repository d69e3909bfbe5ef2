package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// What becomes of the ways to write a host in a URL, with PublicOnly.
func TestGuard_URLForms(t *testing.T) {
	const (
		bad      = "%BAD_URL"  // no request comes of it
		badName  = "%BAD_NAME" // no nameserver is asked
		loopback = "loopback (RFC"
	)
	table := &strings.Builder{}
	defer func() { t.Logf("URL, and what becomes of it:\n%s", table) }()
	for _, tt := range []struct {
		url  string
		want string // the beginning of the rule, or one of the above; "" for a page
	}{
		{"http://site.test/", ""},
		{"http://SITE.test./", ""},
		{"http://ｓｉｔｅ.test/", ""},       // full width
		{"http://site。test/", ""},       // ideographic full stop
		{"http://si\u00adte.test/", ""}, // soft hyphen
		{"http://8.8.8.8/", ""},
		{"http://[::ffff:8.8.8.8]/", ""},
		{"http://[64:ff9b::808:808]/", ""},
		{"http://user:password@site.test/", ""},
		{"http://127.0.0.1@site.test/", ""},

		{"http://127.0.0.1/", loopback},
		{"http://site.test@127.0.0.1/", loopback},
		{"http://site.test:80@127.0.0.1:80/", loopback},
		{"http://１２７.０.０.１/", loopback}, // full-width digits
		{"http://①②⑦.⓪.⓪.①/", loopback}, // circled ones
		{"http://127。0。0。1/", loopback},
		{"http://[::ffff:127.0.0.1]/", loopback},
		{"http://[::ffff:7f00:1]/", loopback},
		{"http://[0:0:0:0:0:ffff:127.0.0.1]/", loopback},
		{"http://[::1]/", "loopback (RFC 4291)"},
		{"http://[0000:0000:0000:0000:0000:0000:0000:0001]/", "loopback (RFC 4291)"},
		{"http://localhost/", loopback},
		{"http://LOCALHOST./", loopback},
		{"http://ｌｏｃａｌｈｏｓｔ/", loopback},
		{"http://anything.localhost/", loopback}, // RFC 6761
		{"http://0.0.0.0/", "unspecified address (RFC 1122, RFC 4291)"},
		{"http://[::]/", "unspecified address (RFC 1122, RFC 4291)"},
		{"http://[fe80::1%25eth0]/", "address with a zone (RFC 4007)"},
		{"http://[::1%25lo]/", "address with a zone (RFC 4007)"},
		{"http://[::127.0.0.1]/", "IPv4-compatible (RFC 4291)"},
		{"http://[64:ff9b::127.0.0.1]/", "127.0.0.1 inside it: loopback (RFC 1122)"},
		{"http://[2002:7f00:1::]/", "6to4 (RFC 3056)"},
		{"http://169.254.169.254/latest/meta-data/", "cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
		{"http://metadata.test/", "cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
		{"http://inside.test/", "private use (RFC 1918)"},
		{"http://mapped.test/", "private use (RFC 1918)"},
		{"http://alias.test/", "private use (RFC 1918)"}, // a CNAME to inside.test
		{"http://site.test:22/", "Options.Guard.Ports: port 22 is not among them"},
		{"https://site.test:8443/", "Options.Guard.Ports: port 8443 is not among them"},
		{"http://127.0.0.1:6379/", "Options.Guard.Ports: port 6379 is not among them"},
		{"ftp://site.test/", `scheme "ftp": the guard knows http and https only`},
		{"file:///etc/passwd", `scheme "file": the guard knows http and https only`},

		{"http://2130706433/", badName},
		{"http://0x7f000001/", badName},
		{"http://017700000001/", badName},
		{"http://0x7f.1/", badName},
		{"http://0X7F.0.0.0X1/", badName},
		{"http://0177.0.0.1/", badName},
		{"http://127.1/", badName},
		{"http://127.0.1/", badName},
		{"http://0/", badName},
		{"http://127.0.0.1./", badName},
		{"http://127.0.0.01/", badName},
		{"http://127.0.0.256/", badName},
		{"http://1.2.3.4.5/", badName},
		{"http://２１３０７０６４３３/", badName},
		{"http://site..test/", badName},
		{"http://.site.test/", badName},
		{"http://si te.test/", bad},
		{"http://%31%32%37.0.0.1/", bad},
		{"http://127.0.0.1%00.site.test/", bad},
		{"http://127.0.0.1\\@site.test/", bad},
		{"http://[::1/", bad},
		{"http://[::1].site.test/", bad},
		{"http://site.test:80:80/", bad},
		{"http://site.test:http/", bad},
		{"http:///", bad},
	} {
		t.Run(strings.ReplaceAll(tt.url, "/", "|"), func(t *testing.T) {
			for _, foreign := range []bool{false, true} {
				o := transport.Options{PublicOnly: true, Guard: transport.GuardOptions{Ports: []uint16{80, 443}}}
				inWorld(t, nil, o, func(w *world) {
					w.host("site.test", "8.8.8.8")
					w.host("inside.test", "10.0.0.1")
					w.host("mapped.test", "::ffff:10.0.0.1")
					w.host("metadata.test", "169.254.169.254")
					w.dns.AddHost("alias.test", 300, netip.MustParseAddr("10.0.0.1"))
					w.serve(ok, "8.8.8.8:80", "127.0.0.1:80", "10.0.0.1:80", "[64:ff9b::808:808]:80")
					client := w.client
					var asked atomic.Int64
					if foreign {
						o.Resolver = resolverFunc(func(ctx context.Context, network, host string) ([]netip.Addr, error) {
							asked.Add(1)
							return w.r.LookupNetIP(ctx, network, host)
						})
						tr, err := transport.New(&http.Transport{DialContext: w.net.DialContext}, &o)
						if err != nil {
							t.Fatal(err)
						}
						defer tr.Close()
						client = &http.Client{Transport: tr}
					}
					resp, err := client.Get(tt.url)
					if err == nil {
						resp.Body.Close()
					}
					got := ""
					var denied *hostwise.DeniedError
					switch {
					case errors.As(err, &denied):
						got = denied.Rule
					case hostwise.KindOf(err) == hostwise.BadURL:
						got = bad
					case hostwise.KindOf(err) == hostwise.DNSBadName:
						got = badName
					case err != nil:
						got = err.Error()
					}
					if !foreign {
						fmt.Fprintf(table, "%-55s %s\n", tt.url, verdict(err))
					}
					if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
						t.Errorf("%q, want %q (%v)", got, tt.want, err)
					}
					if tt.want == badName && !strings.Contains(tt.url, "site") && len(w.dns.Queries())+int(asked.Load()) > 0 {
						t.Errorf("a resolver was asked: %v", w.dns.Queries())
					}
					if err != nil && w.dials("127.0.0.1")+w.dials("10.0.0.1") > 0 {
						t.Error("a private address was dialled")
					}
				})
			}
		})
	}
}

// verdict is a page, or the reason why not.
func verdict(err error) string {
	if err == nil {
		return "a page"
	}
	return string(hostwise.KindOf(err)) + ": " + err.Error()[strings.LastIndex(err.Error(), `": `)+len(`": `):]
}

// The others of a host's addresses may be allowed, once they are known.
func TestGuard_FailureOfTheOtherFamilyMayPass(t *testing.T) {
	inWorld(t, nil, transport.Options{PublicOnly: true}, func(w *world) {
		w.dns.Handle("a.test", dns.TypeAAAA, simnet.Rule{Addrs: []netip.Addr{netip.MustParseAddr("fd00::1")}, TTL: 300})
		w.dns.Handle("a.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.fails("http://a.test/", hostwise.DNSServFail, hostwise.PhaseResolve)
		w.dns.Handle("b.test", dns.TypeAAAA, simnet.Rule{Addrs: []netip.Addr{netip.MustParseAddr("fd00::1")}, TTL: 300})
		w.dns.Handle("b.test", dns.TypeA, simnet.Rule{})
		w.fails("http://b.test/", hostwise.PolicyDenied, hostwise.PhaseConnect)
	})
}

// Check has one spelling for a host, whatever the URL has.
func TestGuard_CheckKnowsTheHost(t *testing.T) {
	var got []string
	o := transport.Options{Guard: transport.GuardOptions{Check: func(host string, addr netip.AddrPort) error {
		got = append(got, host+" "+addr.String())
		return errors.New("not mine")
	}}}
	inWorld(t, nil, o, func(w *world) {
		w.host("intranet.test", "8.8.8.8")
		for _, u := range []string{"http://intranet.test/", "http://INTRANET.test./", "http://ｉntranet.test/"} {
			w.fails(u, hostwise.PolicyDenied, hostwise.PhaseConnect)
		}
		if want := "intranet.test:80 8.8.8.8:80"; len(got) != 3 || got[0] != want || got[1] != want || got[2] != want {
			t.Errorf("Check was asked %q, want thrice %q", got, want)
		}
	})
}

// golang.org/x/net/http2.ConfigureTransport has all clones of a transport
// share their connections, also with one that has no guard.
func TestGuard_SharesNoForeignHTTP2(t *testing.T) {
	base := &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{
		"h2": func(string, *tls.Conn) http.RoundTripper { panic("the base's own HTTP/2 was used") },
	}, ForceAttemptHTTP2: true}
	pool, cert := certificate(t)
	base.TLSClientConfig = &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}}
	inWorld(t, base, transport.Options{}, func(w *world) {
		w.host("example.com", "192.0.2.1")
		w.serveTLS(ok, cert, "192.0.2.1:443")
		resp, err := w.client.Get("https://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("%s, want HTTP/2", resp.Proto)
		}
	})
	base.TLSNextProto["other"] = nil
	if _, err := transport.New(base, nil); err == nil || !strings.Contains(err.Error(), "http2.ConfigureTransport") {
		t.Errorf("err = %v, want one that names it", err)
	}
}

// A rebinder is a nameserver on a loopback socket. Names that begin with
// "rebind" have a public address the first time, and a loopback address after
// that, both with TTL 0; "both" have one of either kind.
type rebinder struct {
	mu    sync.Mutex
	asked map[string]int
}

var publicAddr = netip.MustParseAddr("8.8.8.8")

func (r *rebinder) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	name, m := q.Question[0].Name, new(dns.Msg)
	m.SetReply(q)
	r.mu.Lock()
	n := r.asked[name]
	if q.Question[0].Qtype == dns.TypeA {
		r.asked[name]++
	}
	r.mu.Unlock()
	var addrs []string
	switch {
	case strings.HasPrefix(name, "both"), strings.HasPrefix(name, "rebind") && n == 0, strings.HasPrefix(name, "redirect"):
		addrs = append(addrs, publicAddr.String())
	}
	if strings.HasPrefix(name, "both") || strings.HasPrefix(name, "rebind") && n > 0 || strings.HasPrefix(name, "inside") {
		addrs = append([]string{"127.0.0.1", "::1"}, addrs...)
	}
	for _, a := range addrs {
		rr, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s %s", name, map[bool]string{true: "AAAA", false: "A"}[strings.Contains(a, ":")], a))
		if err == nil && rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	w.WriteMsg(m)
}

// The three ways into a network of whoever controls a name: a nameserver that
// changes its mind, a redirect, and an address beside a good one. Over real
// sockets; only the public address is played by another port.
func TestGuard_Rebinding(t *testing.T) {
	const rounds, unguarded = 1000, 20
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ns := &rebinder{asked: map[string]int{}}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: pc, Handler: ns, NotifyStartedFunc: func() { close(started) }}
	go server.ActivateAndServe()
	<-started
	defer server.Shutdown()

	var intruders atomic.Int64
	inside := listenLoopback(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func() { intruders.Add(1) })
	_, port, _ := net.SplitHostPort(inside)
	outside := listenLoopback(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // so that the next request dials
		if n, ok := strings.CutPrefix(r.URL.Path, "/to/"); ok {
			targets := []string{"http://127.0.0.1:" + port, "http://[::1]:" + port, "http://inside" + n + ".test:" + port, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://0.0.0.0:" + port}
			http.Redirect(w, r, targets[len(n)%len(targets)]+"/", http.StatusFound)
		}
	}), func() {})
	resolver, err := dnscache.New(&dnscache.Options{Servers: []string{pc.LocalAddr().String()}, MinTTL: -1, MaxStale: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer resolver.Close()

	crawl := func(rounds int, o transport.Options) (pages, denied int) {
		ns.mu.Lock()
		clear(ns.asked)
		ns.mu.Unlock()
		intruders.Store(0)
		o.Resolver = resolver
		var dialer net.Dialer
		tr, err := transport.New(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if a, err := netip.ParseAddrPort(address); err == nil && a.Addr() == publicAddr {
				address = outside
			}
			return dialer.DialContext(ctx, network, address)
		}}, &o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		client := &http.Client{Transport: tr}
		get := func(u string) {
			resp, err := client.Get(u)
			var e *hostwise.DeniedError
			switch {
			case err == nil:
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				pages++
			case errors.As(err, &e):
				denied++
			case o.PublicOnly: // else ::1 may have no such port
				t.Errorf("%s: %v", u, err)
			}
		}
		for i := range rounds {
			rebind := fmt.Sprintf("http://rebind%d.test:%s/", i, port)
			get(rebind)
			get(rebind)
			get(fmt.Sprintf("http://redirect%d.test:%s/to/%s", i, port, strings.Repeat("x", i%6)))
			get(fmt.Sprintf("http://both%d.test:%s/", i, port))
			tr.CloseIdleConnections()
		}
		return pages, denied
	}

	pages, denied := crawl(rounds, transport.Options{PublicOnly: true})
	t.Logf("guarded: %d pages, %d denied, %d connections from outside to the inside", pages, denied, intruders.Load())
	if pages != 2*rounds || denied != 2*rounds || intruders.Load() != 0 {
		t.Errorf("want %d pages, %d denied and no connection", 2*rounds, 2*rounds)
	}
	pages, denied = crawl(unguarded, transport.Options{})
	t.Logf("not guarded: %d pages, %d denied, %d connections", pages, denied, intruders.Load())
	if intruders.Load() < unguarded {
		t.Errorf("%d connections without the guard: the test shows nothing", intruders.Load())
	}
}

// listenLoopback serves h on 127.0.0.1 and, if there is IPv6, on the same port
// of ::1, and calls accepted for each connection.
func listenLoopback(t *testing.T, h http.Handler, accepted func()) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted()
		}
	}}
	t.Cleanup(func() { s.Close() })
	go s.Serve(l)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if l6, err := net.Listen("tcp6", net.JoinHostPort("::1", port)); err == nil {
		go s.Serve(l6)
	}
	return l.Addr().String()
}
