//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// Spec is what a child is to run.
type Spec struct {
	ID        ulid.ULID      // the handle; also the name of the process directory
	Argv      []string       // argv[0] included
	Path      string         // the command as given; without a slash it is looked up in PATH of Env
	Env       []string       // KEY=VALUE, the whole environment
	Dir       string         // absolute working directory
	Stdin     []byte         // what the program reads first, and then EOF; nil: /dev/null
	KeepStdin bool           // after Stdin no EOF: WriteStdin goes on
	RingBytes uint32         // bytes of output kept a stream, clamped to 4 KiB..8 MiB
	Overflow  event.Overflow // what a full ring does; 0: drop-oldest
	Orders    event.Orders   // what the shim carries out alone
	Tier      event.Tier     // for logs only
	Isolation string         // IsolationPIDNS or IsolationNone; empty: Options.Isolation

	// Files are laid before the program, which can read them and do nothing
	// else with them; Workspace is the directory that programs of the same
	// capsule can change. Only in IsolationPIDNS.
	Files     []File
	Workspace string
}

// readyBound is how long a shim may take to become ready: it needs milliseconds,
// and a machine that swaps needs patience.
const readyBound = 30 * time.Second

// Prepare makes the process directory with all its space, starts a shim, and
// returns when the shim waits for "go". Nothing runs: it is no act, and may
// overlap the commit of the decision. On error it leaves nothing behind.
//
// The errors are ErrNoSpace, ErrIsolation, ErrLauncher, ErrShim, ErrFiles, or
// ctx's.
func (h *Hands) Prepare(ctx context.Context, s Spec) (*Child, error) {
	s.Isolation = h.isolation(s.Isolation)
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	c := &Child{h: h, id: s.ID, path: h.path(s.ID), dirfd: -1, notices: newNotices(), in: newStdin(s.KeepStdin)}
	err := c.build(ctx, s)
	closeFD(c.dirfd)
	if err != nil {
		c.discard()
		return nil, fmt.Errorf("prepare %s: %w", s.ID, err)
	}
	if !h.remember(c) {
		c.discard()
		return nil, fmt.Errorf("prepare %s: hands: %w", s.ID, os.ErrClosed)
	}
	go c.follow()
	return c, nil
}

// build does the steps in an order that never leaves a living shim with a free
// lock. A crash anywhere in it leaves a directory without `go`, which recovery
// aborts; a shim that was already there leaves by itself, as its connection
// ends.
func (c *Child) build(ctx context.Context, s Spec) error {
	if err := c.makeDirectory(); err != nil {
		return err
	}
	lock, err := takeLock(c.dirfd)
	if err != nil {
		return noSpace(err)
	}
	defer unix.Close(lock) // the shim has its own; the lock is free when the last is closed
	conn, remote, err := shim.Pair()
	if err != nil {
		return err
	}
	c.conn = conn
	spec := s.wire(c.h.ground(s.Workspace))
	passed, err := memfds(s, shim.EncodeSpec(spec))
	if err == nil {
		var pidfd int
		_, pidfd, err = c.h.launch.shim(ctx, s.Isolation, append([]int{lock, c.dirfd, remote}, passed...))
		if err == nil {
			c.shim, err = newPidfd(pidfd)
		}
	}
	// The shim has its own copies: with ours closed, its death ends the
	// connection while we wait for it.
	shim.CloseAll(append(passed, remote))
	if err != nil {
		return err
	}
	// While the shim starts up; it opens the rings only after "go".
	if err := c.allocate(s); err != nil {
		return noSpace(err)
	}
	return c.awaitReady(ctx, spec.Needs())
}

func (c *Child) makeDirectory() error {
	if err := os.Mkdir(c.path, 0o700); err != nil {
		return noSpace(err)
	}
	c.made = true
	var err error
	c.dirfd, err = openDir(c.path)
	return err
}

// allocate takes the space of the rings and of the exit record, so that a full
// disk refuses now and loses nothing later.
func (c *Child) allocate(s Spec) error {
	for _, name := range []string{shim.FileStdout, shim.FileStderr} {
		if err := shim.CreateRing(c.dirfd, name, s.RingBytes, s.pressure()); err != nil {
			return err
		}
	}
	if err := shim.ReserveExit(c.dirfd); err != nil {
		return err
	}
	return c.openRings()
}

func (c *Child) openRings() (err error) {
	if c.logs[0], err = shim.OpenRingReader(c.dirfd, shim.FileStdout); err != nil {
		return err
	}
	c.logs[1], err = shim.OpenRingReader(c.dirfd, shim.FileStderr)
	return err
}

