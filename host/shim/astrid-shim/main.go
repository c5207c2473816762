//go:build linux

// Command astrid-shim is the parent of one user program, and the launcher of
// such parents. The daemon starts it; it is of no use by hand. See the package
// host/shim.
package main

import (
	"os"

	"github.com/astrid-os/processledger/host/shim"
)

func main() { os.Exit(shim.Main(os.Args[1:])) }
