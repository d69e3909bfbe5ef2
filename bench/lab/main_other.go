//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "lab: runs on Linux only: it needs network namespaces and TUN devices")
	os.Exit(1)
}
