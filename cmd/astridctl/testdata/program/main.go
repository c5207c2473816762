// Command program is the WASI program of the tests of run: it does what its
// first argument says.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/astrid-os/processledger/guest/process"
)

func main() {
	switch os.Args[1] {
	case "args": // says its arguments
		fmt.Printf("%q\n", os.Args[1:])
	case "echo": // says each line of its input again, and how many there were
		lines, n := bufio.NewScanner(os.Stdin), 0
		for ; lines.Scan(); n++ {
			fmt.Println("heard", lines.Text())
		}
		fmt.Fprintln(os.Stderr, n, "lines")
	case "exit": // leaves with a code
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			panic(err)
		}
		os.Exit(code)
	case "spawn": // runs a shell
		r, err := process.Spawn(process.Request{Cmd: "sh", Args: []string{"-c", os.Args[2]}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(9)
		}
		fmt.Print(r.Stdout)
	case "wait": // until it is cancelled
		for {
			time.Sleep(10 * time.Millisecond)
		}
	}
}
