// Command stock is net/http as it comes, with Go's own resolver, as a client
// of the ruler: what others are compared with, and an example of a client.
//
//	CGO_ENABLED=0 go build -o stock ./wire/stock && go run ./wire -client ./stock
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/hostwise-go/hostwise/bench/wire/contract"
)

func main() { contract.Main(newClient) }

func newClient(s *contract.Settings) (*contract.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if s.Insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return &contract.Client{Transport: t, Class: class}, nil
}

func class(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "dns-notfound"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "dns-timeout"
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &op) && op.Op == "dial":
		return "connect"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "other"
}
