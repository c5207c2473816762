//go:build crashpoints && unix

package crashpoint

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// die ends the process at once. The init of a PID namespace cannot be killed
// from inside it, so there it leaves by a bare exit_group, which runs no more
// of our code than SIGKILL would.
func die() {
	if os.Getpid() == 1 {
		syscall.Exit(128 + int(unix.SIGKILL))
	}
	if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
		panic(err)
	}
}
