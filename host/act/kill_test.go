//go:build linux

package act

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestKillEndsWhatScanFound(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		polite := h.start(h.sh("(setsid sleep 1000 &); sleep 1000"))
		h.started(polite)
		halted := h.start(h.spec("sleep", "1000"))
		syscall.Kill(int(h.started(halted).Shim.PID), syscall.SIGSTOP)
		h.reopen()
		if held := h.held(); len(held) != 2 {
			t.Fatalf("found %+v", held)
		}
		for _, f := range h.held() {
			r := h.commit(f.ID, &event.OrphanEnded{Directory: f.Name})
			if err := h.hands.Kill(r, f); err != nil {
				t.Errorf("kill %s: %v", f.Name, err)
			}
			if err := h.hands.Kill(r, f); !errors.Is(err, ledger.ErrReceiptUsed) {
				t.Errorf("kill twice: %v", err)
			}
		}
		for _, c := range []*Child{polite, halted} {
			if f := h.look(c.ID()); f.Exit == nil || f.Exit.Exited.Cause != "kill" || !f.Dead {
				t.Errorf("asked to end, it left %+v", f)
			}
		}
	})
}

// A KILL ends the tree of a shim that is stopped, as a program of the same user
// can do to it without a namespace.
func TestAKillEndsTheTreeOfAStoppedShim(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		script := "exec sleep 1000"
		if h.mode == IsolationNone {
			script = "while [ ! -e told ]; do sleep 0.01; done; kill -STOP $PPID; " + script
		}
		c := h.start(h.sh(script))
		st := h.started(c)
		if h.mode == IsolationPIDNS {
			syscall.Kill(int(st.Shim.PID), syscall.SIGSTOP)
		} else if err := os.WriteFile(filepath.Join(h.dir, "told"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		h.until("the shim stops", func() bool { return stopped(st.Shim.PID) })
		got := h.signal(c, 9, event.TargetTree, "cancel")
		if got.Delivered || !strings.Contains(got.Detail, "continued") {
			t.Errorf("the result is %+v", got)
		}
		if x := h.exited(c); x.Exited.Cause != "cancel" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

// A shim that has taken this end for gone cannot be asked any more, and lives. A
// KILL ends it and its tree all the same.
func TestAKillEndsTheTreeOfAShimThatHungUp(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("exec sleep 1000"))
		st := h.started(c)
		dirfd, err := openDir(c.path)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFD(dirfd)
		other, err := shim.Dial(dirfd) // the newest connection is the one that counts
		if err != nil {
			t.Fatal(err)
		}
		h.until("the shim hangs up", func() bool {
			_, err := c.ask(&shim.Message{Type: shim.TypeDrained}, time.Millisecond)
			return errors.Is(err, ErrShimGone)
		})
		other.Close()
		got := h.signal(c, 9, event.TargetTree, "stop")
		if !got.Delivered {
			t.Errorf("the result is %+v", got)
		}
		if x := h.exited(c); x.Exited.Cause != "stop" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if f := h.look(c.ID()); !f.Dead || !h.hands.Gone(st.Program) {
			t.Errorf("left %+v", f)
		}
	})
}

// One that is stopped again and again is killed.
func TestAKillEndsTheTreeOfAShimThatStaysStopped(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("exec sleep 1000"))
		pid := int(h.started(c).Shim.PID)
		again, over := context.WithCancel(t.Context())
		halted := make(chan struct{})
		p, err := c.shim.dup()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(halted)
			for again.Err() == nil && p.signal(syscall.SIGSTOP) == nil && p.wait(time.Microsecond) != nil {
			}
		}()
		h.until("the shim stops", func() bool { return stopped(uint32(pid)) })
		got := h.signal(c, 9, event.TargetTree, "cancel")
		over()
		<-halted
		p.close()
		if got.Delivered || got.Detail == "" {
			t.Errorf("the result is %+v", got)
		}
		// In the instant between CONT and STOP it may have done it itself.
		n := h.next(c)
		t.Logf("%s; %s", got.Detail, show(n))
		if n.Exited == nil && (n.Gone == nil || !n.Gone.Ran) {
			t.Errorf("got %s", show(n))
		}
		if f := h.look(c.ID()); !f.Dead {
			t.Errorf("left %+v", f)
		}
	})
}

