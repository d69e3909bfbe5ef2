//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "wire: runs on Linux only: it needs network namespaces and TUN devices")
	os.Exit(2)
}
