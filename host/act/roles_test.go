//go:build linux

package act

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// roles are programs that the tests run: the test binary itself, with
// ACT_TEST_ROLE in its environment.
var roles = map[string]func() int{
	"busy":    busyRole,
	"connect": connectRole,
	"probe":   probeRole,
	"daemon":  daemonRole,
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
