//go:build linux

package shim

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Names in a process directory. A record is written under its name with
// ".tmp" and renamed, so a file that has its name is whole.
const (
	FileLock    = "lock"        // flock held by the shim for as long as it lives
	FileSock    = "sock"        // the shim listens here for a later daemon
	FileStdout  = "stdout.ring" // see ring.go
	FileStderr  = "stderr.ring"
	FileReady   = "ready"
	FileGo      = "go"
	FileStarted = "started"
	FileFailed  = "failed"
	FileExit    = "exit"

	tmpSuffix = ".tmp"
)

// ReservedExit is how many bytes the daemon allocates for the exit record
// before anything runs, so that a disk that is full by then cannot swallow it.
const ReservedExit = 4096

// maxRecord bounds what is read of a record's file.
const maxRecord = 64 << 10

// durability says how far a record must have come before it is announced.
type durability bool

const (
	visible durability = false // renamed: survives the end of every process, not of the machine
	durable durability = true  // also fsynced: file, directory, and the directory's own name
)

// writeRecord puts a record into place.
func writeRecord(dirfd int, name string, body []byte, d durability) error {
	tmp := name + tmpSuffix
	fd, err := unix.Openat(dirfd, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("open "+tmp, err)
	}
	err = fillRecord(fd, body, d)
	err = errors.Join(err, os.NewSyscallError("close "+tmp, unix.Close(fd)))
	if err != nil {
		return err
	}
	if err := unix.Renameat(dirfd, tmp, dirfd, name); err != nil {
		return os.NewSyscallError("rename "+tmp, err)
	}
	if d == durable {
		return syncPlace(dirfd)
	}
	return nil
}

// fillRecord writes at the start without truncating: the exit record's blocks
// are allocated beforehand.
func fillRecord(fd int, body []byte, d durability) error {
	b := frame(body)
	for off := 0; off < len(b); {
		n, err := unix.Pwrite(fd, b[off:], int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("write record", err)
		}
		off += n
	}
	if d == durable {
		return os.NewSyscallError("fsync record", unix.Fsync(fd))
	}
	return nil
}

// syncRecord makes a record that writeRecord left visible durable. If it is gone
// by then, the daemon has what was in it and removed the directory.
func syncRecord(dirfd int, name string) error {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("open "+name, err)
	}
	err = os.NewSyscallError("fsync "+name, unix.Fsync(fd))
	unix.Close(fd)
	return errors.Join(err, syncPlace(dirfd))
}

// syncPlace fsyncs a process directory and the one that it is in: a record is
// of no use after a power failure if its directory has no name then. Nobody
// made that name durable before; whoever prepares a spawn has no time for it.
func syncPlace(dirfd int) error {
	return errors.Join(syncDir(dirfd, "."), syncDir(dirfd, ".."))
}

// syncDir fsyncs the directory that has a name in another, which is known by an
// O_PATH or ordinary descriptor.
func syncDir(dirfd int, name string) error {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open directory", err)
	}
	err = unix.Fsync(fd)
	unix.Close(fd)
	return os.NewSyscallError("fsync directory", err)
}

// ReadRecord returns the record in the file name of a process directory.
// os.ErrNotExist says that there is none, ErrRecord that it is damaged (only a
// power failure or a bad disk does that).
func ReadRecord(dirfd int, name string) ([]byte, error) {
	b, err := readAt(dirfd, name, maxRecord)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: name, Err: err}
	}
	return unframe(b)
}
