// Command program is a WASI program for tests: what it does is its first
// argument.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/astrid-os/processledger/guest/process"
)

func main() {
	switch os.Args[1] {
	case "cat":
		n, err := io.Copy(os.Stdout, os.Stdin)
		fmt.Fprintln(os.Stderr, n, err, os.Args[2:], os.Environ())
		if len(os.Args) > 2 {
			os.Exit(3)
		}
	case "spawn":
		r, err := process.Spawn(process.Request{Cmd: os.Args[2], Args: os.Args[3:]})
		if err != nil {
			fmt.Println("refused:", err)
			os.Exit(4)
		}
		fmt.Print(r.Stdout)
	case "leave": // a process behind
		if _, err := process.SpawnBackground(process.Request{Cmd: "sleep", Args: []string{"600"}}); err != nil {
			panic(err)
		}
	case "panic":
		panic("the program gives up")
	case "spin":
		for {
		}
	case "sleep":
		time.Sleep(time.Hour)
	}
}
