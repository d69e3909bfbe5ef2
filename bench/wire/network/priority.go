//go:build linux

package network

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Priorities in real time, see sched(7). On a shared machine neither the
// client nor the ruler must wait for its turn, or the times are not the
// client's. The ruler comes first: a packet is stamped when it comes, not when
// other clients have done their work.
const (
	rulerPriority  = 2
	clientPriority = 1
)

func roundRobin(priority uint32) *unix.SchedAttr {
	return &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: priority}
}

// SetRealTime gives real-time priority to all threads of this process, and so
// to those to come.
func SetRealTime() error {
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
			case now.Policy == unix.SCHED_RR && now.Priority == rulerPriority:
				continue
			}
			if err := unix.SchedSetAttr(id, roundRobin(rulerPriority), 0); err != nil && err != unix.ESRCH {
				return fmt.Errorf("the capability CAP_SYS_NICE is missing; in a container: --cap-add SYS_NICE: %w", err)
			}
			changed = true
		}
		if !changed { // a thread that is new by now inherits from one that had it
			return nil
		}
	}
}

// startClient starts a process with the priority of clients, if the ruler has
// its own: a process inherits from the thread that starts it.
func startClient(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if now, err := unix.SchedGetAttr(0, 0); err == nil && now.Policy == unix.SCHED_RR {
			if err := unix.SchedSetAttr(0, roundRobin(clientPriority), 0); err != nil {
				done <- err
				return
			}
		}
		done <- cmd.Start()
	}()
	return <-done
}
