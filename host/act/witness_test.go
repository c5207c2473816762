//go:build linux

package act

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// killShim ends a shim by SIGKILL, as an operator's mistake would.
func killShim(t *testing.T, c *Child) {
	t.Helper()
	if err := c.shim.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestAKilledShimTakesItsTreeAlong(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		// Without a namespace only the program itself is sure to die with
		// its shim; so there it has no children here.
		script := "echo up; exec sleep 1000"
		if h.mode == IsolationPIDNS {
			script = "(setsid sleep 1001 &); " + script
		}
		c := h.start(h.sh(script))
		h.started(c)
		h.waitOutput(c, "up")
		killShim(t, c)
		n := h.next(c)
		if n.Gone == nil || !n.Gone.Ran {
			t.Fatalf("got %s", show(n))
		}
		checkSeen(t, n.Gone.Witness, "signal 9")
		if f := h.look(c.ID()); !f.Dead || f.Exit != nil || f.Started == nil {
			t.Errorf("left %+v", f)
		}
	})
}

// keepsExits tells whether this kernel remembers, for those who hold its pidfd,
// how a process ended that others have reaped (Linux 6.15).
var keepsExits = sync.OnceValue(func() bool {
	cmd := exec.Command("true")
	if cmd.Start() != nil {
		return false
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	cmd.Wait()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, ok := shim.ExitedStatus(fd)
	return ok
})

// checkSeen holds that a second witness saw what happened, where there can be one.
func checkSeen(t *testing.T, witness *event.Exit, want string) {
	t.Helper()
	switch {
	case witness != nil && ending(*witness) != want:
		t.Errorf("the witness saw %s, want %s", ending(*witness), want)
	case witness == nil && keepsExits():
		t.Errorf("nobody saw %s, and this kernel remembers it", want)
	case witness == nil:
		t.Log("this kernel remembers no exits here: there is no second witness")
	}
}

func TestAnExitWithoutItsShimHasASecondWitness(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.spec("sleep", "1000"))
		st := h.started(c)
		// The shim is stopped, so it cannot reap; the program ends by itself.
		syscall.Kill(int(st.Shim.PID), syscall.SIGSTOP)
		h.until("the shim stops", func() bool { return stopped(st.Shim.PID) })
		syscall.Kill(int(st.Program.PID), syscall.SIGTERM)
		h.until("the program ends", func() bool { return h.hands.gone(st.Program) })
		killShim(t, c)
		n := h.next(c)
		if n.Gone == nil {
			t.Fatalf("got %s", show(n))
		}
		checkSeen(t, n.Gone.Witness, "signal 15")
	})
}

// stopped tells whether every thread of a process has stopped.
func stopped(pid uint32) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		if !strings.Contains(string(b), ") T ") {
			return false
		}
	}
	return len(stats) > 0
}

// Without pidfs handles and all else that came after Linux 6.1, who a process is
// stands in boot, number and start time: that is enough to scan, adopt, signal and
// end, and to prove death; only the second witness is missing.
func TestAnOlderKernelIsEnough(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		h.hands.oldKernel = true
		kept, found, killed := h.start(h.sh("trap 'exit 6' USR1; echo up; while :; do sleep 0.01; done")), h.start(h.spec("sleep", "1000")), h.start(h.spec("sleep", "1000"))
		st := h.started(kept)
		h.started(found)
		h.started(killed)
		h.waitOutput(kept, "up")
		h.reopen()
		h.hands.oldKernel = true
		if held := h.held(); len(held) != 3 {
			t.Fatalf("found %+v", held)
		}
		c, err := h.hands.Adopt(t.Context(), kept.ID())
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		h.signal(c, int(syscall.SIGUSR1), event.TargetProgram, "signal")
		if x := h.exited(c); ending(x.Exited.Exit) != "code 6" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		h.until("death is proven", func() bool { return h.look(kept.ID()).Dead && h.hands.Gone(st.Shim) })
		// One that cannot be spoken with is ended by its identity.
		os.Remove(filepath.Join(h.hands.path(found.ID()), shim.FileSock))
		if err := h.hands.Kill(h.commit(found.ID(), &event.OrphanEnded{}), h.look(found.ID())); err != nil {
			t.Error(err)
		}
		if f := h.look(found.ID()); !f.Dead || f.Exit != nil {
			t.Errorf("left %+v", f)
		}
		if c, err = h.hands.Adopt(t.Context(), killed.ID()); err != nil {
			t.Fatal(err)
		}
		h.started(c)
		killShim(t, c)
		if n := h.next(c); n.Gone == nil || !n.Gone.Ran || n.Gone.Witness != nil {
			t.Errorf("got %s", show(n))
		}
	})
}
