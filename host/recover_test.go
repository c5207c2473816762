package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// held has a background spawn stand at a point of its way, until free is
// called, which abandon needs.
func (w *world) held(point string, r Request) (free func()) {
	at, go_ := make(chan struct{}), make(chan struct{})
	w.passing = func(p string) {
		if p == point {
			close(at)
			<-go_
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.host.SpawnBackground(context.Background(), alice, r)
	}()
	<-at
	w.passing = nil
	return func() {
		close(go_)
		w.t.Cleanup(func() { <-done })
	}
}

// only returns the one directory of the world.
func (w *world) only() act.Found {
	w.t.Helper()
	found, err := w.hands.Scan()
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%d directories, %v; want 1", len(found), err)
	}
	return found[0]
}

// look waits until the one directory is as wanted.
func (w *world) look(what string, ok func(act.Found) bool) act.Found {
	w.t.Helper()
	var f act.Found
	w.until(what, func() bool { f = w.only(); return ok(f) })
	return f
}

// leave frees what is held and abandons the world, the hands first.
func (w *world) leave(free func()) {
	w.t.Helper()
	if err := w.hands.Close(); err != nil {
		w.t.Error(err)
	}
	w.host.Stop()
	free()
	w.abandon()
}

// killShim kills the shim of a directory and waits until that is proven.
func (w *world) killShim(f act.Found) {
	w.t.Helper()
	if err := unix.Kill(int(f.Shim.PID), unix.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.until("the shim is dead", func() bool { return unix.Kill(int(f.Shim.PID), 0) == unix.ESRCH })
}

// stopShim has a shim stand still, in every thread.
func (w *world) stopShim(f act.Found) {
	w.t.Helper()
	if err := unix.Kill(int(f.Shim.PID), unix.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	w.until("the shim stands still", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", f.Shim.PID))
		for _, path := range tasks {
			b, rerr := os.ReadFile(path)
			_, rest, _ := strings.Cut(string(b), ") ")
			if rerr != nil || !strings.HasPrefix(rest, "T") {
				return false
			}
		}
		return err == nil && len(tasks) > 0
	})
}

// exitWritten waits for the exit record of a directory, while no daemon looks.
func (w *world) exitWritten(id ulid.ULID) {
	w.t.Helper()
	path := filepath.Join(w.data, "processes", id.String(), "exit")
	w.until("the shim writes the exit", func() bool {
		st, err := os.Stat(path)
		return err == nil && st.Size() > 0
	})
}

// append writes events as they are.
func (w *world) append(es ...*event.Event) {
	w.t.Helper()
	_, err := w.live.Decide(context.Background(), func(*projector.State, ledger.Header) ([]*event.Event, error) { return es, nil })
	if err != nil {
		w.t.Fatal(err)
	}
}

// otherBoot is a clock of a machine that was started again.
type otherBoot struct{}

func (otherBoot) Now() (wall, boot int64) { return walltime(), boottime() }
func (otherBoot) BootID() [16]byte        { return [16]byte{1, 2, 3} }

// reboot has the next start find the machine started again. The shims of before
// are to be dead by then, or strangers.
func (w *world) reboot() {
	w.ledger.Clock = otherBoot{}
	w.boot = otherBoot{}.BootID()
}

// TestRecoveryTable brings the world into the state of each row, has the daemon
// die and start again, and holds what the ledger says then.
func TestRecoveryTable(t *testing.T) {
	waits := func(gate string) string { return `until test -e "$WITNESS/` + gate + `"; do sleep 0.02; done` }
	running := func(w *world, body string) act.Found {
		_, r := w.start(alice, body)
		w.began(r)
		return w.only()
	}
	isStarted := func(f act.Found) bool { return f.Started != nil }
	none := func() {}
	cases := map[string]func(t *testing.T, w *world){
		"nothing": func(t *testing.T, w *world) { w.abandon() },
		"decided-no-go": func(t *testing.T, w *world) {
			w.leave(w.held("before-go", w.script("true")))
		},
		"decided-no-directory": func(t *testing.T, w *world) {
			free := w.held("before-go", w.script("true"))
			f := w.only()
			w.leave(free)
			if err := os.RemoveAll(filepath.Join(w.data, "processes", f.Name)); err != nil {
				t.Fatal(err)
			}
		},
		"decided-silent-shim": func(t *testing.T, w *world) {
			free := w.held("before-go", w.script("true"))
			w.stopShim(w.only())
			w.leave(free)
		},
		"decided-failed": func(t *testing.T, w *world) {
			free := w.held("after-go", Request{Cmd: "no-such-program"})
			w.look("failed is written", func(f act.Found) bool { return f.Failed != nil })
			w.leave(free)
		},
		"decided-go-only": func(t *testing.T, w *world) {
			free := w.held("after-go", w.script("true"))
			w.look("the shim is dead", func(f act.Found) bool { return f.Go && f.Dead })
			w.leave(free)
		},
		"decided-started": func(t *testing.T, w *world) {
			r := w.script(stays)
			free := w.held("after-go", r)
			w.look("started is written", isStarted)
			w.began(r)
			w.leave(free)
		},
		"decided-exited": func(t *testing.T, w *world) {
			free := w.held("after-go", w.script("true"))
			w.look("exit is written", func(f act.Found) bool { return f.Exit != nil && f.Dead })
			w.leave(free)
		},
		"started-alive": func(t *testing.T, w *world) {
			running(w, "trap '' INT TERM; "+stays)
			w.abandon()
		},
		"started-silent-shim": func(t *testing.T, w *world) {
			w.stopShim(running(w, stays))
			w.abandon()
		},
		"started-exited": func(t *testing.T, w *world) {
			f := running(w, waits("gate"))
			w.abandon()
			if err := os.WriteFile(filepath.Join(w.witness, "gate"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.exitWritten(f.ID)
		},
		"started-shim-killed": func(t *testing.T, w *world) {
			f := running(w, stays)
			w.abandon()
			w.killShim(f)
		},
		"decided-reboot": func(t *testing.T, w *world) {
			w.leave(w.held("before-go", w.script("true")))
			w.reboot()
		},
		"started-reboot": func(t *testing.T, w *world) {
			f := running(w, stays)
			w.abandon()
			w.killShim(f)
			w.reboot()
		},
		"started-exited-reboot": func(t *testing.T, w *world) {
			f := running(w, waits("gate"))
			w.abandon()
			if err := os.WriteFile(filepath.Join(w.witness, "gate"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.exitWritten(f.ID)
			w.reboot()
		},
		"terminal-not-released": func(t *testing.T, w *world) {
			p, _ := w.start(alice, "true")
			if _, err := p.Wait(t.Context(), alice, nil); err != nil {
				t.Fatal(err)
			}
			w.abandon()
		},
		"terminal-shim-alive": func(t *testing.T, w *world) {
			r := w.script(stays)
			free := w.held("after-go", r)
			w.began(r)
			h := w.live.Snapshot().Handles()[0]
			w.append(&event.Event{Scope: h.Scope(), Body: &event.ProcessLost{Reason: "may-have-run"}})
			w.leave(free)
		},
		"released-shim-alive": func(t *testing.T, w *world) {
			r := w.script(stays)
			free := w.held("after-go", r)
			w.began(r)
			h := w.live.Snapshot().Handles()[0]
			w.append(&event.Event{Scope: h.Scope(), Body: &event.ProcessLost{Reason: "may-have-run"}},
				&event.Event{Scope: h.Scope(), Body: &event.HandleReleased{Reason: "dropped"}})
			w.leave(free)
		},
		"released-directory": func(t *testing.T, w *world) {
			w.abandon()
			if err := os.MkdirAll(filepath.Join(w.data, "processes", newID().String()), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"prepared-undecided": func(t *testing.T, w *world) {
			_, err := w.hands.Prepare(t.Context(), act.Spec{ID: newID(), Argv: []string{"sh"}, Path: "sh", Dir: "/"})
			if err != nil {
				t.Fatal(err)
			}
			w.abandon()
		},
		"cancel-unfinished": func(t *testing.T, w *world) {
			running(w, "trap '' INT; "+stays)
			if _, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil {
				t.Fatal(err)
			}
			w.abandon()
		},
		"signal-not-sent": func(t *testing.T, w *world) {
			running(w, `trap 'echo hit >>"$WITNESS/hit"' USR1; `+stays)
			h := w.live.Snapshot().Handles()[0]
			w.append(&event.Event{Scope: h.Scope(), Body: &event.SignalRequested{Signal: uint32(unix.SIGUSR1), Target: event.TargetProgram, Cause: "signal"}})
			w.abandon()
		},
		"invocation-open": func(t *testing.T, w *world) {
			if _, _, err := w.host.BeginInvocation(t.Context(), alice, "tool_execute_x", nil); err != nil {
				t.Fatal(err)
			}
			w.abandon()
		},
		"stray-file": func(t *testing.T, w *world) {
			w.leave(none)
			if err := os.WriteFile(filepath.Join(w.data, "processes", "README"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, prepare := range cases {
		for _, mode := range modes() {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(w *world) {
					w.mode = mode
					if name == "decided-go-only" {
						w.shim = crashingShim()
					}
				})
				prepare(t, w)
				w.recovered(name)
			})
		}
	}
}

// recovered starts the daemon again, twice, and compares what the first start
// made of it with a golden file.
func (w *world) recovered(name string) {
	w.t.Helper()
	w.open()
	w.calm()
	golden(w.t, filepath.Join("recovery", name+".txt"), w.story())
	if _, err := os.Stat(filepath.Join(w.witness, "hit")); err == nil {
		w.t.Error("a signal was sent again")
	}
	if _, err := os.Stat(filepath.Join(w.data, "processes", "README")); !errors.Is(err, os.ErrNotExist) {
		w.t.Errorf("a stray is still there: %v", err)
	}
	w.check()
	w.abandon()
	again := w.open()
	again.TookNano = 0
	if fmt.Sprint(again) != fmt.Sprint(event.RecoveryFinished{}) {
		w.t.Errorf("a second recovery found %+v", again)
	}
}

// calm waits until nothing of what recovery found goes on in the background.
func (w *world) calm() {
	w.t.Helper()
	w.until("what recovery found is settled", func() bool { return w.host.Progress().Settling == 0 })
}

// story tells the events of the newest recovery, one a line. Its end comes last:
// what goes on in the background may be faster or slower.
func (w *world) story() string {
	var b strings.Builder
	var es []*event.Event
	for _, e := range w.events(1) {
		if e.Kind() == event.KindRecoveryStarted {
			es = nil
		}
		es = append(es, e)
	}
	var last string
	for _, e := range es {
		line := fmt.Sprintf("%v%s\n", e.Kind(), gist(e.Body))
		if e.Kind() == event.KindRecoveryFinished {
			last = line
			continue
		}
		b.WriteString(line)
	}
	return b.String() + last
}

// gist is what matters of a body.
func gist(b event.Body) string {
	switch b := b.(type) {
	case *event.RecoveryStarted:
		return fmt.Sprintf(" handles=%d directories=%d", b.Handles, b.Directories)
	case *event.RecoveryFinished:
		return fmt.Sprintf(" adopted=%d exited=%d lost=%d aborted=%d failed=%d ended=%d orphans=%d resumed=%d",
			b.Adopted, b.Exited, b.Lost, b.Aborted, b.Failed, b.Ended, b.Orphans, b.Resumed) + findings(b)
	case *event.SpawnAborted:
		return " " + b.Reason
	case *event.SpawnFailed:
		return fmt.Sprintf(" %s errno=%d", b.Step, b.Errno)
	case *event.ProcessExited:
		return fmt.Sprintf(" %s cause=%s after-restart=%v", exitText(&b.Exit), b.Cause, b.AfterRestart)
	case *event.ProcessLost:
		return fmt.Sprintf(" %s witness=%s", b.Reason, exitText(b.Witness))
	case *event.SignalRequested:
		return fmt.Sprintf(" %s target=%d cause=%s late=%v", unix.SignalName(unix.Signal(b.Signal)), b.Target, b.Cause, b.Late)
	case *event.SignalSent:
		return fmt.Sprintf(" %s delivered=%v", unix.SignalName(unix.Signal(b.Signal)), b.Delivered)
	case *event.HandleReleased:
		return " " + b.Reason
	case *event.OrphanEnded:
		return fmt.Sprintf(" shim=%v reason=%q", b.Shim != nil, b.Reason)
	case *event.InvocationFinished:
		return " " + b.Outcome
	case *event.TimerFired:
		return " " + b.Timer
	}
	return ""
}

// findings are the other figures that are not 0, without those that depend on
// how fast something was.
func findings(b *event.RecoveryFinished) (text string) {
	for _, f := range []struct {
		name string
		n    uint32
	}{
		{"reboot", b.LostReboot}, {"maybe", b.LostMaybe}, {"no-directory", b.LostNoDirectory}, {"released", b.Released}, {"retained", b.Retained},
		{"damaged", b.Damaged}, {"trash", b.Trash}, {"foreign", b.Foreign}, {"missing", b.Missing}, {"unsent", b.Unsent},
	} {
		if f.n > 0 {
			text += fmt.Sprintf(" %s=%d", f.name, f.n)
		}
	}
	return text
}

// TestNoDirectoryIsNoProofOfDeath has the directory of a living process be
// away while the daemon starts, and then be there and not to be looked at: it
// stays counted until it can be taken in.
func TestNoDirectoryIsNoProofOfDeath(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, stays)
	w.began(r)
	w.abandon()
	dir, away := filepath.Join(w.data, "processes", p.ID().String()), filepath.Join(w.data, "away")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	w.patience = startBound
	w.open()
	counted := func(when string) {
		t.Helper()
		h, ok := w.live.Snapshot().Handle(p.ID())
		if !ok || h.Phase != projector.PhaseStarted {
			t.Fatalf("%s: a living process is not counted any more", when)
		}
	}
	counted("without its directory")
	if err := os.Symlink(away, dir); err != nil { // no directory, but something
		t.Fatal(err)
	}
	rec := &recovery{h: w.host}
	before := &act.Found{ID: p.ID()}
	if f, err := rec.lookAgain(p.ID(), before); err == nil || f != before {
		t.Errorf("a look that fails: %v, %v; want what was seen before, and the error", f, err)
	}
	counted("with a directory that cannot be looked at")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	w.until("it is taken in and ended", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
}

// TestRecoveryBesideOwnersThatFinish matches what it saw of a handle and of a
// directory that their owner has released meanwhile: nothing is recorded or
// counted.
func TestRecoveryBesideOwnersThatFinish(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, stays)
	w.began(r)
	rec := &recovery{h: w.host, inProcess: true}
	j := &job{r: rec, matched: make(chan struct{})}
	if handles, found, err := rec.look(); err != nil || len(handles)+len(found) != 0 {
		t.Errorf("%d handles and %d directories of owners were looked at, %v", len(handles), len(found), err)
	}
	handle, _ := w.live.Snapshot().Handle(p.ID())
	f := w.only()
	rec.boot = handle.Decided.BootID
	if err := p.Drop(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	before := w.live.Snapshot().Seq()
	if err := rec.settle(j, rec.take(handle), handle, nil); err != nil {
		t.Error(err)
	}
	if err := rec.orphan(j, f); err != nil {
		t.Error(err)
	}
	if after := w.live.Snapshot().Seq(); after != before {
		t.Errorf("%d events were recorded", after-before)
	}
	if fmt.Sprint(rec.n) != fmt.Sprint(event.RecoveryFinished{}) {
		t.Errorf("counted: %+v", rec.n)
	}
}
