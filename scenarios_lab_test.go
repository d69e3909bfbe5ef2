package hostwise_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

const (
	hostName  = "host.test"
	proxyName = "proxy.test"
	localhost = "127.0.0.1"
)

// A lab is what one scenario happens in: the fixture's sockets, and the
// options of the client.
type lab struct {
	t    *testing.T
	dns  dnscache.Options
	opt  transport.Options
	base http.Transport
	body func() io.Reader // of the request; nil: it is a GET
	tr   *transport.Transport

	resolver *dnscache.Resolver // of tr

	first func() // what happens before the request; may be nil

	silent    bool   // nothing but time ends the request
	unbounded bool   // and no option of ours does
	atOnce    bool   // it fails before anything is waited for
	proxyAddr string // host:port of the proxy, if there is one

	cancel context.CancelCauseFunc // the caller's, if it is to cancel
	done   chan struct{}           // closed when the scenario is over
	wg     sync.WaitGroup          // the fixture's goroutines

	mu    sync.Mutex // guards socks
	socks []io.Closer
}

// newLab returns a lab in which the names host.test and proxy.test have the
// address 127.0.0.1.
func newLab(t *testing.T) *lab {
	l := &lab{t: t, done: make(chan struct{})}
	there := []netip.Addr{netip.MustParseAddr(localhost)}
	l.dns = dnscache.Options{
		Servers: []string{localhost}, HostsFile: os.DevNull, Hosts: map[string][]netip.Addr{hostName: there, proxyName: there},
		Timeout: patience,
	}
	l.opt = transport.Options{DialTimeout: patience, TLSHandshakeTimeout: patience, ResponseHeaderTimeout: patience}
	l.base = http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority().pool}, ForceAttemptHTTP2: true}
	t.Cleanup(l.close)
	return l
}

// shorten makes the time-outs of the options end the request.
func (l *lab) shorten() {
	l.dns.Timeout, l.dns.Tries = short/2, 1
	l.opt.DialTimeout, l.opt.TLSHandshakeTimeout, l.opt.ResponseHeaderTimeout, l.opt.IdleBodyTimeout = short, short, short, short
}

func (l *lab) transport() *transport.Transport {
	r, err := dnscache.New(&l.dns)
	if err != nil {
		l.t.Fatal(err)
	}
	l.opt.Resolver, l.resolver = r, r
	l.tr, err = transport.New(&l.base, &l.opt)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		close(l.done) // those who wait in a dial, too
		l.tr.Close()
		r.Close()
	})
	if l.first != nil {
		l.first()
	}
	return l.tr
}

func (l *lab) close() {
	l.mu.Lock()
	for _, c := range l.socks {
		c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// keep closes c at the end of the scenario.
func (l *lab) keep(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socks = append(l.socks, c)
}

// ready is called by a fixture when it is about to fail the request. Where
// the caller is to cancel, it does so just then, and nothing fails.
func (l *lab) ready() {
	if l.cancel == nil {
		return
	}
	time.Sleep(30 * time.Millisecond) // the client has noticed how far it has come
	l.cancel(errChangedMind)
	select {
	case <-l.done:
	case <-time.After(time.Second): // where net/http waits for the fixture
	}
}

// hang is the failure of the silent.
func (l *lab) hang() {
	l.ready()
	<-l.done
}

// kernel says that the operating system will fail the request when it
// connects: there is no other code to call ready.
func (l *lab) kernel() {
	l.base.DialContext = l.dialer().DialContext
}

func (l *lab) dialer() *net.Dialer {
	return &net.Dialer{ControlContext: func(context.Context, string, string, syscall.RawConn) error {
		l.ready()
		return nil
	}}
}

// listen opens a port on 127.0.0.1.
func (l *lab) listen() net.Listener {
	ln, err := net.Listen("tcp4", localhost+":0")
	if err != nil {
		l.t.Fatal(err)
	}
	l.keep(ln)
	return ln
}

// serve runs f for each connection to a new port, and returns the port.
func (l *lab) serve(f func(net.Conn)) string {
	ln := l.listen()
	l.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.keep(c)
			l.wg.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	return portOf(ln.Addr())
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// closedPort is one that refuses connections for as long as the scenario
// lasts: the local port of a connection.
func (l *lab) closedPort() string {
	c, err := net.Dial("tcp4", l.listen().Addr().String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.keep(c)
	return portOf(c.LocalAddr())
}

// nameserver answers over UDP and TCP with what f writes.
func (l *lab) nameserver(f dns.HandlerFunc) {
	l.dns.Hosts = nil
	for range 20 {
		ln := l.listen()
		pc, err := net.ListenPacket("udp4", ln.Addr().String())
		if err != nil {
			continue
		}
		l.keep(pc)
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: f}, {Listener: ln, Handler: f}} {
			l.wg.Go(func() { s.ActivateAndServe() })
		}
		l.dns.Servers = []string{ln.Addr().String()}
		return
	}
	l.t.Fatal("no port is free for both UDP and TCP")
}

// useProxy sends the requests through a proxy.
func (l *lab) useProxy(scheme, port string) {
	l.proxyAddr = net.JoinHostPort(proxyName, port)
	u, err := url.Parse(scheme + "://" + l.proxyAddr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.base.Proxy = http.ProxyURL(u)
}

// readRequest waits for the head of a request.
func readRequest(c net.Conn) bool {
	_, err := http.ReadRequest(bufio.NewReader(c))
	return err == nil
}

// reset closes c in a way that the other side notices.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// An issuer signs certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// authority is the one that the labs' clients trust.
var authority = sync.OnceValue(newIssuer)

func newIssuer() *issuer {
	a := &issuer{pool: x509.NewCertPool()}
	a.cert, a.key = certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-1000 * time.Hour),
	}, nil)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate for host.test; change may be nil.
func (a *issuer) issue(change func(*x509.Certificate)) tls.Certificate {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: hostName}, DNSNames: []string{hostName, proxyName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(t)
	}
	cert, key := certificate(t, a)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// certificate makes one that is valid now, signed by itself if by is nil.
func certificate(t *x509.Certificate, by *issuer) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = time.Now().Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = time.Now().Add(time.Hour)
	}
	t.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := t, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
}
