//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestEOFBeforeGoRunsNothing(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.prepare(h.sh("echo ran >>witness"))
		if f := h.look(c.ID()); !f.LockHeld || f.Dead || f.Go || f.Shim.PID == 0 {
			t.Errorf("waiting: %+v", f)
		}
		h.reopen()
		h.until("the shim leaves", func() bool { return h.look(c.ID()).Dead })
		if f := h.look(c.ID()); f.Go || f.Started != nil || f.Failed != nil || f.Exit != nil || f.LockHeld {
			t.Errorf("left %+v", f)
		}
		if exists(filepath.Join(h.dir, "witness")) {
			t.Error("it ran")
		}
	})
}

func TestAbandonLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.prepare(h.sh("echo ran >>witness"))
		if err := c.Abandon(); err != nil {
			t.Fatal(err)
		}
		if exists(h.hands.path(c.ID())) || exists(filepath.Join(h.dir, "witness")) {
			t.Error("something is left")
		}
		if err := c.Go(h.decided(c.ID())); !errors.Is(err, ErrShimGone) {
			t.Errorf("go after abandon: %v", err)
		}
		if _, ok := <-c.Notices(); ok {
			t.Error("an abandoned child has a notice")
		}
	})
}

func TestAProgramOutlivesTheDaemonAndItsExitIsTrue(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, filepath.Join(h.dir, "gate"))
		c := h.start(h.sh("echo one; read x <gate; echo two; echo end >>witness; exit 6"))
		h.started(c)
		h.waitOutput(c, "one")
		h.reopen()
		if f := h.look(c.ID()); !f.LockHeld || f.Started == nil || f.Exit != nil || f.Dead {
			t.Fatalf("found %+v", f)
		}
		release(t, filepath.Join(h.dir, "gate"))
		h.until("the exit record", func() bool { return h.look(c.ID()).Exit != nil })
		h.until("proof of death", func() bool { return h.look(c.ID()).Dead })
		f := h.look(c.ID())
		if ending(f.Exit.Exited.Exit) != "code 6" || f.Exit.Exited.Stdout.Bytes != 8 || !exists(filepath.Join(h.dir, "witness")) {
			t.Errorf("recorded %+v", f.Exit)
		}
	})
}

func TestAdoptGoesOnWhereTheOtherStopped(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("trap 'echo bye; exit 5' TERM; echo one; echo two; while :; do sleep 0.01; done"))
		first := h.started(c)
		h.waitOutput(c, "two")
		h.reopen()
		c, err := h.hands.Adopt(t.Context(), c.ID())
		if err != nil {
			t.Fatal(err)
		}
		if again := h.started(c); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("adopted as %+v, was %+v", again, first)
		}
		if out, _ := h.drain(c); out != "" {
			t.Errorf("drained twice: %q", out)
		}
		h.signal(c, int(syscall.SIGTERM), event.TargetProgram, "stop")
		if x := h.exited(c); ending(x.Exited.Exit) != "code 5" || x.Exited.Cause != "stop" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if out, _ := h.drain(c); out != "bye\n" {
			t.Errorf("drained %q", out)
		}
	})
}

func TestAHangingDaemonIsReplaced(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		old := h.start(h.spec("sleep", "1000"))
		h.started(old)
		other, err := New(h.ledger, Options{Dir: h.dir, Shim: shimBinary, Isolation: h.mode})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		c, err := other.Adopt(t.Context(), old.ID())
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		if _, err := old.Signal(h.commit(old.ID(), &event.SignalRequested{Signal: 9, Target: event.TargetTree})); !errors.Is(err, ErrShimGone) {
			t.Errorf("the old connection still commands: %v", err)
		}
		h.kill(c)
		if n := h.next(old); n.Exited == nil {
			t.Errorf("the old child learned %s", show(n))
		}
	})
}

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

func TestTheOrphanOrderFiresAlone(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		s := h.sh("(setsid sleep 1000 &); sleep 1001")
		s.Orders = event.Orders{OrphanNano: seconds(0.3)}
		c := h.start(s)
		h.started(c)
		h.reopen()
		h.until("the exit record", func() bool { return h.look(c.ID()).Exit != nil })
		x := h.look(c.ID()).Exit
		if x.Order != "orphan" || x.DueBoot == 0 || x.Exited.Cause != "orphaned" || ending(x.Exited.Exit) != "signal 9" {
			t.Errorf("recorded %+v", x)
		}
	})
}

