//go:build linux

package act

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// Found is one entry of processes/, as it was when Scan looked.
type Found struct {
	Name string    // of the entry
	ID   ulid.ULID // zero if Name is no ULID: then nothing else is set

	// LockHeld: a shim, or a launch in flight, holds the directory.
	LockHeld bool

	// OtherBoot: the records were written before the machine last started.
	OtherBoot bool

	// Dead is proof that neither shim nor program lives: another boot, or the
	// lock is free and the processes that `ready` and `started` name are
	// gone. A shim is gone only after its namespace is.
	Dead bool

	Shim      event.Identity // from `ready`; zero without it
	Isolation string         // applied, from `ready`
	Go        bool
	Started   *event.ProcessStarted
	Failed    *event.SpawnFailed
	Exit      *ExitRecord

	// Damaged names records that exist and cannot be read, as after a power
	// failure; they count as absent above. With "lock" or "directory" in it
	// nothing is proven: LockHeld and Dead are false.
	Damaged []string

	bootID []byte
}

// Scan looks at every process directory. It changes nothing. What only has the
// name of one, a file or a link, is found as a stray, without an ID; one that
// cannot be opened, as Damaged. So one bad entry does not hide the others; the
// error is about all of them.
func (h *Hands) Scan() ([]Found, error) {
	entries, err := os.ReadDir(h.processes())
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	found := make([]Found, 0, len(entries))
	for _, e := range entries {
		f, err := h.look(e.Name())
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // removed meanwhile
		case exhausted(err):
			return nil, fmt.Errorf("scan %s: %w", e.Name(), err)
		case err != nil:
			h.log.Warn("an entry of processes/ cannot be looked into", "name", e.Name(), "error", err)
			f = unreadable(e.Name(), err)
		}
		found = append(found, f)
	}
	return found, nil
}

// exhausted tells whether an error is about the daemon and not about what it
// looked at: with it every entry would look damaged.
func exhausted(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// unreadable is what is known of an entry with a handle's name that cannot be
// opened. No shim ever worked in what is no directory; of a directory that is
// closed to us nothing is proven.
func unreadable(name string, err error) Found {
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return Found{Name: name}
	}
	return Found{Name: name, ID: ulid.MustParse(name), Damaged: []string{"directory"}}
}

// Look is Scan for one handle; os.ErrNotExist says that it has no directory.
func (h *Hands) Look(id ulid.ULID) (Found, error) { return h.look(id.String()) }

func (h *Hands) look(name string) (Found, error) {
	id, err := ulid.ParseStrict(name)
	if err != nil || id.String() != name {
		return Found{Name: name}, nil
	}
	dirfd, err := openDir(h.path(id))
	if err != nil {
		return Found{}, err
	}
	defer unix.Close(dirfd)
	// The lock first: whatever a living shim writes after this look is not
	// missed, because its lock was seen as held.
	held, err := lockHeld(dirfd)
	if exhausted(err) {
		return Found{}, err
	}
	f := readDirectory(dirfd)
	f.Name, f.ID, f.LockHeld = name, id, held
	f.OtherBoot = len(f.bootID) > 0 && !bytes.Equal(f.bootID, h.bootID[:])
	if err != nil {
		f.Damaged = append(f.Damaged, shim.FileLock)
		return f, nil
	}
	f.Dead = !held && (f.OtherBoot || h.gone(f.Shim) && (f.Started == nil || h.gone(f.Started.Program)))
	return f, nil
}

// Gone is proof that the process of this boot that i names has ended. An empty
// identity names nobody, who is gone.
func (h *Hands) Gone(i event.Identity) bool { return h.gone(i) }

// gone tells whether the process of this boot that i names is proven to have
// ended. An empty identity names nobody, who is gone.
func (h *Hands) gone(i event.Identity) bool {
	fd, err := h.openIdentity(i)
	if err != nil {
		return err == unix.ESRCH
	}
	defer unix.Close(fd)
	return polled(fd, unix.POLLIN)
}

