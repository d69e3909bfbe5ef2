//go:build linux

package dnscache_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
)

// writeCertificate makes a certificate for dns.test and 127.0.0.1, writes it
// and its key to cert.pem and key.pem in dir, and returns the roots that it
// is good for.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "hostwise test"},
		DNSNames:              []string{"dns.test"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, b := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return roots
}

// testWrongCertificate checks that a server that cannot show a certificate
// for its name from a trusted root is not asked, and that the error says why.
func testWrongCertificate(t *testing.T, srv *recursor) {
	for _, f := range []form{
		{"TLS", fmt.Sprintf("tls://127.0.0.1:%d#other.test", srv.TLS)},
		{"HTTPS", fmt.Sprintf("https://other.test:%d/dns-query#127.0.0.1", srv.HTTPS)},
	} {
		t.Run(f.name+"/OtherName", func(t *testing.T) {
			r := interopResolver(t, srv, f, nil)
			_, err := r.LookupNetIP(t.Context(), "ip", "both.interop.example")
			checkUntrusted[x509.HostnameError](t, err)
		})
		f.server = strings.Replace(f.server, "other.test", "dns.test", 1)
		t.Run(f.name+"/UnknownRoot", func(t *testing.T) {
			r := interopResolver(t, srv, f, func(o *dnscache.Options) { o.TLSConfig = &tls.Config{RootCAs: x509.NewCertPool()} })
			_, err := r.LookupNetIP(t.Context(), "ip", "both.interop.example")
			checkUntrusted[x509.UnknownAuthorityError](t, err)
		})
	}
}

func checkUntrusted[E error](t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*hostwise.DNSError](err)
	if _, as := errors.AsType[E](err); !ok || !as || e.Kind != hostwise.DNSServerUnreachable {
		t.Errorf("got error %v, want %v for a %T", err, hostwise.DNSServerUnreachable, *new(E))
	}
}
