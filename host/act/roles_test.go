//go:build linux

package act

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// roles are programs that the tests run: the test binary itself, with
// ACT_TEST_ROLE in its environment.
var roles = map[string]func() int{
	"asks":    asksRole,
	"busy":    busyRole,
	"connect": connectRole,
	"probe":   probeRole,
	"daemon":  daemonRole,
	"fake":    fakeRole,
	"holder":  holderRole,
	"init":    initRole,
	"mounts":  mountsRole,
	"signals": signalsRole,
}

// role is a spec that runs the test binary in a role.
func (h *house) role(name string, env ...string) Spec {
	h.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	s := h.spec(exe)
	s.Env = append(append(s.Env, "ACT_TEST_ROLE="+name), env...)
	return s
}

// connectRole tries to command its own shim through the socket in SOCK; it
// prints what came of it.
func connectRole() int {
	if err := os.Chdir(os.Getenv("SOCK")); err != nil {
		fmt.Println("chdir:", err)
		return 0
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: "sock"})
	}
	if err != nil {
		fmt.Println("connect:", err)
		return 0
	}
	unix.Write(fd, []byte{0x08, 1, 0x10, 12}) // hello
	n, err := unix.Read(fd, make([]byte, 4096))
	fmt.Println("answer:", n > 0, err)
	return 0
}

// probeRole prints what Probe finds, from inside of whatever it was started in.
func probeRole() int {
	r, err := Probe(os.Getenv("ACT_TEST_SHIM"))
	fmt.Printf("%s|%s|%s|%v\n", r.Isolation, r.Applied, r.Reason, err)
	return 0
}

// signalsRole sends every signal that could end a Go program to PID 1.
func signalsRole() int {
	for sig := 1; sig <= 64; sig++ {
		if s := syscall.Signal(sig); s != syscall.SIGKILL && s != syscall.SIGSTOP && s != syscall.SIGCHLD {
			syscall.Kill(1, s)
		}
	}
	syscall.Kill(1, syscall.SIGKILL) // from inside of the namespace the kernel drops it
	syscall.Kill(1, syscall.SIGSTOP)
	_, err := os.ReadFile("/proc/1/environ")
	fmt.Println("environ of 1 readable:", err == nil)
	code, _ := strconv.Atoi(os.Getenv("CODE"))
	return code
}

// mountsRole tries every call that changes what is mounted, past any C library,
// and prints those that are not refused.
func mountsRole() int {
	root, _ := unix.Open("/", unix.O_PATH, 0)
	empty := [1]byte{}
	at, size := uintptr(unsafe.Pointer(&empty)), uintptr(unsafe.Sizeof(empty))
	here := uintptr(root)
	fresh := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS)
	for _, c := range []struct {
		name string
		call [7]uintptr
	}{
		{"mount", [7]uintptr{unix.SYS_MOUNT, at, at, at}}, {"umount2", [7]uintptr{unix.SYS_UMOUNT2, at}},
		{"pivot_root", [7]uintptr{unix.SYS_PIVOT_ROOT, at, at}}, {"chroot", [7]uintptr{unix.SYS_CHROOT, at}},
		{"setns", [7]uintptr{unix.SYS_SETNS, here}}, {"fsopen", [7]uintptr{unix.SYS_FSOPEN, at}},
		{"open_tree", [7]uintptr{unix.SYS_OPEN_TREE, here, at, unix.AT_EMPTY_PATH}},
		{"move_mount", [7]uintptr{unix.SYS_MOVE_MOUNT, here, at, here, at, 0x44}},
		{"mount_setattr", [7]uintptr{unix.SYS_MOUNT_SETATTR, here, at, unix.AT_EMPTY_PATH, at, size}},
		{"fspick", [7]uintptr{unix.SYS_FSPICK, here, at, 8}}, {"fsconfig", [7]uintptr{unix.SYS_FSCONFIG, here}},
		{"fsmount", [7]uintptr{unix.SYS_FSMOUNT, here}},
		{"unshare", [7]uintptr{unix.SYS_UNSHARE, fresh}}, {"unshare of mounts", [7]uintptr{unix.SYS_UNSHARE, unix.CLONE_NEWNS}},
		{"clone", [7]uintptr{unix.SYS_CLONE, unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}},
	} {
		r, _, errno := syscall.RawSyscall6(c.call[0], c.call[1], c.call[2], c.call[3], c.call[4], c.call[5], c.call[6])
		if c.name == "clone" && r == 0 && errno == 0 {
			os.Exit(0) // the child of a clone that worked
		}
		if errno != unix.EPERM {
			fmt.Println(c.name, errno)
		}
	}
	for name, nr := range map[string]uintptr{"clone3": unix.SYS_CLONE3, "another ABI": 0x40000000 | unix.SYS_GETPID} {
		if _, _, errno := syscall.RawSyscall(nr, 0, 0, 0); errno != unix.ENOSYS {
			fmt.Println(name, errno)
		}
	}
	fmt.Println("tried all")
	return 0
}
