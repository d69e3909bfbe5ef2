//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/internet"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

const worldCommand = "world" // FILE, with an internet.Config

func serveWorld(configFile string) error {
	b, err := os.ReadFile(configFile)
	if err != nil {
		return err
	}
	var c internet.Config
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	return internet.Serve(c)
}

// worldProcess is the mini-internet of one run, in a process of its own.
type worldProcess struct {
	cmd     *exec.Cmd
	output  bytes.Buffer // to be read when it has exited
	exited  chan struct{}
	control *http.Client
}

// startWorld returns when the world is up.
func startWorld(ctx context.Context, c internet.Config, dir string) (*worldProcess, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	configFile := filepath.Join(dir, "world.json")
	if err := os.WriteFile(configFile, b, 0o644); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := internet.Command(self, worldCommand, configFile)
	p := &worldProcess{cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = ownGroup()
	p.control = &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.Control)
		}},
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // p.cmd.ProcessState says how it ended
	}()
	if err := p.awaitStart(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *worldProcess) awaitStart(ctx context.Context) error {
	timeout := time.After(5 * time.Second)
	for {
		_, err := p.stats()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.exited:
			return fmt.Errorf("the world did not come up: %v: %s", p.cmd.ProcessState, tail(&p.output))
		case <-timeout:
			return fmt.Errorf("the world did not come up: %w", err)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func (p *worldProcess) stats() (s world.Stats, err error) {
	resp, err := p.control.Get("http://control/stats")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// stop ends the process, and kills it if it does not end.
func (p *worldProcess) stop() {
	if resp, err := p.control.Get("http://control/quit"); err == nil {
		resp.Body.Close()
	}
	p.control.CloseIdleConnections()
	select {
	case <-p.exited:
	case <-time.After(3 * time.Second):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			fmt.Fprintln(os.Stderr, "lab: the world goes on:", err)
			return
		}
		<-p.exited
	}
}

// ownGroup keeps a Ctrl-C at the terminal from a process, which ends when it
// is told to, and at the latest with this one.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// tail is the end of what a process has printed.
func tail(b *bytes.Buffer) []byte {
	const enough = 1500
	out := bytes.TrimSpace(b.Bytes())
	return out[max(0, len(out)-enough):]
}
