//go:build !linux

// Command astrid-shim is the parent of one user program. It needs Linux.
package main

import (
	"os"
)

func main() {
	os.Stderr.WriteString("astrid-shim: needs Linux (PID namespaces, pidfds, memfds)\n")
	os.Exit(1)
}
