//go:build linux

package shim

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// jail is the one OS thread on which everything happens that belongs to a
// thread and is inherited by the program forked from it: working directory,
// umask, no_new_privs, capabilities, signal mask. It is never given back to the
// runtime.
type jail struct{ work chan func() }

func newJail() *jail {
	j := &jail{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range j.work {
			f()
		}
	}()
	return j
}

// do runs f on the thread and waits for it.
func (j *jail) do(f func()) {
	done := make(chan struct{})
	j.work <- func() { f(); close(done) }
	<-done
}

// set locks the thread in and returns what was applied, in the words of
// Started.Isolation. An error means that a layer that was asked for is missing.
func (j *jail) set(isolation string, umask int) (applied string, err error) {
	j.do(func() { applied, err = confine(isolation, umask) })
	return applied, err
}

func confine(isolation string, umask int) (string, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return "", os.NewSyscallError("unshare fs", err)
	}
	unix.Umask(umask)
	applied := IsolationNone
	if isolation == IsolationPIDNS {
		if os.Getpid() != 1 {
			return "", os.NewSyscallError("pid namespace", unix.EPERM)
		}
		applied = namespaceName(freshProc())
	}
	if err := dropCapabilities(); err != nil {
		return "", err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", os.NewSyscallError("no_new_privs", err)
	}
	var none unix.Sigset_t
	return applied, os.NewSyscallError("sigmask", unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil))
}

// freshProc shows the program the processes of its own namespace only. The
// kernel refuses it where parts of /proc are covered, as in many containers;
// then the program sees the machine's, and the isolation reported says so.
func freshProc() bool {
	if unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return false
	}
	return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") == nil
}

func namespaceName(mounted bool) string {
	name := IsolationPIDNS
	if inUserNamespace() {
		name = "userns+" + name
	}
	if mounted {
		name += "+mount"
	}
	return name
}

// inUserNamespace tells whether the launcher put the shim into a user namespace
// of its own: then the shim holds ambient capabilities, and only then.
func inUserNamespace() bool {
	r, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, unix.CAP_SYS_ADMIN, 0, 0)
	return err == nil && r == 1
}

// dropCapabilities takes from the thread what the user namespace gave. The other
// threads keep it: the shim must be able to end whatever the program started.
func dropCapabilities() error {
	if !inUserNamespace() {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return os.NewSyscallError("clear ambient capabilities", err)
	}
	if os.Geteuid() == 0 {
		return nil // root of its own namespace: an exec would give all back, and programs that see uid 0 expect them
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return os.NewSyscallError("drop capabilities", unix.Capset(&head, &none[0]))
}
