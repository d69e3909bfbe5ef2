package simnet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// testCert returns a certificate for 192.0.2.1, valid now, and a pool that
// trusts it.
func testCert(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{host4.AsSlice()},
		NotBefore:    time.Now(),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// The first request takes a round trip each for TCP, TLS 1.3 and itself, and
// the second one for itself.
func TestHTTP_OverTLSTakesThreeRoundTripsThenOne(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				n.SetLink(host4, Link{RTT: 80 * ms})
				cert, pool := testCert(t)
				server := &http.Server{
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						io.WriteString(w, r.Proto)
					}),
					TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
				}
				l := mustListen(t, n, "192.0.2.1:443")
				served := make(chan error)
				go func() { served <- server.ServeTLS(l, "", "") }()
				client := &http.Client{Transport: &http.Transport{
					DialContext:       n.DialContext,
					TLSClientConfig:   &tls.Config{RootCAs: pool},
					ForceAttemptHTTP2: proto == "HTTP/2.0",
				}}
				for i, want := range []time.Duration{240 * ms, 80 * ms} {
					begin := time.Now()
					res, err := client.Get("https://192.0.2.1/")
					if err != nil {
						t.Fatal(err)
					}
					after(t, "response", begin, want)
					body, err := io.ReadAll(res.Body)
					if got := string(body); got != proto || err != nil {
						t.Errorf("request %d: got %q with error %v, want %q", i, got, err, proto)
					}
					res.Body.Close()
				}
				client.CloseIdleConnections()
				server.Close()
				<-served
				if got := n.Stats().Open; got != 0 {
					t.Errorf("%d connections are open, want 0", got)
				}
			})
		})
	}
}

func TestHTTP_LargeBodyPassesTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.SetLink(host4, Link{RTT: 80 * ms})
		const size = 10*window + 1
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m, err := io.Copy(io.Discard, r.Body)
			if m != size || err != nil {
				t.Errorf("server received %d with error %v, want %d", m, err, size)
			}
			io.Copy(w, io.LimitReader(zeros{}, size))
		})}
		served := make(chan error)
		l := mustListen(t, n, "192.0.2.1:80")
		go func() { served <- server.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: n.DialContext}}
		res, err := client.Post("http://192.0.2.1/", "text/plain", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := io.Copy(io.Discard, res.Body); m != size || err != nil {
			t.Errorf("client received %d with error %v, want %d", m, err, size)
		}
		res.Body.Close()
		client.CloseIdleConnections()
		server.Close()
		<-served
	})
}

// zeros is a reader without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
