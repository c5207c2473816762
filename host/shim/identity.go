//go:build linux

package shim

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pidfsRoot is FD_PIDFS_ROOT of linux/fcntl.h (6.17; 6.14 and later accept any
// pidfd there, see OpenHandle).
const pidfsRoot = -10002

// OpenProc opens a proc file system as a path. The shim opens the machine's own
// before it mounts one for its namespace, so that it can still name processes
// by the numbers that the machine knows.
func OpenProc() (int, error) {
	return unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// IdentityOf reads the identity of the process that pidfd refers to, as the
// proc file system procfd shows it. What cannot be read is left empty: a
// process that is reaped already has a handle only.
func IdentityOf(procfd, pidfd int) Identity {
	i := Identity{PidfsHandle: PidfsHandle(pidfd)}
	pid, err := NumberOf(procfd, pidfd)
	if err != nil {
		return i
	}
	ticks, err := StartTicks(procfd, pid)
	if err != nil {
		return i
	}
	i.PID, i.StartTicks = uint32(pid), ticks
	var st unix.Stat_t
	if unix.Fstatat(procfd, strconv.Itoa(pid)+"/ns/pid", &st, 0) == nil {
		i.PidNamespace = st.Ino
	}
	return i
}

// PidfsHandle returns the file handle of a pidfd, which names its process for
// ever, or nil on kernels before 6.14.
func PidfsHandle(pidfd int) []byte {
	h, _, err := unix.NameToHandleAt(pidfd, "", unix.AT_EMPTY_PATH)
	if err != nil || h.Size() > 64 {
		return nil
	}
	// The type is part of the name: open_by_handle_at wants both.
	t := h.Type()
	return append([]byte{byte(t), byte(t >> 8), byte(t >> 16), byte(t >> 24)}, h.Bytes()...)
}

// OpenHandle reopens the process that a handle names; unix.ESTALE says that it
// is gone and reaped.
func OpenHandle(handle []byte) (pidfd int, err error) {
	if len(handle) < 4 {
		return -1, unix.EOPNOTSUPP
	}
	t := int32(handle[0]) | int32(handle[1])<<8 | int32(handle[2])<<16 | int32(handle[3])<<24
	h := unix.NewFileHandle(t, handle[4:])
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(self)
	fd, err := unix.OpenByHandleAt(self, h, unix.O_CLOEXEC)
	if err == nil || err == unix.ESTALE {
		return fd, err
	}
	return unix.OpenByHandleAt(pidfsRoot, h, unix.O_CLOEXEC)
}

// OpenIdentity returns a pidfd of the process that i names, or unix.ESRCH if
// that process is proven gone; any other error proves nothing. A number alone is
// never trusted: the start time must agree, and is read while the pidfd is held.
// The identity must be of this boot: see BootID.
func OpenIdentity(procfd int, i Identity) (pidfd int, err error) {
	if len(i.PidfsHandle) > 0 {
		fd, err := OpenHandle(i.PidfsHandle)
		if err == nil {
			return fd, nil
		}
		if err == unix.ESTALE {
			return -1, unix.ESRCH
		}
	}
	if i.PID == 0 {
		return -1, unix.ESRCH
	}
	fd, err := unix.PidfdOpen(int(i.PID), 0)
	if err != nil {
		return -1, err
	}
	t, err := StartTicks(procfd, int(i.PID))
	if err == nil && t == i.StartTicks {
		return fd, nil
	}
	unix.Close(fd)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return -1, unix.ESRCH
	}
	return -1, err
}

// BootID returns the id that the machine drew at its last start. Numbers and
// handles of processes start anew with each, so an identity of another boot
// names nobody, and may look like a stranger.
func BootID(procfd int) (id [16]byte, err error) {
	b, err := readAt(procfd, "sys/kernel/random/boot_id", 64)
	if err != nil {
		return id, err
	}
	digits := bytes.ReplaceAll(bytes.TrimSpace(b), []byte("-"), nil)
	if n, err := hex.Decode(id[:], digits[:min(len(digits), 32)]); err != nil || n != len(id) {
		return id, errBootID
	}
	return id, nil
}

var errBootID = errors.New("malformed boot id")

// errReaped means that a pidfd's process is reaped: it has no number any more.
var errReaped = errors.New("process is reaped")

// NumberOf reads the number of a pidfd's process, as procfd shows it, from its
// fdinfo. One that is reaped has none any more, and is an error.
func NumberOf(procfd, pidfd int) (int, error) {
	b, err := readAt(procfd, "self/fdinfo/"+strconv.Itoa(pidfd), 4096)
	if err != nil {
		return 0, err
	}
	for _, line := range bytes.Split(b, []byte{'\n'}) {
		if v, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
			pid, err := strconv.Atoi(string(bytes.TrimSpace(v)))
			if err != nil || pid <= 0 {
				return 0, errReaped
			}
			return pid, nil
		}
	}
	return 0, errReaped
}

// stat is what the shim needs of /proc/PID/stat.
type stat struct {
	state byte
	ppid  int
	pgrp  int
	start uint64
}

var errStat = errors.New("malformed stat file")

// parseStat reads a stat line. The command stands in parentheses and may hold
// anything, so the fields are counted from the last closing one.
func parseStat(b []byte) (s stat, err error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return s, errStat
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return s, errStat
	}
	s.state = f[0][0]
	var errs [3]error
	s.ppid, errs[0] = strconv.Atoi(string(f[1]))
	s.pgrp, errs[1] = strconv.Atoi(string(f[2]))
	s.start, errs[2] = strconv.ParseUint(string(f[19]), 10, 64)
	if errors.Join(errs[:]...) != nil {
		return s, errStat
	}
	return s, nil
}

func readStat(procfd, pid int) (stat, error) {
	b, err := readAt(procfd, strconv.Itoa(pid)+"/stat", 4096)
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// StartTicks returns when a process started, in clock ticks since boot.
func StartTicks(procfd, pid int) (uint64, error) {
	s, err := readStat(procfd, pid)
	return s.start, err
}

// readAt reads a small file below the directory dirfd, up to limit bytes.
func readAt(dirfd int, path string, limit int64) ([]byte, error) {
	fd, err := unix.Openat(dirfd, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// ExitedStatus returns the wait status that the kernel keeps of a reaped
// process for those who hold its pidfd (6.15 and later): the second witness of
// an exit. ok is false while it is not reaped, and where the kernel keeps none.
func ExitedStatus(pidfd int) (ws unix.WaitStatus, ok bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if unix.IoctlPidfdInfo(pidfd, &info) != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.Exit_code), true
}
