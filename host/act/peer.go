//go:build linux

package act

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// errStranger is about whoever listens in a process directory without being its
// shim: a program of the same user can bind a socket of that name.
var errStranger = errors.New("who listens in the process directory is not its shim")

// peer takes hold of whoever listens on the socket, by the kernel's own knowledge
// of it, and proves that it is the shim of the child's directory. claimed is whom
// `ready` names; before Linux 6.5 it must be that one.
func (c *Child) peer(claimed event.Identity) (*pidfd, error) {
	pid, uid, err := c.conn.PeerCred()
	if err != nil || uid != uint32(os.Geteuid()) {
		return nil, fmt.Errorf("%w: it is of user %d", errStranger, uid)
	}
	fd, err := c.conn.PeerPidfd()
	if err != nil || c.h.oldKernel {
		closeFD(fd)
		fd, err = c.h.openIdentity(claimed)
	}
	if err != nil {
		return nil, err
	}
	number, err := shim.NumberOf(c.h.procfd, fd)
	if err == nil && number != int(pid) {
		err = fmt.Errorf("%w: it is process %d", errStranger, pid)
	}
	if err == nil {
		c.placed, err = c.h.proveShim(number, c.dirfd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newPidfd(fd)
}

// checkHandle compares the handle that a shim tells, if it is of a version that
// does, with the child's.
func (c *Child) checkHandle(m *shim.Message) error {
	if len(m.Handle) > 0 && !bytes.Equal(m.Handle, c.id[:]) {
		return fmt.Errorf("%w: it is that of handle %x", errStranger, m.Handle)
	}
	return nil
}

// proveShim tells whether a process is the shim of a directory: it calls itself a
// shim, works in that directory, and is not below a shim, as everything is that a
// capsule runs. The caller holds a pidfd of it. placed is false where it cannot be
// seen where it works, as by an ordinary user of a shim without a namespace.
func (h *Hands) proveShim(pid, dirfd int) (placed bool, err error) {
	if !shim.IsShim(h.procfd, pid) {
		return false, fmt.Errorf("%w: process %d calls itself something else", errStranger, pid)
	}
	here, placed := shim.WorksIn(h.procfd, pid, dirfd)
	if placed && !here {
		return true, fmt.Errorf("%w: process %d is that of another directory", errStranger, pid)
	}
	below, err := shim.BelowShim(h.procfd, pid)
	if err != nil {
		return placed, fmt.Errorf("%w: %w", errStranger, err)
	}
	if below {
		return placed, fmt.Errorf("%w: process %d is what a capsule runs", errStranger, pid)
	}
	return placed, nil
}

// IsShim tells whether a process calls itself a shim, for whoever asks on whose
// behalf a process runs: everything below a shim is a capsule's program.
func IsShim(pid uint32) bool {
	procfd, err := shim.OpenProc()
	if err != nil {
		return false
	}
	defer unix.Close(procfd)
	return shim.IsShim(procfd, int(pid))
}

// openIdentity returns a pidfd of the process of this boot that i names; see
// shim.OpenIdentity.
func (h *Hands) openIdentity(i event.Identity) (fd int, err error) {
	id := shimIdentity(i)
	if h.oldKernel {
		id.PidfsHandle = nil
	}
	return shim.OpenIdentity(h.procfd, id)
}

// openShim returns a pidfd of the shim of a directory, unix.ESRCH if there is
// none: the one that `ready` names, or, as that record may be damaged or
// another's work, whichever shim works there.
func (h *Hands) openShim(claimed event.Identity, dirfd int) (fd int, err error) {
	fd, err = h.openIdentity(claimed)
	if err == nil {
		if _, perr := h.proveShim(int(claimed.PID), dirfd); perr == nil {
			return fd, nil
		}
		unix.Close(fd)
	}
	if err != nil && err != unix.ESRCH {
		return -1, err
	}
	for _, pid := range shim.Shims(h.procfd, dirfd) {
		if fd, err = unix.PidfdOpen(pid, 0); err != nil {
			continue
		}
		if placed, err := h.proveShim(pid, dirfd); placed && err == nil {
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, unix.ESRCH
}
