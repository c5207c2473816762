//go:build linux

package shim

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
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
func (j *jail) set(s *Spec, umask int) (applied string, err error) {
	j.do(func() { applied, err = confine(s, umask) })
	return applied, err
}

func confine(s *Spec, umask int) (string, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return "", os.NewSyscallError("unshare fs", err)
	}
	unix.Umask(umask)
	applied := IsolationNone
	if s.Isolation == IsolationPIDNS {
		if os.Getpid() != 1 {
			return "", os.NewSyscallError("pid namespace", unix.EPERM)
		}
		applied = namespaceName(freshProc())
	}
	if len(s.Files) > 0 {
		if err := layFiles(s); err != nil {
			return "", err
		}
		applied += FilesApplied
	}
	if err := dropCapabilities(); err != nil {
		return "", err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", os.NewSyscallError("no_new_privs", err)
	}
	if len(s.Files) > 0 {
		if err := lockMounts(); err != nil {
			return "", err
		}
	}
	var none unix.Sigset_t
	return applied, os.NewSyscallError("sigmask", unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil))
}

// FilesApplied in Started.Isolation says that injected files are there, and that
// the program can mount nothing.
const FilesApplied = "+files"

// layFiles lays the injected files and tells the program where they are. In the
// weaker mode the program shares the machine's mounts: there is no place that
// only it would see.
func layFiles(s *Spec) error {
	if s.Isolation != IsolationPIDNS {
		return &FileError{Path: FilesDir, Reason: "without a namespace no file can be laid for one program alone"}
	}
	if err := enclose(); err != nil {
		return err
	}
	blob := s.filesFD()
	defer unix.Close(blob)
	if err := inject(s.Files, s.Ground, blob); err != nil {
		return err
	}
	for _, f := range s.Files {
		if f.EnvKey != "" {
			s.Env = append(s.Env, f.EnvKey+"="+join(FilesDir, f.EnvKey))
		}
	}
	// A crash here ends the namespace with all that is mounted in it, and
	// leaves a directory without `go`: nothing ran.
	crashpoint.Here("shim.files.laid")
	return nil
}

// freshProc shows the program the processes of its own namespace only. The
// kernel refuses it where parts of /proc are covered, as in many containers;
// then the program sees the machine's, and the isolation reported says so.
func freshProc() bool {
	if enclose() != nil {
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
