// Command wireclient is hostwise as the ruler ../wire measures it: the
// library's defaults below an http.Client. It can be run by hand, too:
//
//	go run ./wireclient https://example.com/ https://example.org/
//
// The contract is in README.md of ../wire.
package main

import (
	"crypto/tls"
	"net/http"
	"strings"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/bench/wire/contract"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
)

func main() { contract.Main(newClient) }

func newClient(s *contract.Settings) (*contract.Client, error) {
	r, err := dnscache.New(&dnscache.Options{Servers: s.Nameservers})
	if err != nil {
		return nil, err
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.DisableKeepAlives = true // a connection for each fetch
	if s.Insecure {
		base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	t, err := transport.New(base, &transport.Options{Resolver: r})
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return &contract.Client{Transport: t, Class: class, Close: func() {
		_ = t.Close()
		_ = r.Close()
	}}, nil
}

// class is a Kind in the contract's words, which begin with dns, connect or
// tls as those of hostwise do.
func class(err error) string {
	switch k := hostwise.KindOf(err); k {
	case hostwise.DNSNXDomain, hostwise.DNSNoData:
		return "dns-notfound"
	case hostwise.HTTPHeaderTimeout, hostwise.HTTPWriteTimeout, hostwise.HTTPBodyTimeout, hostwise.Deadline:
		return "timeout"
	default:
		return strings.ReplaceAll(string(k), "_", "-")
	}
}
