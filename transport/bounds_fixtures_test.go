package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A fixture is a server that does what it can to keep a request.
type fixture struct {
	name   string
	scheme string       // with a colon: the proxy's
	http2  bool         // after the handshake
	upload bool         // the request has a body of a megabyte
	serve  func(l line) // while everything sent is read; nil: see fixture.accept

	kind  hostwise.Kind
	phase hostwise.Phase
	bound time.Duration // after which the Transport's defaults end it
	pause time.Duration // later than that are a few requests which net/http has wait before a retry
}

// A line is the server's end of a connection.
type line struct {
	net.Conn
	cut <-chan struct{} // closed when the client has closed the connection
}

// accept serves a connection until the client or end closes it.
func (f *fixture) accept(c net.Conn, cert tls.Certificate, end <-chan struct{}) {
	defer c.Close()
	if f.http2 {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		io.ReadFull(s, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
		frame(s, frameSettings, 0, nil)
		c = s
	}
	cut, asked := make(chan struct{}), make(chan struct{})
	switch {
	case f.serve == nil && f.http2: // refuses
		requests(c, func(stream uint32) { frame(c, frameRST, stream, binary.BigEndian.AppendUint32(nil, refusedStream)) })
		return
	case f.serve == nil: // reads nothing
		<-end
		return
	case f.http2:
		go func() {
			defer close(cut)
			requests(c, func(stream uint32) {
				if stream == 1 {
					close(asked)
				}
			})
		}()
	default:
		go func() {
			defer close(cut)
			c.Read(make([]byte, 1))
			close(asked)
			io.Copy(io.Discard, c)
		}()
	}
	select { // what comes before the request is no answer to it
	case <-asked:
		f.serve(line{c, cut})
	case <-cut:
	}
}

// lightCertificate has anyHost's clients trust a key whose handshakes cost a
// tenth of an RSA key's.
func lightCertificate(t *testing.T) (*http.Transport, tls.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	base, _ := anyHost(t)
	base.TLSClientConfig.RootCAs = x509.NewCertPool()
	base.TLSClientConfig.RootCAs.AddCert(leaf)
	return base, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// every writes s again and again, as long as there is a client.
func (l line) every(d time.Duration, s string) {
	for {
		select {
		case <-l.cut:
			return
		case <-time.After(d):
			io.WriteString(l, s)
		}
	}
}

func silent(l line) { <-l.cut }

var fixtures = []fixture{
	{"silent TCP", "http", false, false, silent, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, 15 * time.Second, 0},
	{"silent TLS", "https", false, false, silent, hostwise.TLSTimeout, hostwise.PhaseTLS, 5 * time.Second, 0},
	{"silent CONNECT proxy", "http:", false, false, silent, hostwise.ProxyTimeout, hostwise.PhaseConnect, 15 * time.Second, 0},
	{"silent SOCKS5 proxy", "socks5:", false, false, silent, hostwise.ProxyTimeout, hostwise.PhaseConnect, 15 * time.Second, 0},
	{"upload that nobody takes", "http", false, true, nil, hostwise.HTTPWriteTimeout, hostwise.PhaseRequest, 15 * time.Second, 0},
	{"header trickle, a byte a second", "http", false, false, func(l line) {
		io.WriteString(l, "HTTP/1.1 200 OK\r\nX: ")
		l.every(time.Second, "x")
	}, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, 15 * time.Second, 0},
	{"endless 103 Early Hints", "http", false, false, func(l line) {
		l.every(time.Second, "HTTP/1.1 103 Early Hints\r\n\r\n")
	}, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, 15 * time.Second, 0},
	{"endless 103 Early Hints, no pause", "http", false, false, func(l line) {
		hints := strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n", 16)
		for _, err := io.WriteString(l, hints); err == nil; _, err = io.WriteString(l, hints) {
		}
	}, hostwise.HTTPHeaderTooLarge, hostwise.PhaseRequest, 0, 0},
	{"header flood", "http", false, false, func(l line) {
		io.WriteString(l, "HTTP/1.1 200 OK\r\n")
		header := strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 16)
		for _, err := io.WriteString(l, header); err == nil; _, err = io.WriteString(l, header) {
		}
	}, hostwise.HTTPHeaderTooLarge, hostwise.PhaseRequest, 0, 0},
	{"silence in the body", "http", false, false, func(l line) {
		io.WriteString(l, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
		<-l.cut
	}, hostwise.HTTPBodyTimeout, hostwise.PhaseBody, 30 * time.Second, 0},
	{"body trickle, a byte in 29 s", "http", false, false, func(l line) {
		io.WriteString(l, "HTTP/1.1 200 OK\r\n\r\n")
		l.every(29*time.Second, "x")
	}, hostwise.HTTPBodyTimeout, hostwise.PhaseBody, time.Minute, 0},
	{"HTTP/2 silence", "https", true, false, silent, hostwise.HTTPHeaderTimeout, hostwise.PhaseRequest, 15 * time.Second, 0},
	{"HTTP/2 silence in the body", "https", true, false, func(l line) {
		io.WriteString(l, status200)
		<-l.cut
	}, hostwise.HTTPBodyTimeout, hostwise.PhaseBody, 15 * time.Second, 0},
	{"HTTP/2 upload, no window", "https", true, true, func(l line) {
		frame(l, frameSettings, 0, binary.BigEndian.AppendUint32([]byte{0, initialWindowSize}, 0))
		l.every(time.Second, pong)
	}, hostwise.HTTPWriteTimeout, hostwise.PhaseRequest, 15 * time.Second, 0},
	{"HTTP/2 GOAWAY loop", "https", true, false, func(l line) {
		goAway(l, 0, 0)
		<-l.cut
	}, hostwise.TooManyDials, hostwise.PhaseRequest, 0, time.Second},
	{"HTTP/2 REFUSED_STREAM loop", "https", true, false, nil, hostwise.H2RefusedStream, hostwise.PhaseRequest, 15 * time.Second, 0},
}

// More of HTTP/2, as whole frames: RFC 9113, sections 6.2, 6.5.2 and 6.7; RFC
// 7541, appendix A.
const (
	initialWindowSize = 4

	status200 = "\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88"                             // HEADERS of the first stream, END_HEADERS, ":status: 200"
	pong      = "\x00\x00\x08\x06\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // PING, ACK
)
