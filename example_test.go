package hostwise_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hostwise-go/hostwise"
)

// get stands for client.Get with a client of package transport.
func get(string) (*http.Response, error) {
	return nil, &url.Error{Op: "Get", URL: "http://no.such.test/", Err: &hostwise.DNSError{
		Host: "no.such.test", Kind: hostwise.DNSNXDomain, Server: "192.0.2.53:53",
	}}
}

func ExampleKindOf() {
	_, err := get("http://no.such.test/")
	switch kind := hostwise.KindOf(err); kind {
	case hostwise.DNSNXDomain, hostwise.DNSNoData:
		fmt.Printf("%s in phase %s: drop the link\n", kind, hostwise.PhaseOf(err))
	case hostwise.HostDown:
		fmt.Println("try again at", hostwise.RetryAt(err))
	}
	// Output: dns_nxdomain in phase resolve: drop the link
}

func ExampleDNSError() {
	_, err := get("http://no.such.test/")

	var e *hostwise.DNSError
	if errors.As(err, &e) {
		fmt.Printf("%s says of %s: %s\n", e.Server, e.Host, e.Kind)
	}

	// Code written for package net goes on working.
	var std *net.DNSError
	if errors.As(err, &std) {
		fmt.Println("not found:", std.IsNotFound)
	}
	// Output:
	// 192.0.2.53:53 says of no.such.test: dns_nxdomain
	// not found: true
}

func ExampleElapsedOf() {
	err := error(&hostwise.ConnectError{
		Host: "a.test:80", Kind: hostwise.ConnectTimeout,
		Elapsed: hostwise.Elapsed{Resolve: 3 * time.Millisecond, Connect: 10 * time.Second},
	})
	err = &url.Error{Op: "Get", URL: "http://a.test/", Err: err}
	fmt.Println(hostwise.ElapsedOf(err))
	// Output: resolve 3ms, connect 10s
}

func ExampleRetryable() {
	for _, err := range []error{
		&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSTimeout},
		&hostwise.DNSError{Host: "a.test", Kind: hostwise.DNSNXDomain},
		&hostwise.TLSError{Host: "a.test:443", Kind: hostwise.TLSExpired},
	} {
		fmt.Println(hostwise.KindOf(err), hostwise.Retryable(err))
	}
	// Output:
	// dns_timeout true
	// dns_nxdomain false
	// tls_expired false
}
