package demo

import (
	"os/exec"
	"syscall"
)

// terminate asks a daemon to stop in good order.
const terminate = syscall.SIGTERM

// apart keeps the terminal's Ctrl-C, which goes to the whole process group,
// away from the daemon: the demo stops it in its own order.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