func TestAdoptionStopsTheOrphanClock(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.spec("sleep", "1000")
	s.Orders = event.Orders{OrphanNano: seconds(0.5)}
	c := h.start(s)
	h.started(c)
	h.reopen()
	c, err := h.hands.Adopt(t.Context(), c.ID())
	if err != nil {
		t.Fatal(err)
	}
	h.started(c)
	select {
	case n := <-c.Notices():
		t.Errorf("an adopted program ended: %s", show(n))
	case <-time.After(time.Second):
	}
	h.kill(c)
}

func TestTheLifetimeOrderFiresAlone(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for _, c := range []struct{ script, want string }{
			{"trap 'echo bye; exit 3' TERM; while :; do sleep 0.01; done", "code 3"},
			{"trap '' TERM; while :; do sleep 0.01; done", "signal 9"},
		} {
			s := h.sh(c.script)
			s.Orders = event.Orders{LifetimeNano: seconds(0.4), GraceNano: seconds(0.3)}
			child := h.start(s)
			st := h.started(child)
			h.reopen()
			h.until("the exit record", func() bool { return h.look(child.ID()).Exit != nil })
			x := h.look(child.ID()).Exit
			if x.Order != "lifetime" || x.Exited.Cause != "lifetime" || ending(x.Exited.Exit) != c.want {
				t.Errorf("recorded %+v", x)
			}
			if due := st.StartedBoot + s.Orders.LifetimeNano; x.DueBoot != due || x.Exited.EndedBoot < due {
				t.Errorf("due %d, recorded %d, ended %d", due, x.DueBoot, x.Exited.EndedBoot)
			}
		}
	})
}

func TestAnOrderThatFiredIsToldToTheNextDaemon(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.sh("trap 'echo term' TERM; echo up; while :; do sleep 0.01; done")
	s.Orders = event.Orders{LifetimeNano: seconds(0.3), GraceNano: seconds(1000)}
	c := h.start(s)
	st := h.started(c)
	h.waitOutput(c, "up")
	h.reopen()
	time.Sleep(time.Until(time.Unix(0, st.StartedWall+s.Orders.LifetimeNano)))
	h.until("the order fired", func() bool {
		c, err := h.hands.Adopt(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		select {
		case n := <-c.Notices():
			return n.Fired != nil && n.Fired.Timer == "lifetime" && n.Fired.DueBoot == st.StartedBoot+s.Orders.LifetimeNano
		default:
			c.Close()
			return false
		}
	})
	c, _ = h.hands.Child(s.ID)
	if x := h.kill(c); x.Order != "lifetime" || x.Exited.Cause != "kill" {
		t.Errorf("ended %s", show(Notice{Exited: x}))
	}
}

func TestTheShimGoesOnWithALifetimeThatTheDaemonBegan(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.sh("trap '' TERM; echo up; while :; do sleep 0.01; done")
	s.Orders = event.Orders{LifetimeNano: seconds(1000), GraceNano: seconds(0.3)}
	c := h.start(s)
	h.started(c)
	h.waitOutput(c, "up")
	h.signal(c, int(syscall.SIGTERM), event.TargetTree, "lifetime")
	h.reopen()
	h.until("the exit record", func() bool { return h.look(s.ID).Exit != nil })
	if x := h.look(s.ID).Exit; x.Order != "lifetime" || x.Exited.Cause != "lifetime" || ending(x.Exited.Exit) != "signal 9" {
		t.Errorf("recorded %+v", x)
	}
}

func TestTheShimActsWhenAConnectedDaemonDoesNot(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.spec("sleep", "1000")
	s.Orders = event.Orders{LifetimeNano: seconds(0.1), GraceNano: seconds(1)}
	c := h.start(s)
	h.started(c)
	n := h.next(c)
	if n.Fired == nil || n.Fired.Timer != "lifetime" || n.Fired.DueBoot == 0 {
		t.Errorf("got %s", show(n))
	}
	if x := h.exited(c); x.Order != "lifetime" || x.Exited.Cause != "lifetime" || ending(x.Exited.Exit) != "signal 15" {
		t.Errorf("ended %s", show(Notice{Exited: x}))
	}
}

func TestTheLauncherIsReplaced(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.spec("sleep", "1000"))
		h.started(c)
		for range 3 {
			r := h.hands.launch.running
			r.cmd.Process.Kill()
			<-r.done
			if x, _ := h.run(h.sh("exit 2")); ending(x.Exited.Exit) != "code 2" {
				t.Errorf("after the launcher's death: %s", show(Notice{Exited: x}))
			}
		}
		if x := h.kill(c); ending(x.Exited.Exit) != "signal 9" {
			t.Errorf("the older program ended %s", show(Notice{Exited: x}))
		}
	})
}

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