func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// takeLock makes the lock file and locks it. The lock belongs to the open file,
// and so to whoever holds it last: the shim.
func takeLock(dirfd int) (int, error) {
	fd, err := unix.Openat(dirfd, shim.FileLock, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, os.NewSyscallError("open lock", err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("flock", err)
	}
	return fd, nil
}

// memfds puts spec, standard input and files where only the shim finds them.
func memfds(s Spec, wire []byte) (fds []int, err error) {
	var stdin [][]byte
	if s.Stdin != nil {
		stdin = [][]byte{s.Stdin}
	}
	for _, m := range []struct {
		name    string
		content [][]byte
	}{{"spec", [][]byte{wire}}, {"stdin", stdin}, {"files", contents(s.Files)}} {
		if m.content == nil {
			continue
		}
		fd, err := memfd(m.name, m.content...)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func (s Spec) wire(g shim.Ground) *shim.Spec {
	return &shim.Spec{
		ID: s.ID[:], Argv: s.Argv, Path: s.Path, Env: s.Env, Dir: s.Dir, RingBytes: s.RingBytes,
		Orders:    shim.Orders{LifetimeNano: s.Orders.LifetimeNano, GraceNano: s.Orders.GraceNano, OrphanNano: s.Orders.OrphanNano},
		Isolation: s.Isolation, HasStdin: s.Stdin != nil, KeepStdin: s.KeepStdin, Backpressure: s.pressure(),
		Files: wireFiles(s.Files), Ground: g,
	}
}

func (s Spec) pressure() bool { return s.Overflow == event.OverflowBackpressure }

// memfd returns an anonymous file with the parts of its content one after
// another, which nobody can change any more.
func memfd(name string, parts ...[]byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	at := int64(0) // by position: whoever reads it begins at the start
	for _, part := range parts {
		for len(part) > 0 {
			n, err := unix.Pwrite(fd, part, at)
			if err != nil {
				unix.Close(fd)
				return -1, os.NewSyscallError("write memfd", err)
			}
			part, at = part[n:], at+int64(n)
		}
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("seal memfd", err)
	}
	return fd, nil
}

// awaitReady waits for the shim's first message. A shim that would leave out some
// of what its spec asks for, because it does not know of it, gets no "go".
func (c *Child) awaitReady(ctx context.Context, needs uint32) error {
	m, fds, err := c.recv(ctx)
	shim.CloseAll(fds)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrShim, err)
	}
	switch m.Type {
	case shim.TypeReady:
		r, err := shim.DecodeReady(m.Record)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrShim, err)
		}
		c.isolation, c.shimID, c.version = r.Isolation, identity(r.Shim), r.Version
		if c.version < needs {
			return fmt.Errorf("%w: %s is of an older build than this daemon, which speaks version %d of their protocol where this process needs %d: install both from one build",
				ErrShim, c.h.o.Shim, max(c.version, 1), needs)
		}
		return nil
	case shim.TypeFailed:
		f, err := shim.DecodeFailed(m.Record)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrShim, err)
		}
		if f.Step == shim.StepFiles {
			return fmt.Errorf("%w: %s", ErrFiles, f.Detail)
		}
		return fmt.Errorf("%w: %s: %s", ErrShim, f.Step, f.Detail)
	}
	return fmt.Errorf("%w: it spoke out of turn", ErrShim)
}

// recv receives one message, or fails when ctx ends.
func (c *Child) recv(ctx context.Context) (*shim.Message, []int, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })
	m, fds, err := c.conn.Recv()
	if !stop() {
		shim.CloseAll(fds)
		return nil, nil, ctx.Err()
	}
	return m, fds, err
}

// Abandon takes a prepared child back: its shim leaves, and the directory is
// removed. Nothing ran, so it is no act and takes no receipt. After Go it
// fails: a program that may run is not taken back by deleting its traces.
func (c *Child) Abandon() error {
	c.mu.Lock()
	went := c.went
	c.abandoned = c.abandoned || !went
	c.mu.Unlock()
	if went {
		return fmt.Errorf("abandon %s: go was sent", c.id)
	}
	c.h.forget(c.id)
	return c.discard()
}

// discard ends a shim that has no "go" and removes the directory.
func (c *Child) discard() error {
	if c.conn != nil {
		c.conn.Close()
	}
	var err error
	if c.shim != nil {
		err = c.shim.wait(endBound)
	}
	made := c.made
	c.release()
	if err != nil || !made {
		return err
	}
	trashed := filepath.Join(c.h.trash(), c.id.String())
	if err := os.Rename(c.path, trashed); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.RemoveAll(trashed)
}

func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	return fd, os.NewSyscallError("open "+path, err)
}

func closeFD(fd int) error {
	if fd < 0 {
		return nil
	}
	return syscall.Close(fd)
}
