//go:build linux

package internet

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"

	"github.com/hostwise-go/hostwise/bench/internal/certificate"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// serverTLS makes one certificate for all hosts, signed by a CA whose
// certificate goes into a file.
func serverTLS(caFile string) (*tls.Config, error) {
	ca, caKey, err := certificate.Sign(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "lab CA"},
		IsCA:     true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	leaf, key, err := certificate.Sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "lab"},
		DNSNames:    []string{"*." + world.Domain},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}
	if err := os.WriteFile(caFile, pem.EncodeToMemory(block), 0o644); err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		NextProtos:   []string{"http/1.1"},
	}, nil
}
