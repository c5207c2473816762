//go:build linux

package shim

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcher clones shims for the daemon. It exists because the daemon must not:
// with a user namespace Go forks without CLONE_VM, and copying the page tables
// of a heap with compiled modules in it takes a tenth of a second. It holds
// nothing that matters: when it dies the daemon starts another one, and the
// shims live on as children of init.
type launcher struct {
	conn    *Conn
	devnull int

	// needUser is set once the kernel refused a PID namespace without a user
	// namespace around it, as it does to everybody but root.
	needUser bool
}

// launchMain serves until the daemon is gone.
func launchMain() int {
	children := catchSignals()
	conn, err := NewConn(launcherConn)
	if err != nil {
		return 1
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 1
	}
	go func() {
		for range children {
			reapAll()
		}
	}()
	l := &launcher{conn: conn, devnull: null, needUser: os.Geteuid() != 0}
	for {
		m, fds, err := conn.Recv()
		if errors.Is(err, ErrMalformed) {
			continue
		}
		if err != nil {
			return 0
		}
		l.serve(m, fds)
		CloseAll(fds)
	}
}

// reapAll collects every child that has ended.
func reapAll() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && (err != nil || pid == 0) {
			return
		}
	}
}

// serve answers one request. A failed answer needs no handling: the daemon is
// gone, and the next Recv says so.
func (l *launcher) serve(m *Message, fds []int) {
	answer := &Message{Type: TypeUndefined, Seq: m.Seq}
	if m.Type != TypeLaunch {
		l.conn.Send(answer)
		return
	}
	pid, pidfd, err := l.launch(m.Isolation, fds)
	if err != nil {
		answer.Type, answer.Text = TypeRefused, err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			answer.Errno = uint32(errno)
		}
		l.conn.Send(answer)
		return
	}
	answer.Type, answer.PID = TypeLaunched, uint32(pid)
	l.conn.Send(answer, pidfd)
	unix.Close(pidfd)
}

var errDescriptors = errors.New("launch request without its descriptors")

func (l *launcher) launch(isolation string, fds []int) (pid, pidfd int, err error) {
	if len(fds) < shimSpec-shimLock+1 {
		return 0, -1, errDescriptors
	}
	if isolation == IsolationNone {
		return l.clone(&syscall.SysProcAttr{Setsid: true}, fds)
	}
	if !l.needUser {
		pid, pidfd, err = l.clone(namespaces(false), fds)
		if !errors.Is(err, unix.EPERM) {
			return pid, pidfd, err
		}
	}
	pid, pidfd, err = l.clone(namespaces(true), fds)
	if err == nil {
		l.needUser = true // root without CAP_SYS_ADMIN: do not try in vain again
	}
	return pid, pidfd, err
}

// namespaces returns the attributes of a shim that is PID 1. In a user
// namespace the ids stay what they are: as uid 0 without capabilities programs
// break that change owners or groups. The capabilities are handed on as ambient
// ones because an exec as an ordinary user drops all others; the shim drops
// them before it forks the program.
func namespaces(user bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	if user {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_KILL, unix.CAP_SYS_PTRACE}
	}
	return a
}

func (l *launcher) clone(attr *syscall.SysProcAttr, fds []int) (pid, pidfd int, err error) {
	pidfd = -1
	attr.PidFD = &pidfd
	null := uintptr(l.devnull)
	files := []uintptr{null, null, null}
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	pid, err = syscall.ForkExec("/proc/self/exe", []string{"astrid-shim", ModeShim}, &syscall.ProcAttr{
		Env: os.Environ(), Files: files, Sys: attr,
	})
	if err != nil {
		return 0, -1, err
	}
	return pid, pidfd, nil // since Linux 5.2 the clone gives a pidfd or fails
}

// ShimEnv is the environment of launcher and shims: one thread of Go code and a
// heap that is collected early, because there is one shim for each process.
// crash, if not empty, is the crash point at which a test wants one to die.
func ShimEnv(crash string) []string {
	env := []string{"GOMAXPROCS=1", "GOGC=25", "GOTRACEBACK=none"}
	if crash != "" {
		env = append(env, "ASTRID_CRASH_AT="+crash)
	}
	return env
}
