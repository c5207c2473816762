//go:build linux

package shim

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// cmdline is what a shim's /proc/PID/cmdline holds.
const cmdline = "astrid-shim\x00" + ModeShim + "\x00"

// IsShim tells whether a process calls itself a shim. Anybody can; but nobody
// below a shim can have that shim call itself otherwise.
func IsShim(procfd, pid int) bool {
	b, err := readAt(procfd, strconv.Itoa(pid)+"/cmdline", 256)
	return err == nil && string(b) == cmdline
}

// BelowShim tells whether a process is below a shim, as everything is that a
// capsule runs, whatever it did to its sessions: in a namespace the orphaned go
// to its first process, and without one to their subreaper, the shim both times.
// Shims that the caller itself is below do not count: a daemon may be run below
// another's. An error means that it could not be told.
//
// What is seen is what the proc file system procfd shows. Where that hides the
// processes of other users (hidepid), a shim can be hidden with them.
func BelowShim(procfd, pid int) (bool, error) {
	chain, err := ancestors(procfd, pid)
	for _, p := range chain {
		if IsShim(procfd, p) {
			return !isAncestor(procfd, p), nil
		}
	}
	if err != nil && hidesProcesses(procfd) {
		return false, nil
	}
	return false, err
}

// isAncestor tells whether the calling process is below pid.
func isAncestor(procfd, pid int) bool {
	self, err := selfNumber(procfd)
	if err != nil {
		return false
	}
	mine, _ := ancestors(procfd, self)
	for _, p := range mine {
		if p == pid {
			return true
		}
	}
	return false
}

// selfNumber is the caller's number as procfd shows it.
func selfNumber(procfd int) (int, error) {
	var b [16]byte
	n, err := unix.Readlinkat(procfd, "self", b[:])
	if err != nil {
		return 0, os.NewSyscallError("readlink self", err)
	}
	return strconv.Atoi(string(b[:n]))
}

func hidesProcesses(procfd int) bool {
	_, err := readStat(procfd, 1)
	return err != nil
}

// Bounds of following parents.
const (
	maxAncestors = 1024
	climbs       = 3 // a parent may end while we look
)

var errParents = errors.New("the parents of a process cannot be followed")

// ancestors returns the parents of pid, the nearest first. With an error it is
// those up to where it could not be followed.
func ancestors(procfd, pid int) (chain []int, err error) {
	for range climbs {
		if chain, err = climb(procfd, pid); err == nil {
			break
		}
	}
	return chain, err
}

// climb follows the parents once. Numbers are used again: but a parent starts
// before its child, and so do those that orphans go to, while a stranger who got
// the number of a parent that ended since starts after.
func climb(procfd, pid int) (chain []int, err error) {
	child, err := readStat(procfd, pid)
	for err == nil && child.ppid > 0 {
		parent, err := readStat(procfd, child.ppid)
		if err != nil {
			return chain, err
		}
		if parent.start > child.start || len(chain) == maxAncestors {
			return chain, errParents
		}
		chain, child = append(chain, child.ppid), parent
	}
	return chain, err
}

// PeerNumber is the number of a connection's peer as procfd shows it. Where the
// kernel does not tell (before Linux 6.5) the error is errors.ErrUnsupported.
func (c *Conn) PeerNumber(procfd int) (int, error) {
	fd, err := c.PeerPidfd()
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, errors.ErrUnsupported
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return NumberOf(procfd, fd)
}

// WorksIn tells whether a thread of a process has the directory dirfd as its
// working directory, as its shim has a process directory. known is false where
// this user may not see that.
func WorksIn(procfd, pid, dirfd int) (yes, known bool) {
	var want unix.Stat_t
	if unix.Fstat(dirfd, &want) != nil {
		return false, false
	}
	base := strconv.Itoa(pid) + "/task"
	for _, tid := range numbers(procfd, base) {
		var got unix.Stat_t
		if unix.Fstatat(procfd, base+"/"+strconv.Itoa(tid)+"/cwd", &got, 0) != nil {
			continue
		}
		known = true
		if got.Dev == want.Dev && got.Ino == want.Ino {
			return true, true
		}
	}
	return false, known
}

// Shims lists the processes that call themselves a shim and work in a directory.
func Shims(procfd, dirfd int) (pids []int) {
	for _, pid := range numbers(procfd, ".") {
		if !IsShim(procfd, pid) {
			continue
		}
		if yes, _ := WorksIn(procfd, pid, dirfd); yes {
			pids = append(pids, pid)
		}
	}
	return pids
}

// numbers lists the entries of a directory of proc that are numbers.
func numbers(procfd int, path string) (pids []int) {
	fd, err := unix.Openat(procfd, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