// One that is stopped again and again is killed.
func TestAKillEndsTheTreeOfAShimThatStaysStopped(t *testing.T) {
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

// An identity of another boot may look like a stranger who lives now: here like
// the shim of another handle.
func TestAnotherBootNamesNobody(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c := h.start(h.spec("sleep", "1000"))
	h.started(c)
	old := newID()
	if err := os.CopyFS(h.hands.path(old), recordsOf(h.hands.path(c.ID()))); err != nil {
		t.Fatal(err)
	}
	if f := h.look(old); f.LockHeld || f.Dead || f.OtherBoot {
		t.Errorf("a living process counts as gone: %+v", f)
	}
	boot := h.hands.bootID
	h.hands.bootID[0] ^= 1
	f := h.look(old)
	if !f.Dead || !f.OtherBoot || f.Started == nil {
		t.Errorf("of another boot: %+v", f)
	}
	if err := h.hands.Kill(h.commit(old, &event.OrphanEnded{}), f); err != nil {
		t.Error(err)
	}
	h.hands.bootID = boot
	if x := h.kill(c); x.Exited.Cause != "kill" {
		t.Errorf("the stranger ended %s", show(Notice{Exited: x}))
	}
}

// recordsOf is a process directory without its lock.
func recordsOf(dir string) fstest.MapFS {
	files := fstest.MapFS{}
	for _, name := range []string{"ready", "go", "started"} {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		files[name] = &fstest.MapFile{Data: b, Mode: 0o600}
	}
	return files
}

// What has a handle's name and is no process directory hides nothing else, and
// can be deleted as the stray that it is.
func TestABadEntryDoesNotHideTheOthers(t *testing.T) {
	h := newHouse(t, IsolationNone)
	_, c := h.run(h.sh("exit 0"))
	file, link, dangling, locked := newID(), newID(), newID(), newID()
	for _, err := range []error{
		os.WriteFile(h.hands.path(file), []byte("x"), 0o600),
		os.Symlink(h.hands.path(c.ID()), h.hands.path(link)),
		os.Symlink("nowhere", h.hands.path(dangling)),
		os.MkdirAll(filepath.Join(h.hands.path(locked), "lock"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := h.hands.Scan()
	if err != nil || len(found) != 5 {
		t.Fatalf("scan: %+v, %v", found, err)
	}
	for _, f := range found {
		switch {
		case f.Name == c.ID().String():
			if f.ID != c.ID() || f.Exit == nil {
				t.Errorf("the good one: %+v", f)
			}
		case f.Name == locked.String():
			if f.ID != locked || f.Dead || f.LockHeld || len(f.Damaged) != 1 || f.Damaged[0] != "lock" {
				t.Errorf("without a lock that can be tried: %+v", f)
			}
		case f.ID != ulid.ULID{}:
			t.Errorf("a stray counts as a process: %+v", f)
		default:
			if err := h.hands.TrashStray(h.commit(ulid.ULID{}, &event.OrphanEnded{Directory: f.Name}), f.Name); err != nil {
				t.Error(err)
			}
		}
	}
	if !exists(h.hands.path(c.ID())) {
		t.Error("the deletion of a link reached what it points to")
	}
	os.RemoveAll(h.hands.path(locked)) // nobody is in it; the end of the test would take it for alive
	if found, err := h.hands.Scan(); err != nil || len(found) != 1 {
		t.Errorf("left: %+v, %v", found, err)
	}
}

func TestTrashAndStrays(t *testing.T) {
	h := newHouse(t, IsolationNone)
	x, c := h.run(h.sh("exit 0"))
	if x == nil {
		t.Fatal()
	}
	stray := filepath.Join(h.hands.processes(), "not-a-handle")
	os.Mkdir(stray, 0o700)
	found, err := h.hands.Scan()
	if err != nil || len(found) != 2 {
		t.Fatalf("scan: %v, %v", found, err)
	}
	if err := h.hands.Trash(h.decided(c.ID()), c.ID()); !errors.Is(err, ledger.ErrReceiptMismatch) {
		t.Errorf("trash by a decision: %v", err)
	}
	if err := h.hands.Trash(h.commit(c.ID(), &event.HandleReleased{Reason: "dropped"}), c.ID()); err != nil {
		t.Error(err)
	}
	if err := h.hands.TrashStray(h.commit(ulid.ULID{}, &event.OrphanEnded{Directory: "other"}), "not-a-handle"); err == nil {
		t.Error("a stray was deleted by another's authority")
	}
	if err := h.hands.TrashStray(h.commit(ulid.ULID{}, &event.OrphanEnded{Directory: "not-a-handle"}), "not-a-handle"); err != nil {
		t.Error(err)
	}
	if exists(h.hands.path(c.ID())) || exists(stray) {
		t.Error("something is left")
	}
	// A crash between rename and delete: the next start finishes it.
	os.MkdirAll(filepath.Join(h.hands.trash(), "half", "deep"), 0o700)
	h.reopen()
	if left, _ := os.ReadDir(h.hands.trash()); len(left) > 0 {
		t.Errorf("the trash holds %v", left)
	}
}

// daemonRole is a daemon that starts a program and is killed: it prints what it
// started.
func daemonRole() int {
	dir := os.Getenv("DIR")
	l, err := ledger.Open(filepath.Join(dir, "ledger2"), ledger.Options{Fold: noFold{}})
	if err != nil {
		panic(err)
	}
	t := &testing.T{}
	h := &house{t: t, dir: dir, mode: os.Getenv("MODE"), nonce: os.Getenv("NONCE"), ledger: l}
	h.hands, err = New(l, Options{Dir: dir, Shim: os.Getenv("ACT_TEST_SHIM"), Isolation: h.mode})
	if err != nil {
		panic(err)
	}
	s := h.sh("echo start >>witness; while [ ! -e stop ]; do sleep 0.01; done; echo end >>witness; exit 11")
	c, err := h.hands.Prepare(context.Background(), s)
	if err != nil {
		panic(err)
	}
	if err := c.Go(h.decided(s.ID)); err != nil {
		panic(err)
	}
	h.started(c)
	fmt.Println(s.ID)
	select {}
}

func TestSIGKILLOfTheDaemonLosesNothing(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		exe, _ := os.Executable()
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "ACT_TEST_ROLE=daemon", "DIR="+h.dir, "MODE="+h.mode, "NONCE="+h.nonce, "ACT_TEST_SHIM="+shimBinary)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var name string
		fmt.Fscan(out, &name)
		cmd.Process.Kill()
		cmd.Wait()
		id, err := ulid.ParseStrict(name)
		if err != nil {
			t.Fatalf("the daemon said %q", name)
		}
		f := h.look(id)
		if !f.LockHeld || f.Started == nil || h.hands.gone(f.Started.Program) {
			t.Fatalf("found %+v", f)
		}
		os.WriteFile(filepath.Join(h.dir, "stop"), nil, 0o644)
		h.until("the exit record", func() bool { return h.look(id).Exit != nil })
		if x := h.look(id).Exit; ending(x.Exited.Exit) != "code 11" || x.Exited.Cause != "self" {
			t.Errorf("recorded %+v", x)
		}
		if w, _ := os.ReadFile(filepath.Join(h.dir, "witness")); strings.Join(lines(string(w)), " ") != "start end" {
			t.Errorf("witness saw %q", w)
		}
	})
}
