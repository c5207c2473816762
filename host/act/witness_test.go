//go:build linux

package act

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
		if w := n.Gone.Witness; w != nil && ending(*w) != "signal 9" {
			t.Errorf("witness saw %s", ending(*w))
		} else if w == nil {
			t.Log("this kernel keeps no exit for a second witness")
		}
		if f := h.look(c.ID()); !f.Dead || f.Exit != nil || f.Started == nil {
			t.Errorf("left %+v", f)
		}
	})
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
		if w := n.Gone.Witness; w != nil && ending(*w) != "signal 15" {
			t.Errorf("witness saw %s", ending(*w))
		}
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
