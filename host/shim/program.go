//go:build linux

package shim

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// program is the one process that the shim was made for.
type program struct {
	pid         int // in the shim's own PID namespace; never leaves the shim
	pidfd       int
	executable  File
	interpreter *File
	boot, wall  int64

	// reaped is set when its status has been collected. From then on its
	// number may name somebody else.
	reaped bool
}

// stepError says at which step a program could not be started.
type stepError struct {
	step   string
	detail string
	err    error
}

func (e *stepError) Error() string { return e.step + ": " + e.detail + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// errno returns the error number of e, EIO for what has none.
func (e *stepError) errno() uint32 {
	var n syscall.Errno
	if errors.As(e.err, &n) {
		return uint32(n)
	}
	return uint32(unix.EIO)
}

// start runs the program with its standard streams. It must be called on the
// jail's thread: what was set there is inherited.
func start(spec *Spec, stdio [3]int) (*program, *stepError) {
	if err := unix.Chdir(spec.Dir); err != nil {
		return nil, &stepError{"chdir", spec.Dir, err}
	}
	path, err := lookPath(spec.Path, spec.Env)
	if err != nil {
		return nil, &stepError{"resolve", spec.Path, err}
	}
	p := &program{pidfd: -1}
	p.executable, p.interpreter, err = describe(path, spec.Dir)
	if err != nil {
		return nil, &stepError{"resolve", path, err}
	}
	attr := &syscall.SysProcAttr{Setsid: true, PidFD: &p.pidfd}
	if spec.Isolation == IsolationNone {
		// Without a namespace the program would outlive a killed shim, with
		// nobody to take its exit. The signal comes when this thread ends,
		// which is when the shim does.
		attr.Pdeathsig = unix.SIGKILL
	}
	p.boot, p.wall = boottime(), walltime()
	p.pid, err = syscall.ForkExec(path, spec.Argv, &syscall.ProcAttr{
		Env: spec.Env, Files: []uintptr{uintptr(stdio[0]), uintptr(stdio[1]), uintptr(stdio[2])}, Sys: attr,
	})
	if err != nil {
		return nil, &stepError{"exec", execDetail(path, p.interpreter, err), err}
	}
	return p, nil // with a pidfd: since Linux 5.2 the clone gives one or fails
}

// execDetail tells of the interpreter when the kernel's ENOENT means that one.
func execDetail(path string, interpreter *File, err error) string {
	if interpreter != nil && err == unix.ENOENT {
		return path + " (interpreter " + interpreter.Path + ")"
	}
	return path
}

// streams are the shim's ends of the program's standard streams.
type streams struct {
	in       *stdin
	out, err *os.File
}

// openStdio returns what the program gets as its standard streams, and the
// other ends.
func openStdio(spec *Spec) (stdio [3]int, ends streams, err error) {
	stdio = [3]int{-1, -1, -1}
	if ends.in, stdio[0], err = openInput(spec); err != nil {
		return stdio, ends, err
	}
	if ends.out, stdio[1], err = outputPipe("stdout"); err != nil {
		return stdio, ends, err
	}
	ends.err, stdio[2], err = outputPipe("stderr")
	return stdio, ends, err
}

// openInput returns what the program reads: a pipe that stays open, the prelude
// itself, or nothing.
func openInput(spec *Spec) (*stdin, int, error) {
	if spec.KeepStdin {
		return openStdin(spec)
	}
	if spec.HasStdin {
		return &stdin{}, shimStdin, nil
	}
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return &stdin{}, fd, os.NewSyscallError("open /dev/null", err)
}

// outputPipe makes a pipe whose reading end waits in the runtime's poller and
// whose writing end blocks, as programs expect.
func outputPipe(name string) (*os.File, int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, os.NewSyscallError("pipe", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return nil, -1, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(p[0]), name), p[1], nil
}

func closeStdio(stdio [3]int) {
	for _, fd := range stdio {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
