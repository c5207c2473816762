//go:build linux

package act

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// inOwnProcesses runs the calling test again as a test of its own, in a namespace
// whose process numbers belong to it, and tells whether this is that run. There
// the next number to be given out can be set.
func inOwnProcesses(t *testing.T) bool {
	t.Helper()
	if os.Getenv("ACT_TEST_INSIDE") != "" {
		return true
	}
	needNamespaces(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "ACT_TEST_ROLE=init", "ACT_TEST_SHIMS="+filepath.Dir(shimBinary))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("inside: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "_test.go:") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

// initRole is the first process of a namespace: it mounts /proc, runs the test
// binary again, and reaps whoever is orphaned.
func initRole() int {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("proc", "/proc", "proc", 0, "")
	}
	exe, eerr := os.Executable()
	if err = errors.Join(err, eerr); err != nil {
		fmt.Println("init:", err)
		return 1
	}
	os.Unsetenv("ACT_TEST_ROLE")
	pid, err := syscall.ForkExec(exe, os.Args, &syscall.ProcAttr{
		Env: append(os.Environ(), "ACT_TEST_INSIDE=1"), Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		fmt.Println("init:", err)
		return 1
	}
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case got == pid:
			return ws.ExitStatus()
		case err != nil && err != syscall.EINTR:
			return 1
		}
	}
}

// stranger is a process that got a number which was another's.
type stranger struct {
	t     *testing.T
	pid   int
	dir   string
	ticks uint64
	asked int
}

// heard is what a stranger does with what it should never get.
const heard = `for s in HUP INT QUIT ABRT ALRM TERM CONT USR1 USR2; do trap "echo $s >>heard" $s; done
: >up
while :; do read x <gate && echo $x >>alive; done
`

// newStranger starts a process under a number; it calls itself what its argv
// says, whose second is the name of its script. nil: somebody else got it.
func newStranger(t *testing.T, pid int, argv ...string) *stranger {
	t.Helper()
	s := &stranger{t: t, dir: t.TempDir()}
	mkfifo(t, filepath.Join(s.dir, "gate"))
	if err := os.WriteFile(filepath.Join(s.dir, argv[1]), []byte(heard), 0o600); err != nil {
		t.Fatal(err)
	}
	attr := &syscall.ProcAttr{Dir: s.dir, Env: []string{"PATH=/usr/bin:/bin"}, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}}
	last, err := os.OpenFile("/proc/sys/kernel/ns_last_pid", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if _, err := last.WriteString(strconv.Itoa(pid - 1)); err != nil {
		t.Fatal(err)
	}
	got, err := syscall.ForkExec("/bin/sh", argv, attr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(got, syscall.SIGKILL)
		syscall.Wait4(got, nil, 0, nil)
	})
	if got != pid {
		return nil
	}
	s.pid = got
	for end := time.Now().Add(bound); !exists(filepath.Join(s.dir, "up")); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stranger never came up")
		}
	}
	procfd := openProcForTest(t)
	defer unix.Close(procfd)
	if s.ticks, err = shim.StartTicks(procfd, pid); err != nil {
		t.Fatal(err)
	}
	return s
}

// unharmed holds that nobody signalled the stranger: it still answers.
func (s *stranger) unharmed(when string) {
	s.t.Helper()
	s.asked++
	word := strconv.Itoa(s.asked)
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
		if err != nil || strings.Contains(string(b), ") Z ") || time.Now().After(end) {
			s.t.Errorf("%s: the stranger is dead", when)
			return
		}
		if f, err := os.OpenFile(filepath.Join(s.dir, "gate"), os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			f.WriteString(word + "\n")
			f.Close()
		}
		if b, _ := os.ReadFile(filepath.Join(s.dir, "alive")); strings.Contains(string(b), word+"\n") {
			break
		}
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, "heard")); err == nil {
		s.t.Errorf("%s: the stranger got %s", when, b)
	}
}

func boottime() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}

// free tells whether nobody has a number.
func free(pid uint32) bool { return syscall.Kill(int(pid), 0) == syscall.ESRCH }

// twoStrangers has a program and its shim killed, by daemon or without one, and
// gives both numbers to strangers; the one in the shim's place bears a shim's
// name.
func twoStrangers(t *testing.T, h *house, held bool) (c *Child, st *event.ProcessStarted, both [2]*stranger) {
	for range 10 {
		c = h.start(h.spec("sleep", "1000"))
		st = h.started(c)
		if !held {
			h.hands.Close()
		}
		syscall.Kill(int(st.Shim.PID), syscall.SIGKILL)
		h.until("shim and program are reaped", func() bool { return free(st.Shim.PID) && free(st.Program.PID) })
		// Numbers do not come round within a tick, which is all that a start
		// time can tell apart: to hand them out at once would be unfair.
		h.until("a tick has passed", func() bool { return boottime()/int64(10*time.Millisecond) > int64(st.Program.StartTicks) })
		both[0] = newStranger(t, int(st.Shim.PID), "astrid-shim", shim.ModeShim)
		both[1] = newStranger(t, int(st.Program.PID), "sleep", "1000")
		if !held {
			h.open()
		}
		if both[0] != nil && both[1] != nil {
			return c, st, both
		}
	}
	t.Fatal("the numbers went to others, ten times")
	return nil, nil, both
}

