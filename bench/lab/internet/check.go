//go:build linux

package internet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Check says what this machine lacks for a run, and how to get it.
func Check() error {
	var errs []error
	for _, need := range []struct{ program, pkg string }{{"ip", "iproute2"}, {"chrt", "util-linux"}, {"nice", "coreutils"}} {
		if _, err := exec.LookPath(need.program); err != nil {
			errs = append(errs, fmt.Errorf("the program %q is missing: apt-get install %s", need.program, need.pkg))
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
	if _, err := exec.LookPath("chrt"); err == nil {
		if err := run("chrt", "-r", realTime, "true"); err != nil {
			errs = append(errs, fmt.Errorf("no real-time priority, the capability CAP_SYS_NICE is missing; in a container: --cap-add SYS_NICE (%w)", err))
		}
	}
	return errors.Join(errs...)
}
