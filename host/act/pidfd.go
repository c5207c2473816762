//go:build linux

package act

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// pidfd is a process that stays the same one whatever its number becomes.
// Waiting for its end goes through the runtime's poller and costs no thread.
type pidfd struct {
	f  *os.File
	rc syscall.RawConn
}

// newPidfd takes over fd, also on error.
func newPidfd(fd int) (*pidfd, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl pidfd", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &pidfd{f, rc}, nil
}

func (p *pidfd) close() {
	if p != nil {
		p.f.Close()
	}
}

// dup returns another descriptor of the same process, with a deadline of its
// own: two may wait at once only on two of them.
func (p *pidfd) dup() (*pidfd, error) {
	fd, err := -1, error(nil)
	if cerr := p.rc.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("dup pidfd", err)
	}
	return newPidfd(fd)
}

// wait blocks until the process has ended (for the init of a namespace that
// means: its whole namespace has), for at most bound, or without one if bound
// is 0. ErrAlive says that it has not.
func (p *pidfd) wait(bound time.Duration) error { return p.await(unix.POLLIN, bound) }

// reaped blocks until somebody has collected the exit status, like wait.
func (p *pidfd) reaped(bound time.Duration) error { return p.await(unix.POLLHUP, bound) }

func (p *pidfd) await(events int16, bound time.Duration) error {
	var deadline time.Time
	if bound > 0 {
		deadline = time.Now().Add(bound)
	}
	if err := p.f.SetReadDeadline(deadline); err != nil {
		return err
	}
	err := p.rc.Read(func(fd uintptr) bool { return polled(int(fd), events) })
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrAlive
	}
	return err
}

func polled(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&events != 0
}

// signal sends sig; a process that is gone already is no error.
func (p *pidfd) signal(sig unix.Signal) error {
	var sent error
	if err := p.rc.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if sent == unix.ESRCH {
		return nil
	}
	return os.NewSyscallError("pidfd_send_signal", sent)
}

// identity reads who the process is, as /proc shows it; fields that cannot be
// read any more are empty.
func (p *pidfd) identity(procfd int) (i shim.Identity) {
	if p.rc.Control(func(fd uintptr) { i = shim.IdentityOf(procfd, int(fd)) }) != nil {
		return shim.Identity{}
	}
	return i
}

// witness returns the exit that the kernel remembers, nil if it remembers none
// (before Linux 6.15) or the process is not reaped yet.
func (p *pidfd) witness() (exit *event.Exit) {
	err := p.rc.Control(func(fd uintptr) {
		ws, ok := shim.ExitedStatus(int(fd))
		if !ok {
			return
		}
		exit = &event.Exit{}
		if ws.Signaled() {
			n := int32(ws.Signal())
			exit.Signal = &n
		} else {
			n := int32(ws.ExitStatus())
			exit.Code = &n
		}
	})
	if err != nil {
		return nil
	}
	return exit
}
