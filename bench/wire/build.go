//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const clientPackage = "github.com/hostwise-go/hostwise/bench/wireclient"

// buildClient builds hostwise's client.
func buildClient(ctx context.Context, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, clientPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return errors.New(`the program "go" is missing, for building the client; with sudo: sudo env PATH="$PATH" go run ./wire`)
	case err != nil:
		return fmt.Errorf("cannot build hostwise's client (run this from the folder bench, or name another one with -client): %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
