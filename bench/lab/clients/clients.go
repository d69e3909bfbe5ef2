// Package clients holds the clients that the lab compares: hostwise, the
// standard library as it comes and as one can tune it, other libraries by the
// recipe of their README, and the floor below all of them.
package clients

import "github.com/hostwise-go/hostwise/bench/lab/crawl"

// All returns the clients by name.
func All() map[string]crawl.Factory {
	return map[string]crawl.Factory{
		"floor":           floorClient,
		"stock":           stock,
		"stock-cgo":       stock, // to be run with [Environment]
		"stock-tuned":     stockTuned,
		"stock-best":      stockBest,
		"stock-breaker":   stockBreaker,
		"dnscache":        dnsCache,
		"ncruces":         ncruces,
		"ncruces-default": ncrucesDefault,
		"colly":           collyStock,
		"colly-dnscache":  collyDNSCache,
		"hostwise":        hostwiseClient,
		"hostwise-colly":  hostwiseColly,
	}
}

// Environment is what a client's process needs in its environment: Go's own
// resolver, except for stock-cgo, which is glibc's getaddrinfo.
func Environment(client string) []string {
	if client == "stock-cgo" {
		return []string{"GODEBUG=netdns=cgo"}
	}
	return []string{"GODEBUG=netdns=go"}
}
