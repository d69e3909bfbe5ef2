//go:build linux

package network

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/certificate"
	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/wire/contract"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// serveWeb serves http and https at all addresses.
func (n *Network) serveWeb() error {
	cert, key, err := certificate.Sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: scenario.Zone},
		DNSNames:    []string{"*." + scenario.Zone},
		IsCA:        true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, nil, nil)
	if err != nil {
		return err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		NextProtos:   []string{"http/1.1"},
	}
	server := &http.Server{Handler: http.HandlerFunc(n.handleRequest), ErrorLog: log.New(io.Discard, "", 0)}
	n.servers = append(n.servers, func() { _ = server.Close() })
	return namespace.Inside(n.pair.Internet, func() error {
		for _, at := range []struct{ network, address string }{{"tcp4", "0.0.0.0"}, {"tcp6", "[::]"}} {
			plain, err := net.Listen(at.network, at.address+":80")
			if err != nil {
				return err
			}
			n.servers = append(n.servers, func() { plain.Close() })
			secure, err := net.Listen(at.network, at.address+":443")
			if err != nil {
				return err
			}
			n.servers = append(n.servers, func() { secure.Close() })
			for _, l := range []net.Listener{plain, tls.NewListener(secure, config)} {
				go func() { _ = server.Serve(l) }() // until the server is closed
			}
		}
		return nil
	})
}

func (n *Network) handleRequest(w http.ResponseWriter, q *http.Request) {
	local := q.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).AddrPort().Addr().Unmap()
	remote, _ := netip.ParseAddrPort(q.RemoteAddr)
	if r := n.current.Load(); r != nil && q.URL.Path == "/" { // browsers ask for an icon, too
		r.addRequest(record.Request{At: time.Now(), Host: q.Host, Server: local, ClientPort: remote.Port()})
	}
	w.Header().Set("Connection", "close") // a connection for each fetch
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set(contract.AddressHeader, local.String())
	fmt.Fprintln(w, local)
}
