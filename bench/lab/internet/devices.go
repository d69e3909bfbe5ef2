//go:build linux

package internet

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hostwise-go/hostwise/bench/lab/world"
)

const (
	clientDevice   = "tc0"
	internetDevice = "ti0"
)

// openTUN makes a TUN device in a namespace.
func openTUN(namespace, name string) (*os.File, error) {
	var f *os.File
	err := inside(namespace, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			_ = unix.Close(fd)
			return err
		}
		// Not before the ioctl: the runtime's poller must meet the device, or
		// it never hears of a packet.
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("TUN device %s in %s: %w", name, namespace, err)
	}
	return f, nil
}

// configure gives the devices their addresses and routes. Each host has
// addresses of its own: the internet's side takes whole networks for local
// (AnyIP). 127.0.0.0/8 would not do, since the kernel refuses to carry it over
// a device, and without a device there is no delay and no lost SYN.
func configure(ns Namespaces, v6 bool) error {
	for _, name := range []string{ns.Client, ns.Internet} {
		if err := inside(name, setSysctls); err != nil {
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
		if err := run(c...); err != nil {
			return err
		}
	}
	return nil
}

// setSysctls sets what it can: not every kernel has every key.
func setSysctls() error {
	for key, value := range map[string]string{
		"ipv4/tcp_no_metrics_save":               "1", // no connection learns from another
		"ipv4/ip_local_port_range":               "10000 65000",
		"ipv4/tcp_max_syn_backlog":               "16384",
		"core/somaxconn":                         "16384",
		"ipv4/conf/all/rp_filter":                "0",
		"ipv4/conf/default/rp_filter":            "0",
		"ipv6/conf/all/router_solicitations":     "0",
		"ipv6/conf/default/router_solicitations": "0",
		"ipv6/conf/all/accept_dad":               "0",
		"ipv6/conf/default/accept_dad":           "0",
	} {
		_ = os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644)
	}
	return nil
}
