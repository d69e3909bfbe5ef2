//go:build linux

package namespace

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inside runs f on a thread that is inside a namespace. Sockets and devices
// that f opens stay there.
func Inside(namespace string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open(filepath.Join(namespaceDir, namespace))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

// OpenTUN makes a TUN device in a namespace.
func OpenTUN(namespace, name string) (*os.File, error) {
	var f *os.File
	err := Inside(namespace, func() error {
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

// SetSysctls keeps the kernel in a namespace from learning, checking and
// asking of its own accord, and sets the values given, by their path below
// /proc/sys/net. It sets what it can: not every kernel has every key.
func SetSysctls(namespace string, more map[string]string) error {
	return Inside(namespace, func() error {
		for _, values := range []map[string]string{{
			"ipv4/tcp_no_metrics_save":               "1", // no connection learns from another
			"ipv4/conf/all/rp_filter":                "0",
			"ipv4/conf/default/rp_filter":            "0",
			"ipv6/conf/all/router_solicitations":     "0",
			"ipv6/conf/default/router_solicitations": "0",
			"ipv6/conf/all/accept_dad":               "0",
			"ipv6/conf/default/accept_dad":           "0",
		}, more} {
			for key, value := range values {
				_ = os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644)
			}
		}
		return nil
	})
}

// Run runs a program to its end. A Ctrl-C at the terminal does not reach it,
// so that cleaning up is not cut short.
func Run(command ...string) error {
	c := exec.Command(command[0], command[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
