package dnscache

import "github.com/hostwise-go/hostwise"

func nodata(name string) *hostwise.DNSError {
	return &hostwise.DNSError{Host: name, Kind: hostwise.DNSNoData, Server: "192.0.2.53:53"}
}
