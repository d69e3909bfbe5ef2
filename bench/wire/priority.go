//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// setRealTime gives real-time priority to all threads of this process, and so
// to the client, which inherits it: on a shared machine neither must wait for
// its turn, or the times are not the client's. "chrt -r 1" does the same.
func setRealTime() error {
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		changed := false
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			switch now, err := unix.SchedGetAttr(id, 0); {
			case err == unix.ESRCH: // it has ended
				continue
			case err != nil:
				return fmt.Errorf("thread %d: %w", id, err)
			case now.Policy == unix.SCHED_RR || now.Policy == unix.SCHED_FIFO:
				continue
			}
			if err := unix.SchedSetAttr(id, attr, 0); err != nil && err != unix.ESRCH {
				return fmt.Errorf("the capability CAP_SYS_NICE is missing; in a container: --cap-add SYS_NICE: %w", err)
			}
			changed = true
		}
		if !changed { // threads inherit it; a new one had none only if its parent had none
			return nil
		}
	}
}
