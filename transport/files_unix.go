//go:build unix

package transport

import (
	"math"
	"syscall"
)

// halfOfFiles is half of the file descriptors that the process may have, and
// at least the 2 that a race takes; 0: there is no bound.
func halfOfFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	half := uint64(limit.Cur) / 2
	if half > math.MaxInt32 { // RLIM_INFINITY, or as good as
		return 0
	}
	return max(2, int(half))
}
