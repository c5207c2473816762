//go:build !wasip1

package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/astrid-os/processledger/guest/process"
)

// Run a program and look at what it wrote.
func ExampleSpawn() {
	res, err := process.Spawn(process.Request{Cmd: "git", Args: []string{"status", "--short"}})
	switch {
	case errors.Is(err, process.ErrDenied):
		fmt.Println("the manifest does not name git")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Print(res.Stdout)
	}
	// Output: guest: not running in a capsule
}

// Show what a program prints while it runs.
func ExampleHandle_Follow() {
	h, err := process.SpawnBackground(process.Request{Cmd: "go", Args: []string{"test", "./..."}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Drop()
	exit, err := h.Follow(os.Stdout, os.Stderr)
	fmt.Println(exit, err)
	// Output: guest: not running in a capsule
}

// Give a program a policy that neither it nor its children can change.
func ExampleFile() {
	_, err := process.SpawnBackground(process.Request{
		Cmd: "agent",
		Files: []process.File{
			{Content: []byte(`{"network": false}`), Env: "AGENT_POLICY_FILE"},
			{Content: []byte("deny = [\"*\"]\n"), Path: "/etc/agent/requirements.toml"},
		},
	})
	fmt.Println(err)
	// Output: guest: not running in a capsule
}

// Start a server that outlives this call, the instance and the host's daemon,
// or find the one that runs.
func ExampleSpawnPersistent() {
	running, err := process.List("dev-server")
	if err != nil {
		fmt.Println(err)
		return
	}
	if len(running) > 0 {
		fmt.Println("runs since", running[0].Age)
		return
	}
	id, err := process.SpawnPersistent(process.Request{
		Cmd: "python3", Args: []string{"-m", "http.server", "8000"},
		Label: "dev-server", Lifetime: 2 * time.Hour, Idle: time.Hour,
	})
	fmt.Println(id, err)
	// Output: guest: not running in a capsule
}

// Read a log line by line, from where the last reader stopped.
func ExampleID_Tail() {
	var id process.ID       // from SpawnPersistent or List
	var last process.Cursor // as it was kept; empty begins at the beginning

	tail := id.Tail(process.Stdout, last)
	for lines := bufio.NewScanner(tail); lines.Scan(); {
		fmt.Println(lines.Text())
	}
	last = tail.Cursor()
	if tail.Dropped() > 0 {
		fmt.Println(tail.Dropped(), "bytes were lost")
	}
	// Output:
}

// Talk to a program that waits for input between the calls of the capsule.
func ExampleID_Stdin() {
	id, err := process.SpawnPersistent(process.Request{Cmd: "psql", Label: "psql", KeepStdinOpen: true, Overflow: process.Backpressure})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintln(id.Stdin(), "select 1;")
	// Output: guest: not running in a capsule
}
