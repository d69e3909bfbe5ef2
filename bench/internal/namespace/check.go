//go:build linux

package namespace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// A Program is one that is needed, and the Debian package that holds it.
type Program struct{ Name, Package string }

// Check says what this machine lacks for making namespaces and devices, and
// which of the programs, and how to get it.
func Check(programs ...Program) error {
	var errs []error
	for _, need := range append([]Program{{"ip", "iproute2"}}, programs...) {
		if _, err := exec.LookPath(need.Name); err != nil {
			errs = append(errs, fmt.Errorf("the program %q is missing: apt-get install %s", need.Name, need.Package))
		}
	}
	if os.Geteuid() != 0 {
		// What follows would fail for this reason only.
		return errors.Join(append(errs, errors.New("must be run as root: it makes network namespaces and TUN devices"))...)
	}
	switch f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); {
	case err == nil:
		f.Close()
	case errors.Is(err, os.ErrNotExist):
		errs = append(errs, errors.New("no TUN device /dev/net/tun: modprobe tun (apt-get install kmod); in a container: --device /dev/net/tun"))
	default:
		errs = append(errs, fmt.Errorf("no use of TUN devices, the capability CAP_NET_ADMIN is missing; in a container: --cap-add NET_ADMIN (%w)", err))
	}
	return errors.Join(errs...)
}
