//go:build linux

package shim

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// mirror shows in a cover what the covered directory holds.
func (c *cover) mirror(s *site, root int) error {
	fd, err := unix.Openat(s.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &FileError{Path: s.path, Reason: err.Error()}
	}
	dir := os.NewFile(uintptr(fd), s.path)
	defer dir.Close()
	entries, err := dir.Readdirnames(c.spare + 1)
	if err != nil && err != io.EOF {
		return &FileError{Path: s.path, Reason: err.Error()}
	}
	if c.spare -= len(entries); c.spare < 0 {
		return &FileError{Path: s.path, Reason: "there are too many files beside it"}
	}
	for _, name := range entries {
		if _, ours := s.files[name]; ours || s.sites[name] != nil || s.parent == nil && name == FilesDir[1:] {
			continue
		}
		if err := showEntry(s.fd, root, name); err != nil {
			return &FileError{Path: join(s.path, name), Reason: err.Error()}
		}
	}
	return nil
}

// showEntry shows one entry of a directory in its cover. What is gone meanwhile
// is not shown.
func showEntry(dir, root int, name string) error {
	fd, err := openPath(dir, name)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var at int
	switch kind(fd) {
	case unix.S_IFLNK:
		to, err := readlink(fd)
		if err != nil {
			return err
		}
		return unix.Symlinkat(to, root, name)
	case unix.S_IFDIR:
		at, err = makeDir(root, name)
	default:
		at, err = makeFile(root, name)
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return bind(fd, at)
}

// makeDir makes a directory and opens it.
func makeDir(dir int, name string) (int, error) {
	if err := unix.Mkdirat(dir, name, 0o755); err != nil {
		return -1, os.NewSyscallError("mkdir "+name, err)
	}
	fd, err := openPath(dir, name)
	return fd, os.NewSyscallError("open "+name, err)
}

// makeFile makes an empty file and opens it, to mount another on.
func makeFile(dir int, name string) (int, error) {
	if err := touch(dir, name); err != nil {
		return -1, os.NewSyscallError("make "+name, err)
	}
	fd, err := openPath(dir, name)
	return fd, os.NewSyscallError("open "+name, err)
}

// copyMode gives a cover the permissions of what it covers, 0755 where that is
// nothing. The owner too, where this user may give files away.
func copyMode(from, cover int) error {
	mode := uint32(0o755)
	if from >= 0 {
		var st unix.Stat_t
		if err := unix.Fstat(from, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		mode = st.Mode & 0o7777
		if err := unix.Fchownat(cover, "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH); err != nil && err != unix.EPERM && err != unix.EINVAL {
			return os.NewSyscallError("chown", err)
		}
	}
	return os.NewSyscallError("chmod", unix.Chmod(procPath(cover), mode))
}

// touch makes an empty file to mount another on.
func touch(dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
