package serve

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
)

// Refusals of a peer that is no operator whatever its uid says: the programs of
// capsules run under the daemon's own uid.
var (
	errNamespace = errors.New("you are in another PID namespace than the daemon, as the programs of capsules are; use this daemon from its own namespace")
	errProgram   = errors.New("you are a program of a capsule, and those may not use this daemon")
	errEnded     = errors.New("the process that connected has ended, so it cannot be told on whose behalf you speak; connect again")
)

// outside tells why the process that connected is not outside of every capsule,
// nil if it is. Reading /proc takes no privilege towards another user's process.
//
// A program that kills its own shim (possible without a namespace only, where
// they share a uid) is no longer found below one.
func outside(c *net.UnixConn, pid int32) error {
	if pid <= 0 {
		return errNamespace // of a namespace that this one does not see
	}
	if depth, err := namespaceDepth(strconv.Itoa(int(pid))); err != nil {
		return ended(err)
	} else if own, err := namespaceDepth("self"); err != nil {
		return err
	} else if depth != own {
		return errNamespace
	}
	if below, err := belowShim(pid); err != nil {
		return ended(err)
	} else if below {
		return errProgram
	}
	return alive(c) // last: only then was the number the peer's all the while
}

// ended makes of a process that is not there any more what it means here.
func ended(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return errEnded
	}
	return fmt.Errorf("it cannot be told whether you are a program of a capsule: %w", err)
}

// namespaceDepth returns how many PID namespaces a process has a number in,
// counted from that of /proc. Those that are visible from here and are as deep
// as this process are in its namespace.
func namespaceDepth(process string) (int, error) {
	b, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			return len(bytes.Fields(v)), nil
		}
	}
	return 0, errors.New("/proc tells no NSpid")
}

// belowShim tells whether a process has a shim above it. What a program leaves
// behind becomes the shim's child, so the way up is never lost while that lives.
func belowShim(pid int32) (bool, error) {
	for pid > 1 {
		if act.IsShim(uint32(pid)) {
			return true, nil
		}
		b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
		if err != nil {
			return false, err
		}
		// State and parent follow the name, which may hold anything.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(f) < 2 {
			return false, errors.New("/proc tells no parent")
		}
		parent, err := strconv.ParseInt(string(f[1]), 10, 32)
		if err != nil {
			return false, err
		}
		pid = int32(parent)
	}
	return false, nil
}

// alive tells whether the process that connected still is: then its number has
// named nobody else. Before Linux 6.5 there is no way to know.
func alive(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	pidfd := -1
	cerr := raw.Control(func(fd uintptr) {
		pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	switch {
	case cerr != nil:
		return cerr
	case errors.Is(err, unix.ENOPROTOOPT):
		return nil
	case err != nil:
		return ended(err)
	}
	defer unix.Close(pidfd)
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); err != nil {
		return os.NewSyscallError("poll", err)
	} else if n > 0 {
		return errEnded
	}
	return nil
}