// lockHeld tries the lock and gives it back at once.
func lockHeld(dirfd int) (bool, error) {
	fd, err := unix.Openat(dirfd, shim.FileLock, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return false, nil // a crash between mkdir and lock
	}
	if err != nil {
		return false, os.NewSyscallError("open lock", err)
	}
	defer unix.Close(fd)
	err = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return true, nil
	}
	return false, os.NewSyscallError("flock", err)
}

// readDirectory reads every record of a process directory.
func readDirectory(dirfd int) Found {
	var f Found
	read(dirfd, shim.FileReady, &f, shim.DecodeReady, func(r *shim.Ready) {
		f.Shim, f.Isolation, f.bootID = identity(r.Shim), r.Isolation, r.BootID
	})
	read(dirfd, shim.FileStarted, &f, shim.DecodeStarted, func(s *shim.Started) { f.Started, f.bootID = started(s), s.BootID })
	read(dirfd, shim.FileFailed, &f, shim.DecodeFailed, func(x *shim.Failed) { f.Failed = failed(x) })
	read(dirfd, shim.FileExit, &f, shim.DecodeExit, func(x *shim.Exit) { f.Exit = exitRecord(x) })
	// The mere existence of `go` says that the program may have run, also if
	// a power failure took its content.
	var st unix.Stat_t
	f.Go = unix.Fstatat(dirfd, shim.FileGo, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
	return f
}

func read[T any](dirfd int, name string, f *Found, dec func([]byte) (*T, error), take func(*T)) {
	b, err := shim.ReadRecord(dirfd, name)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		var v *T
		if v, err = dec(b); err == nil {
			take(v)
			return
		}
	}
	f.Damaged = append(f.Damaged, name)
}

// Adopt connects to the living shim of a handle. The child's first notice is
// Started, again; an order that the shim carried out meanwhile comes as Fired.
// A shim that has no "go" yet is not adopted: it leaves by itself
// (ErrShimGone). It blocks until the shim answers, or ctx ends.
func (h *Hands) Adopt(ctx context.Context, id ulid.ULID) (*Child, error) {
	c := &Child{h: h, id: id, path: h.path(id), dirfd: -1, notices: newNotices(), went: true, in: newStdin(true)}
	err := c.adopt(ctx)
	closeFD(c.dirfd)
	if err != nil {
		c.release()
		return nil, fmt.Errorf("adopt %s: %w", id, err)
	}
	h.forget(id).Close()
	h.remember(c)
	go c.follow()
	return c, nil
}

func (c *Child) adopt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerBound)
	defer cancel()
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.openRings(); err != nil {
		return err
	}
	if err := c.conn.Send(&shim.Message{Type: shim.TypeHello}); err != nil {
		return fmt.Errorf("%w: %w", ErrShimGone, err)
	}
	m, fds, err := c.recv(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrShimGone, err)
	}
	if m.Type != shim.TypeState || m.Phase != shim.PhaseRunning {
		shim.CloseAll(fds)
		return fmt.Errorf("%w: it has no program", ErrShimGone)
	}
	if err := c.checkHandle(m); err != nil {
		shim.CloseAll(fds)
		return fmt.Errorf("%w: %w", ErrShimGone, err)
	}
	c.version = m.Version
	c.announceStart(m, fds)
	if err := c.resumeInput(); err != nil {
		return err
	}
	c.announceFired(m)
	return nil
}

// connect opens the directory and the shim's socket, and takes hold of the shim.
func (c *Child) connect() error {
	var err error
	if c.dirfd, err = openDir(c.path); err != nil {
		return err
	}
	f := readDirectory(c.dirfd)
	c.shimID, c.isolation = f.Shim, f.Isolation
	if c.conn, err = shim.Dial(c.dirfd); err != nil {
		return fmt.Errorf("%w: %w", ErrShimGone, err)
	}
	if c.shim, err = c.peer(f.Shim); err != nil {
		return fmt.Errorf("%w: %w", ErrShimGone, err)
	}
	// `ready` may be missing, or another's work: what the kernel says goes.
	mergeIdentity(&c.shimID, c.shim.identity(c.h.procfd))
	return nil
}
