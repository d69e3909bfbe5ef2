package simnet_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/hostwise-go/hostwise/internal/simnet"
)

func Example() {
	n := simnet.New(1)
	d := n.ServeDNS("192.0.2.53:53")
	defer d.Close()
	d.AddHost("a.test", 300, netip.MustParseAddr("192.0.2.1"))
	l, err := n.Listen("192.0.2.1:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return n.DialContext(ctx, network, "192.0.2.53:53")
		},
	}
	ctx := context.Background()
	addrs, err := resolver.LookupNetIP(ctx, "ip4", "a.test.")
	fmt.Println(addrs, err)

	c, err := n.DialContext(ctx, "tcp", "192.0.2.1:80")
	fmt.Println(c.LocalAddr().(*net.TCPAddr).IP, c.RemoteAddr(), err)
	c.Close()

	n.SetLink(addrs[0], simnet.Link{Fault: simnet.NoRoute})
	_, err = n.DialContext(ctx, "tcp", "192.0.2.1:80")
	fmt.Println(err)
	fmt.Printf("%+v\n", n.Stats().Hosts[addrs[0]])
	// Output:
	// [192.0.2.1] <nil>
	// 10.0.0.1 192.0.2.1:80 <nil>
	// dial tcp 192.0.2.1:80: connect: network is unreachable
	// {Dials:2 SYNs:1 Established:1 Canceled:0 Datagrams:0}
}