// The request of another signal, or of a KILL of the program alone, is no
// authority to end the tree, and is not used up by the attempt.
func TestKillTakesNoLesserSignal(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c := h.start(h.spec("sleep", "1000"))
	h.started(c)
	for _, q := range []*event.SignalRequested{
		{Signal: 15, Target: event.TargetTree}, {Signal: 9, Target: event.TargetProgram}, {Signal: 10, Target: event.TargetProgram},
	} {
		if err := h.hands.Kill(h.commit(c.ID(), q), h.look(c.ID())); !errors.Is(err, ledger.ErrReceiptMismatch) {
			t.Errorf("kill by signal %d to target %d: %v", q.Signal, q.Target, err)
		}
	}
	if f := h.look(c.ID()); f.Dead || f.Exit != nil {
		t.Fatal("it was ended")
	}
	r := h.commit(c.ID(), &event.SignalRequested{Signal: 9, Target: event.TargetTree, Cause: "owner-lost"})
	if err := h.hands.Kill(r, h.look(c.ID())); err != nil {
		t.Error(err)
	}
	if f := h.look(c.ID()); !f.Dead || f.Exit == nil || f.Exit.Exited.Cause != "owner-lost" {
		t.Errorf("left %+v", f)
	}
}

// A shim that does not answer is killed itself: here one that waits for go, and
// listens to its own daemon only.
func TestKillEndsAShimThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, IsolationNone)
	c := h.prepare(h.spec("true"))
	if err := h.hands.Kill(h.commit(c.ID(), &event.OrphanEnded{}), h.look(c.ID())); err != nil {
		t.Fatal(err)
	}
	if n := h.next(c); n.Gone == nil || n.Gone.Ran {
		t.Errorf("got %s", show(n))
	}
	if f := h.look(c.ID()); !f.Dead || f.Go {
		t.Errorf("left %+v", f)
	}
}

// A KILL does not wait for a shim whose queue is full: a program of the same user
// can stop it, and write into its ring that it waits to be told of every drain.
func TestAKillEndsTheTreeOfAShimWithAFullQueue(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("exec sleep 1000"))
		pid := h.started(c).Shim.PID
		syscall.Kill(int(pid), syscall.SIGSTOP)
		h.until("the shim stops", func() bool { return stopped(pid) })
		for i, full := 0, false; !full && i < 10000; i++ {
			c.logs[0].StillBlocked()
			if _, _, err := c.DrainLogs(); err != nil {
				t.Fatal(err)
			}
			full = c.logs[0].WasBlocked() // nobody could be told
		}
		killed := make(chan SignalResult, 1)
		go func() { killed <- h.signal(c, 9, event.TargetTree, "cancel") }()
		select {
		case got := <-killed:
			if got.Delivered || got.Detail == "" {
				t.Errorf("the result is %+v", got)
			}
		case <-time.After(bound):
			t.Error("the KILL hangs")
			syscall.Kill(int(pid), syscall.SIGCONT)
		}
		h.next(c)
	})
}

// dial connects to a child's shim as the next daemon would.
func (h *house) dial(c *Child) *shim.Conn {
	h.t.Helper()
	dirfd, err := openDir(c.path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer closeFD(dirfd)
	conn, err := shim.Dial(dirfd)
	if err == nil {
		err = conn.Send(&shim.Message{Type: shim.TypeHello})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// A program of the same user can write into its ring, without end, that somebody
// asks to be told of output: a daemon that is slow to read is not given up for
// it, or nobody could end the program.
func TestAProgramThatAsksWithoutEndCanBeEnded(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		s := h.role("asks")
		s.Env = append(s.Env, "RINGS="+h.hands.path(s.ID))
		c := h.start(s)
		h.started(c)
		slow := h.dial(c)
		defer slow.Close()
		was := c.Written()[Stdout]
		h.until("far more is written than fits the queue", func() bool { return c.Written()[Stdout] > was+5000 })
		kill := &shim.Message{Type: shim.TypeSignal, Seq: 1, Signal: 9, Target: shim.TargetTree, Cause: "cancel"}
		if err := slow.Send(kill); err != nil {
			t.Errorf("the shim has given up: %v", err)
			h.kill(c)
			return
		}
		for ended := false; !ended; {
			m, fds, err := slow.Recv()
			if err != nil {
				t.Fatal(err)
			}
			shim.CloseAll(fds)
			ended = m.Type == shim.TypeExited
		}
		h.exited(c)
	})
}

// asksRole writes byte by byte, and into its ring that somebody asks.
func asksRole() int {
	dirfd, err := openDir(os.Getenv("RINGS"))
	if err != nil {
		return 1
	}
	ring, err := shim.OpenRingReader(dirfd, shim.FileStdout)
	if err != nil {
		return 1
	}
	for one := []byte{1}; ring.Ask() == nil; {
		syscall.Write(1, one)
	}
	return 1
}
