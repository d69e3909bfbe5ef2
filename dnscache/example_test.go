package dnscache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
)

func ExampleNew() {
	r, err := dnscache.New(&dnscache.Options{
		Servers: []string{
			"192.0.2.53",                   // UDP
			"tls://192.0.2.54#dns.example", // DNS over TLS
			"https://dns.example/dns-query#192.0.2.55,2001:db8::55", // DNS over HTTPS
		},
		MaxHosts: 100_000,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for _, s := range r.Stats().Servers {
		fmt.Println(s.Server)
	}
	// Output:
	// 192.0.2.53:53
	// tls://192.0.2.54#dns.example
	// https://dns.example/dns-query#192.0.2.55,2001:db8::55
}

func ExampleResolver_LookupNetIP() {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	addrs, err := r.LookupNetIP(context.Background(), "ip", "localhost")
	fmt.Println(addrs, err)

	_, err = r.LookupNetIP(context.Background(), "ip", "no-such-name.invalid")
	var e *hostwise.DNSError
	if errors.As(err, &e) {
		fmt.Println(e.Host, e.Kind)
	}
	// Output:
	// [::1 127.0.0.1] <nil>
	// no-such-name.invalid dns_nxdomain
}

func ExampleResolver_Prefetch() {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for _, p := range r.Prefetch(context.Background(), []string{"localhost", "a..b"}) {
		fmt.Println(p.Host, p.Err)
	}
	// Output:
	// localhost <nil>
	// a..b lookup a..b: no such host: not a domain name (empty label)
}

func ExampleResolver_Subscribe() {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	s := r.Subscribe("ip", "localhost", func(network string, addrs []netip.Addr, err error) {
		fmt.Println(network, addrs, err)
	})
	defer s.Stop()
	// Output:
	// ip6 [::1] <nil>
	// ip4 [127.0.0.1] <nil>
}

// A crawl that is started again begins with what the last one knew.
func ExampleResolver_Snapshot() {
	o := &dnscache.Options{Servers: []string{"192.0.2.53"}}
	last, err := dnscache.New(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer last.Close()
	var file bytes.Buffer
	if err := last.Snapshot(&file); err != nil {
		fmt.Println(err)
		return
	}

	next, err := dnscache.New(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer next.Close()
	fmt.Println(next.Restore(&file))
	fmt.Println(next.Restore(strings.NewReader("something else")))
	// Output:
	// <nil>
	// dnscache: restore: not a snapshot of this version, which begins with the line "hostwise dnscache 1\n"; nothing was taken in
}

func ExampleResolver_NetResolver() {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, Hosts: map[string][]netip.Addr{
		"db.internal.example": {netip.MustParseAddr("192.0.2.7")},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	dialer := &net.Dialer{Resolver: r.NetResolver()} // for gRPC, SQL drivers, SMTP, ...
	addrs, err := dialer.Resolver.LookupHost(context.Background(), "db.internal.example")
	fmt.Println(addrs, err)
	// Output: [192.0.2.7] <nil>
}

// Which nameserver is slow?
func ExampleHooks() {
	r, err := dnscache.New(&dnscache.Options{
		Servers: []string{"192.0.2.53"},
		Hooks: dnscache.Hooks{
			QueryDone: func(q dnscache.QueryDone) {
				if q.Elapsed > time.Second {
					log.Printf("%s took %v for %s", q.Server, q.Elapsed, q.Host)
				}
			},
			LookupDone: func(l dnscache.LookupDone) {
				if hostwise.Retryable(l.Err) {
					log.Printf("lookup of %s failed after %d queries: %v", l.Host, l.Queries, l.Err)
				}
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
}
