//go:build linux

package namespace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	namespaceDir = "/var/run/netns" // where iproute2 keeps namespaces by name
	etcDir       = "/etc/netns"     // ... and the files that replace those of /etc in each
)

// A Pair is the names of two network namespaces.
type Pair struct {
	Client   string `json:"client"`
	Internet string `json:"internet"`
}

// NewPair names the namespaces that this process makes for a purpose. It makes
// nothing.
func NewPair(purpose string) Pair {
	return Pair{
		Client:   fmt.Sprintf("hostwise-%s-%d-client", purpose, os.Getpid()),
		Internet: fmt.Sprintf("hostwise-%s-%d-internet", purpose, os.Getpid()),
	}
}

// Create makes both namespaces, without devices, and the client's resolv.conf.
// After an error, what was made so far is for [Pair.Remove].
func (p Pair) Create(resolvConf string) error {
	for _, name := range []string{p.Client, p.Internet} {
		if err := Run("ip", "netns", "add", name); err != nil {
			return fmt.Errorf("%w (in a container: --privileged, or --cap-add SYS_ADMIN --cap-add NET_ADMIN)", err)
		}
		if err := Run("ip", "-n", name, "link", "set", "lo", "up"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(etcDir, p.Client), 0o755); err != nil {
		return err
	}
	for file, content := range map[string]string{
		"nsswitch.conf": "hosts: files dns\n",
		"hosts":         "127.0.0.1 localhost\n",
	} {
		if err := p.writeEtc(file, content); err != nil {
			return err
		}
	}
	return p.SetResolvConf(resolvConf)
}

// SetResolvConf replaces the resolv.conf of the programs that are started in
// the client's namespace from now on.
func (p Pair) SetResolvConf(content string) error {
	return p.writeEtc("resolv.conf", content)
}

func (p Pair) writeEtc(file, content string) error {
	return os.WriteFile(filepath.Join(etcDir, p.Client, file), []byte(content), 0o644)
}

// Remove removes all that Create made.
func (p Pair) Remove() error {
	var errs []error
	for _, name := range []string{p.Client, p.Internet} {
		if _, err := os.Stat(filepath.Join(namespaceDir, name)); err == nil {
			errs = append(errs, Run("ip", "netns", "del", name))
		}
	}
	errs = append(errs, os.RemoveAll(filepath.Join(etcDir, p.Client)))
	_ = os.Remove(etcDir) // only if it is empty
	return errors.Join(errs...)
}

// Exists reports whether anything is there that Create made.
func (p Pair) Exists() bool {
	for _, name := range []string{p.Client, p.Internet} {
		for _, dir := range []string{namespaceDir, etcDir} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return true
			}
		}
	}
	return false
}
