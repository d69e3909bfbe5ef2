//go:build linux

package internet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	namespaceDir = "/var/run/netns" // where iproute2 keeps namespaces by name
	etcDir       = "/etc/netns"     // ... and the files that replace those of /etc in each
)

// Namespaces are the two network namespaces of one run.
type Namespaces struct {
	Client   string `json:"client"`
	Internet string `json:"internet"`
}

// NewNamespaces names the namespaces of this process. It makes nothing.
func NewNamespaces() Namespaces {
	return Namespaces{
		Client:   fmt.Sprintf("hostwise-lab-%d-client", os.Getpid()),
		Internet: fmt.Sprintf("hostwise-lab-%d-internet", os.Getpid()),
	}
}

// Create makes both namespaces, without devices, and the client's resolv.conf.
// After an error, what was made so far is for [Namespaces.Remove].
func (n Namespaces) Create(resolvConf string) error {
	for _, name := range []string{n.Client, n.Internet} {
		if err := run("ip", "netns", "add", name); err != nil {
			return fmt.Errorf("%w (in a container: --privileged, or --cap-add SYS_ADMIN --cap-add NET_ADMIN)", err)
		}
		if err := run("ip", "-n", name, "link", "set", "lo", "up"); err != nil {
			return err
		}
	}
	dir := filepath.Join(etcDir, n.Client)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for file, content := range map[string]string{
		"resolv.conf":   resolvConf,
		"nsswitch.conf": "hosts: files dns\n",
		"hosts":         "127.0.0.1 localhost\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes all that Create made.
func (n Namespaces) Remove() error {
	var errs []error
	for _, name := range []string{n.Client, n.Internet} {
		if _, err := os.Stat(filepath.Join(namespaceDir, name)); err == nil {
			errs = append(errs, run("ip", "netns", "del", name))
		}
	}
	errs = append(errs, os.RemoveAll(filepath.Join(etcDir, n.Client)))
	_ = os.Remove(etcDir) // only if it is empty
	return errors.Join(errs...)
}

// inside runs f on a thread that is inside a namespace.
func inside(namespace string, f func() error) error {
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

// run runs a program to its end. A Ctrl-C at the terminal does not reach it,
// so that cleaning up is not cut short.
func run(command ...string) error {
	c := exec.Command(command[0], command[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
