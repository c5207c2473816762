//go:build linux

package shim

import (
	"math"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Descriptors that a child of the daemon or of the launcher inherits, beside
// /dev/null as 0, 1 and 2: whoever owns no stdio cannot be killed by writing to
// it.
const (
	launcherConn = 3

	shimLock  = 3
	shimDir   = 4
	shimConn  = 5
	shimSpec  = 6
	shimStdin = 7 // only with Spec.HasStdin; after it, only with Spec.Files, their contents
	shimLast  = 8
)

// Arguments of astrid-shim.
const (
	ModeLaunch = "launch"
	ModeShim   = "shim"
)

// Main is the whole of astrid-shim: it runs as the launcher or as a shim, on
// the descriptors that its parent prepared, and returns the exit status.
func Main(args []string) int {
	if len(args) == 1 && inherited() {
		switch args[0] {
		case ModeLaunch:
			return launchMain()
		case ModeShim:
			return shimMain()
		}
	}
	os.Stderr.WriteString("astrid-shim: started by astridd only; it is of no use by hand\n")
	return 2
}

// inherited makes what the parent passed close-on-exec, so that no program ever
// gets it, and tells whether there is a first descriptor at all.
func inherited() bool {
	if _, err := unix.FcntlInt(launcherConn, unix.F_GETFD, 0); err != nil {
		return false
	}
	if unix.CloseRange(launcherConn, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return true
	}
	for fd := launcherConn; fd <= shimLast; fd++ { // before Linux 5.11
		unix.CloseOnExec(fd)
	}
	return true
}

// catchSignals takes every signal that can be taken and does nothing with it,
// so that neither a program's `kill -QUIT 1` nor a SIGPIPE ends the process. It
// catches and does not ignore: ignoring would be inherited by the program. The
// returned channel tells of children to reap.
func catchSignals() <-chan os.Signal {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	all := make(chan os.Signal, 1)
	signal.Notify(all)
	go func() {
		for range all {
		}
	}()
	return children
}
