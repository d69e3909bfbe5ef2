//go:build linux

package network

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise/bench/wire/contract"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// A Client is the program that is measured.
type Client struct {
	Command string        // for sh; it gets the URLs as arguments
	Timeout time.Duration // what it is told to give each fetch
}

// Run runs a client through a scenario. A client that fails is no error: the
// record says so. The packets go to the file pcap, too, unless that is empty.
func (n *Network) Run(ctx context.Context, s *scenario.Scenario, c Client, pcap string) (*record.Run, error) {
	if err := n.setClientIPv6(!s.NoIPv6); err != nil {
		return nil, err
	}
	if err := n.pair.SetResolvConf(n.resolvConf(s)); err != nil {
		return nil, err
	}
	capture, err := newCapture(pcap)
	if err != nil {
		return nil, err
	}
	run := &record.Run{Nonce: fmt.Sprintf("%x", time.Now().UnixNano())}
	r := newRecorder(s, run.Nonce, capture)
	n.toClient.Clear()
	n.current.Store(r)
	err = n.runClient(ctx, s, c, run)
	time.Sleep(30 * time.Millisecond) // the last packets pass
	r.copyTo(run)
	n.current.Store(nil)
	if failed := capture.close(); err == nil {
		err = failed
	}
	return run, err
}

func (n *Network) runClient(ctx context.Context, s *scenario.Scenario, c Client, run *record.Run) error {
	// A client that does not come to an end is killed.
	ctx, cancel := context.WithTimeout(ctx, c.Timeout*time.Duration(len(s.Fetches))+10*time.Second)
	defer cancel()
	args := []string{"netns", "exec", n.pair.Client, "/bin/sh", "-c", "exec " + c.Command + ` "$@"`, "client"}
	for i := range s.Fetches {
		args = append(args, s.URL(i, run.Nonce))
	}
	settings := contract.Settings{
		Timeout:     c.Timeout,
		Gap:         s.Gap,
		Concurrency: s.Concurrency,
		DNS:         nameserver4,
		DNS6:        nameserver6,
		Insecure:    true,
	}
	for _, a := range s.Nameservers {
		settings.Nameservers = append(settings.Nameservers, net.JoinHostPort(a.String(), "53"))
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Env = append(os.Environ(), settings.Environ()...)
	// A group of its own, for the client may have children, and a Ctrl-C at
	// the terminal is for us to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var output, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &errors
	run.Start = time.Now()
	if err := startClient(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		run.Exit = err.Error()
	}
	run.End = time.Now()
	run.Output, run.Errors = output.String(), errors.String()
	return nil
}

// resolvConf is for clients that read it. Where "ip netns exec" runs them, it
// stands at /etc/resolv.conf.
func (n *Network) resolvConf(s *scenario.Scenario) string {
	var b strings.Builder
	for _, a := range s.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	if n.resolvOptions != "" {
		fmt.Fprintf(&b, "options %s\n", n.resolvOptions)
	}
	return b.String()
}
