//go:build linux

package network

import (
	"strings"

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
	return ip(
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
		return ip(in+"addr add "+address+" nodad", in+"route add default dev "+clientDevice)
	}
	return ip(in+"route del default dev "+clientDevice, in+"addr del "+address)
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
