//go:build linux

package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

const (
	clientDevice   = "wc0"
	internetDevice = "wi0"
)

// configure gives the devices their addresses and routes, but the client's
// IPv6. The internet's side takes the pools of addresses for local (AnyIP).
func configure(p namespace.Pair) error {
	ipv6 := map[string]string{
		"ipv6/conf/all/disable_ipv6":     "0",
		"ipv6/conf/default/disable_ipv6": "0",
	}
	for _, name := range []string{p.Client, p.Internet} {
		if err := namespace.SetSysctls(name, ipv6); err != nil {
			return err
		}
	}
	err := ip(
		"-n "+p.Client+" link set "+clientDevice+" up",
		"-n "+p.Client+" addr add "+scenario.ClientV4.String()+" dev "+clientDevice,
		"-n "+p.Client+" route add default dev "+clientDevice,
		"-n "+p.Internet+" link set "+internetDevice+" up",
		"-n "+p.Internet+" addr add "+scenario.Nameserver4.String()+"/32 dev "+internetDevice,
		"-n "+p.Internet+" addr add "+scenario.Nameserver6.String()+"/128 dev "+internetDevice+" nodad",
		"-n "+p.Internet+" route add local "+scenario.ServersV4.String()+" dev lo",
		"-n "+p.Internet+" -6 route add local "+scenario.ServersV6.String()+" dev lo",
		"-n "+p.Internet+" route add default dev "+internetDevice,
		"-n "+p.Internet+" -6 route add default dev "+internetDevice,
	)
	if err != nil {
		return err
	}
	return awaitIPv6(p.Internet, scenario.Nameserver6)
}

// setClientIPv6 gives the client an IPv6 address and a default route, or takes
// both away.
func (n *Network) setClientIPv6(on bool) error {
	if n.clientHasIPv6 == on {
		return nil
	}
	n.clientHasIPv6 = on
	in := "-n " + n.pair.Client + " -6 "
	address := scenario.ClientV6.String() + " dev " + clientDevice
	if on {
		if err := ip(in+"addr add "+address+" nodad", in+"route add default dev "+clientDevice); err != nil {
			return err
		}
		return awaitIPv6(n.pair.Client, scenario.ClientV6.Addr())
	}
	return ip(in+"route del default dev "+clientDevice, in+"addr del "+address)
}

// awaitIPv6 waits until an address that was added is good for packets that come
// to it. The kernel sees to that some time later.
func awaitIPv6(name string, a netip.Addr) error {
	return namespace.Inside(name, func() error {
		c, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			return err
		}
		defer c.Close()
		for range 100 {
			if _, err = c.WriteTo([]byte("to myself"), c.LocalAddr()); err == nil {
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if _, _, err = c.ReadFrom(make([]byte, 16)); err == nil {
					return nil
				}
			}
		}
		return fmt.Errorf("%v in %s does not come up: %w", a, name, err)
	})
}

// ip runs the program of that name, once for each line of arguments.
func ip(lines ...string) error {
	for _, arguments := range lines {
		if err := namespace.Run(append([]string{"ip"}, strings.Fields(arguments)...)...); err != nil {
			return err
		}
	}
	return nil
}
