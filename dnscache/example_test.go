package dnscache_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
)

func ExampleNew() {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53", "tcp://192.0.2.54:5353"}, MaxHosts: 100_000})
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
	// 192.0.2.54:5353
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