// forge writes into the records of a dead process what its successors in its
// numbers would be taken for.
func forge(t *testing.T, h *house, c *Child, both [2]*stranger, handles bool) {
	t.Helper()
	st := h.look(c.ID()).Started
	who := func(i event.Identity, s *stranger) shim.Identity {
		id := shimIdentity(i)
		id.StartTicks = s.ticks
		if !handles {
			id.PidfsHandle = nil
		}
		return id
	}
	ready := &shim.Ready{Version: shim.ProtocolVersion, Shim: who(st.Shim, both[0]), BootID: h.hands.bootID[:]}
	started := &shim.Started{Shim: ready.Shim, Program: who(st.Program, both[1]), BootID: h.hands.bootID[:]}
	for name, body := range map[string][]byte{shim.FileReady: shim.EncodeReady(ready), shim.FileStarted: shim.EncodeStarted(started)} {
		if err := os.WriteFile(filepath.Join(h.hands.path(c.ID()), name), framed(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A stranger with the number of a dead shim or program is not taken for it by a
// daemon that finds their records: not adopted, not ended, not waited for.
func TestAStrangerWithADeadShimsNumber(t *testing.T) {
	if !inOwnProcesses(t) {
		return
	}
	both(t, func(t *testing.T, h *house) {
		c, st, who := twoStrangers(t, h, false)
		if shim.PidfsHandle(ownPidfd(t)) == nil {
			t.Log("this kernel has no pidfs handles: both ways are the fallback")
		}
		for _, try := range []struct {
			what   string
			old    bool
			forged bool
			dead   bool // what is proven
		}{
			{"by handle", false, false, true},
			{"by number and start", true, false, true},
			{"by handle, the start forged", false, true, len(st.Shim.PidfsHandle) > 0},
			{"by number and forged start", true, true, false},
		} {
			if try.forged {
				forge(t, h, c, who, true)
			}
			h.hands.oldKernel = try.old
			f := h.look(c.ID())
			if f.Dead != try.dead || f.LockHeld || f.Exit != nil {
				t.Errorf("%s: found %+v, want dead %v", try.what, f, try.dead)
			}
			begin := time.Now()
			if _, err := h.hands.Adopt(t.Context(), c.ID()); !errors.Is(err, ErrShimGone) {
				t.Errorf("%s: adopt: %v", try.what, err)
			}
			if try.dead {
				if err := h.hands.Kill(h.commit(c.ID(), &event.OrphanEnded{}), f); err != nil {
					t.Errorf("%s: kill: %v", try.what, err)
				}
			}
			dirfd, err := openDir(h.hands.path(c.ID()))
			if err == nil {
				err = h.hands.killByIdentity(f, dirfd) // also where death is proven, and nobody would ask for it
				closeFD(dirfd)
			}
			if err != nil {
				t.Errorf("%s: kill by identity: %v", try.what, err)
			}
			if took := time.Since(begin); took > bound/2 {
				t.Errorf("%s: somebody was waited for, %v", try.what, took)
			}
			who[0].unharmed(try.what)
			who[1].unharmed(try.what)
		}
		// What is left is no shim, and the end of the test would take it for one.
		os.RemoveAll(h.hands.path(c.ID()))
	})
}

func ownPidfd(t *testing.T) int {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// The daemon that held a process when it died neither waits for the strangers
// nor signals them, and tells of the process what it saw.
func TestAStrangerUnderADaemonThatHoldsTheDead(t *testing.T) {
	if !inOwnProcesses(t) {
		return
	}
	both(t, func(t *testing.T, h *house) {
		c, _, who := twoStrangers(t, h, true)
		n := h.next(c)
		if n.Gone == nil || !n.Gone.Ran {
			t.Fatalf("got %s", show(n))
		}
		if n.Gone.Witness != nil && ending(*n.Gone.Witness) != "signal 9" {
			t.Errorf("the witness saw %s", ending(*n.Gone.Witness))
		}
		if _, err := c.Signal(h.commit(c.ID(), &event.SignalRequested{Signal: 9, Target: event.TargetTree})); !errors.Is(err, ErrShimGone) {
			t.Errorf("signal: %v", err)
		}
		if r, err := c.killSilent(); err != nil || r.Delivered {
			t.Errorf("kill: %+v, %v", r, err)
		}
		who[0].unharmed("after all")
		who[1].unharmed("after all")
	})
}

// A shim without a namespace that ends what its program left behind does so by
// group and by walking: a stranger who leads a group with the program's number by
// then is not meant.
func TestAStrangerWithTheNumberOfAReapedProgram(t *testing.T) {
	if !inOwnProcesses(t) {
		return
	}
	h := newHouse(t, IsolationNone)
	for range 20 {
		c := h.start(h.sh("(setsid sleep 1000 &); exec sleep 0.05"))
		st := h.started(c)
		h.until("the program is reaped", func() bool { return free(st.Program.PID) })
		syscall.Kill(int(st.Shim.PID), syscall.SIGSTOP)
		h.until("the shim stops", func() bool { return stopped(st.Shim.PID) || free(st.Shim.PID) })
		if h.look(c.ID()).Exit != nil {
			syscall.Kill(int(st.Shim.PID), syscall.SIGCONT)
			h.exited(c)
			continue // it was too quick: all is ended already
		}
		s := newStranger(t, int(st.Program.PID), "sleep", "1000")
		syscall.Kill(int(st.Shim.PID), syscall.SIGCONT)
		x := h.exited(c)
		if x.Exited.RestKilled != 1 || ending(x.Exited.Exit) != "code 0" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if s != nil {
			s.unharmed("after the rest was ended")
			return
		}
	}
	t.Fatal("the number never went to a stranger in time")
}
