//go:build linux

package internet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
)

// Check says what this machine lacks for a run, and how to get it.
func Check() error {
	errs := []error{namespace.Check(
		namespace.Program{Name: "chrt", Package: "util-linux"},
		namespace.Program{Name: "nice", Package: "coreutils"},
	)}
	if _, err := exec.LookPath("chrt"); err == nil && os.Geteuid() == 0 {
		if err := namespace.Run("chrt", "-r", realTime, "true"); err != nil {
			errs = append(errs, fmt.Errorf("no real-time priority, the capability CAP_SYS_NICE is missing; in a container: --cap-add SYS_NICE (%w)", err))
		}
	}
	return errors.Join(errs...)
}
