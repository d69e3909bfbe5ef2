package transport_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// A world is a simulated network with a nameserver, and a client with a
// Transport, inside a bubble.
type world struct {
	t       *testing.T
	net     *simnet.Network
	dns     *simnet.DNS
	r       *dnscache.Resolver
	tr      *transport.Transport
	client  *http.Client
	servers []io.Closer
	start   time.Time
}

// inWorld runs f in a bubble. base may be nil; its DialContext is the
// network's, and taken for package net's where base is nil.
func inWorld(t *testing.T, base *http.Transport, o transport.Options, f func(w *world)) {
	t.Helper()
	pool, _ := certificate(t) // made outside: the bubble's clock stands in the past
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), start: time.Now()}
		w.dns = w.net.ServeDNS("192.0.2.53:53")
		var err error
		w.r, err = dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: w.net.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		plain := base == nil
		if plain {
			base = &http.Transport{ForceAttemptHTTP2: true}
		}
		base.DialContext = w.net.DialContext
		if base.TLSClientConfig == nil {
			base.TLSClientConfig = &tls.Config{RootCAs: pool}
		}
		o.Resolver = w.r
		w.tr, err = transport.New(base, &o)
		if err != nil {
			t.Fatal(err)
		}
		if plain {
			w.tr.TakeForPlain()
		}
		w.client = &http.Client{Transport: w.tr}
		defer func() {
			w.tr.Close()
			for _, s := range w.servers {
				s.Close()
			}
			w.r.Close()
			w.dns.Close()
			time.Sleep(time.Minute) // servers linger, dials run into their deadline
			if got := w.tr.Stats().Conns; got != 0 {
				t.Errorf("%d connections left after Close", got)
			}
			if got := w.net.Stats().Open; got != 0 {
				t.Errorf("%d sockets left after Close", got)
			}
		}()
		f(w)
	})
}

// certificate is that of httptest's servers, for example.com.
func certificate(t *testing.T) (*x509.CertPool, tls.Certificate) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool, s.TLS.Certificates[0]
}

// host makes a name known.
func (w *world) host(name string, addrs ...string) {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	w.dns.AddHost(name, 300, list...)
}

// serve starts a web server at addresses (ip:port).
func (w *world) serve(h http.Handler, addresses ...string) *http.Server {
	s := &http.Server{Handler: h}
	w.servers = append(w.servers, s)
	for _, a := range addresses {
		go s.Serve(w.listen(a))
	}
	return s
}

func (w *world) serveTLS(h http.Handler, cert tls.Certificate, addresses ...string) {
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: quiet}
	w.servers = append(w.servers, s)
	for _, a := range addresses {
		go s.ServeTLS(w.listen(a), "", "")
	}
}

func (w *world) listen(address string) net.Listener {
	l, err := w.net.Listen(address)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// accept serves raw connections.
func (w *world) accept(address string, f func(net.Conn)) {
	l := w.listen(address)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	w.servers = append(w.servers, l)
}

func (w *world) link(addr string, l simnet.Link) { w.net.SetLink(netip.MustParseAddr(addr), l) }

// get fetches url and returns the elapsed time.
func (w *world) get(url string) (time.Duration, error) {
	start := time.Now()
	resp, err := w.client.Get(url)
	elapsed := time.Since(start)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return elapsed, err
}

// takes checks that url is fetched in exactly that time.
func (w *world) takes(want time.Duration, url string) {
	w.t.Helper()
	if got, err := w.get(url); err != nil || got != want {
		w.t.Errorf("Get(%s) took %v, err %v, want %v", url, got, err, want)
	}
}

// fails checks Kind and phase of the error for url.
func (w *world) fails(url string, kind hostwise.Kind, phase hostwise.Phase) error {
	w.t.Helper()
	_, err := w.get(url)
	if hostwise.KindOf(err) != kind || hostwise.PhaseOf(err) != phase {
		w.t.Errorf("Get(%s): %v: kind %q in phase %q, want %q in %q", url, err, hostwise.KindOf(err), hostwise.PhaseOf(err), kind, phase)
	}
	return err
}

// dials is the number of connection attempts to an address.
func (w *world) dials(addr string) int { return w.net.Stats().Hosts[netip.MustParseAddr(addr)].Dials }

var ok = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok "+r.Proto) })

const ms = time.Millisecond
