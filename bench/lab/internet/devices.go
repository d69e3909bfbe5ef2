//go:build linux

package internet

import (
	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

const (
	clientDevice   = "tc0"
	internetDevice = "ti0"
)

// configure gives the devices their addresses and routes. Each host has
// addresses of its own: the internet's side takes whole networks for local
// (AnyIP). 127.0.0.0/8 would not do, since the kernel refuses to carry it over
// a device, and without a device there is no delay and no lost SYN.
func configure(ns namespace.Pair, v6 bool) error {
	sysctls := map[string]string{
		"ipv4/ip_local_port_range": "10000 65000",
		"ipv4/tcp_max_syn_backlog": "16384",
		"core/somaxconn":           "16384",
	}
	for _, name := range []string{ns.Client, ns.Internet} {
		if err := namespace.SetSysctls(name, sysctls); err != nil {
			return err
		}
	}
	commands := [][]string{
		{"ip", "-n", ns.Client, "addr", "add", world.ClientV4.String() + "/32", "dev", clientDevice},
		{"ip", "-n", ns.Client, "link", "set", clientDevice, "txqueuelen", "20000", "up"},
		{"ip", "-n", ns.Client, "route", "add", "default", "dev", clientDevice},
		{"ip", "-n", ns.Internet, "link", "set", internetDevice, "txqueuelen", "20000", "up"},
		{"ip", "-n", ns.Internet, "route", "add", "local", world.V4Net.String(), "dev", "lo"},
		{"ip", "-n", ns.Internet, "-6", "route", "add", "local", world.V6Net.String(), "dev", "lo"},
		{"ip", "-n", ns.Internet, "route", "add", "default", "dev", internetDevice},
		{"ip", "-n", ns.Internet, "-6", "route", "add", "default", "dev", internetDevice},
	}
	if v6 {
		commands = append(commands,
			[]string{"ip", "-n", ns.Client, "-6", "addr", "add", world.ClientV6.String() + "/128", "dev", clientDevice, "nodad"},
			[]string{"ip", "-n", ns.Client, "-6", "route", "add", "default", "dev", clientDevice, "src", world.ClientV6.String()})
	}
	for _, c := range commands {
		if err := namespace.Run(c...); err != nil {
			return err
		}
	}
	return nil
}
