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

// TestAShimWithoutADirectoryLeaves deletes a process directory under a shim that
// no daemon holds: nobody can ever find it again.
func TestAShimWithoutADirectoryLeaves(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, filepath.Join(h.dir, "gate"))
		c := h.start(h.sh("echo one; read x <gate"))
		st := h.started(c)
		h.waitOutput(c, "one")
		h.reopen()
		if err := os.RemoveAll(h.hands.path(c.ID())); err != nil {
			t.Fatal(err)
		}
		release(t, filepath.Join(h.dir, "gate"))
		h.until("program and shim are gone", func() bool { return h.hands.gone(st.Program) && h.hands.gone(st.Shim) })
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
		// A KILL would find its way by a connection of its own, which ends the tree all the same: see kill_test.go.
		if _, err := old.Signal(h.commit(old.ID(), &event.SignalRequested{Signal: 15, Target: event.TargetTree})); !errors.Is(err, ErrShimGone) {
			t.Errorf("the old connection still commands: %v", err)
		}
		h.kill(c)
		if n := h.next(old); n.Exited == nil {
			t.Errorf("the old child learned %s", show(n))
		}
	})
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
