package host

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
)

// ended waits until a process's end is durable.
func (w *world) ended(id string) {
	w.t.Helper()
	if _, err := w.host.WaitProcess(w.t.Context(), alice, id, time.Minute); err != nil && CodeOf(err) != Unknown {
		w.t.Fatal(err)
	}
}

// told is what the newest run of the daemon recorded of processes, one event a
// line.
func (w *world) told() string {
	var b strings.Builder
	for line := range strings.Lines(w.story()) {
		if !strings.HasPrefix(line, "recovery.") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestRecoveryOfKept is the recovery table for what outlives the daemon: what
// the ledger says after the restart, and what the creator can still ask.
func TestRecoveryOfKept(t *testing.T) {
	gate := gated + "; echo late; exit 7"
	cases := map[string]struct {
		script  string
		change  func(*Request)
		prepare func(t *testing.T, w *world, id string)   // then the daemon dies
		away    func(t *testing.T, w *world, f act.Found) // while it is dead
		after   string                                    // what a status says then
		logs    string                                    // what is left of the output
		want    event.RecoveryFinished
		until   event.Kind // what is waited for
	}{
		"alive": {
			script: "echo early; " + stays, after: "running", logs: "early\n",
			want: event.RecoveryFinished{Adopted: 1}, until: event.KindProcessAdopted,
		},
		"exited-meanwhile": {
			script: gate, after: "code 7", logs: "late\n",
			away: func(t *testing.T, w *world, f act.Found) { touch(t, w.witness+"/gate"); w.exitWritten(f.ID) },
			want: event.RecoveryFinished{Exited: 1},
		},
		"exited-before": {
			script: "echo early; exit 3", after: "code 3", logs: "early\n",
			prepare: func(_ *testing.T, w *world, id string) { w.ended(id) },
			want:    event.RecoveryFinished{Retained: 1},
		},
		"exited-before-half-read": {
			script: "echo early; exit 3", after: "code 3",
			prepare: func(t *testing.T, w *world, id string) {
				w.ended(id)
				if logs, err := w.host.ReadProcessLogs(t.Context(), alice, id); err != nil || string(logs.Stdout) != "early\n" {
					t.Errorf("%q, %v", logs.Stdout, err)
				}
			},
			want: event.RecoveryFinished{Retained: 1},
		},
		"lifetime-over-meanwhile": {
			script: "trap 'echo late; exit 6' TERM; " + stays, after: "code 6", logs: "late\n",
			change: func(r *Request) { r.MaxLifetimeMS = ptr(uint64(1000)) },
			away:   func(_ *testing.T, w *world, f act.Found) { w.exitWritten(f.ID) },
			want:   event.RecoveryFinished{Exited: 1},
		},
		"shim-killed": {
			script: "echo early; " + stays, after: "none", logs: "early\n",
			prepare: func(_ *testing.T, w *world, id string) { w.hasWritten(id) },
			away:    func(_ *testing.T, w *world, f act.Found) { w.killShim(f) },
			want:    event.RecoveryFinished{Lost: 1},
		},
		"reboot": {
			script: "echo early; " + stays, after: "none", logs: "early\n",
			prepare: func(_ *testing.T, w *world, id string) { w.hasWritten(id) },
			away: func(_ *testing.T, w *world, f act.Found) {
				w.killShim(f)
				w.reboot()
			},
			want: event.RecoveryFinished{Lost: 1, LostReboot: 1},
		},
		"exited-reboot": {
			script: gate, after: "code 7", logs: "late\n",
			away: func(t *testing.T, w *world, f act.Found) {
				touch(t, w.witness+"/gate")
				w.exitWritten(f.ID)
				w.reboot()
			},
			want: event.RecoveryFinished{Exited: 1},
		},
		"stop-unfinished": {
			script: "trap '' TERM; " + stays, after: "gone",
			prepare: func(t *testing.T, w *world, id string) {
				h, _ := w.live.Snapshot().Handle(w.kept(alice, id).id)
				w.append(&event.Event{Scope: h.Scope(), Body: &event.StopRequested{GraceNano: 3e8, Reason: "guest"}})
			},
			want: event.RecoveryFinished{Adopted: 1, Resumed: 1}, until: event.KindHandleReleased,
		},
		"stopped-and-exited-meanwhile": {
			script: gate, after: "gone",
			prepare: func(t *testing.T, w *world, id string) {
				h, _ := w.live.Snapshot().Handle(w.kept(alice, id).id)
				w.append(&event.Event{Scope: h.Scope(), Body: &event.StopRequested{GraceNano: 3e8, Reason: "guest"}})
			},
			away: func(t *testing.T, w *world, f act.Found) { touch(t, w.witness+"/gate"); w.exitWritten(f.ID) },
			want: event.RecoveryFinished{Exited: 1}, until: event.KindHandleReleased,
		},
		"idle-unfinished": {
			script: "trap 'exit 9' TERM; " + stays, after: "code 9",
			prepare: func(t *testing.T, w *world, id string) {
				h, _ := w.live.Snapshot().Handle(w.kept(alice, id).id)
				w.append(&event.Event{Scope: h.Scope(), Body: &event.TimerFired{Timer: "idle"}})
			},
			want: event.RecoveryFinished{Adopted: 1, Resumed: 1}, until: event.KindProcessExited,
		},
		"retention-over": {
			script: "exit 3", after: "gone", change: func(r *Request) { r.ExitRetentionMS = ptr(uint64(1000)) },
			prepare: func(_ *testing.T, w *world, id string) { w.ended(id) },
			away:    func(*testing.T, *world, act.Found) { time.Sleep(1100 * time.Millisecond) },
			want:    event.RecoveryFinished{Retained: 1}, until: event.KindHandleReleased,
		},
		"watched": {
			script: gate, after: "code 7", logs: "late\n",
			prepare: func(t *testing.T, w *world, id string) {
				if err := w.host.WatchProcess(t.Context(), alice, id, nil); err != nil {
					t.Error(err)
				}
			},
			away: func(t *testing.T, w *world, f act.Found) { touch(t, w.witness+"/gate"); w.exitWritten(f.ID) },
			want: event.RecoveryFinished{Exited: 1},
		},
	}
	for name, c := range cases {
		for _, mode := range modes() {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(w *world) { w.mode = mode })
				id, r := w.keep(alice, c.script, func(r *Request) {
					if c.change != nil {
						c.change(r)
					}
				})
				w.began(r)
				if c.prepare != nil {
					c.prepare(t, w, id)
				}
				f := w.only()
				w.abandon()
				if c.away != nil {
					c.away(t, w, f)
				}
				found := w.open()
				found.TookNano, found.Pending = 0, 0
				if fmt.Sprint(found) != fmt.Sprint(c.want) {
					t.Errorf("recovery found %+v, want %+v", found, c.want)
				}
				if c.until != 0 {
					w.until(c.until.String(), func() bool { return strings.Contains(w.told(), c.until.String()) })
				}
				w.settled()
				golden(t, filepath.Join("recovery", "kept-"+name+".txt"), w.told())
				if got := w.after(id); got != c.after {
					t.Errorf("afterwards: %s, want %s", got, c.after)
				}
				// A shim tells of the exit first and leaves then.
				w.until("its shim has left", func() bool {
					left, err := w.hands.Look(f.ID)
					return c.after == "running" || err != nil || left.Dead
				})
				w.check()
				// The same once more: nothing is lost to a second restart.
				w.abandon()
				w.open()
				if got := w.after(id); got != c.after {
					t.Errorf("after a second restart: %s, want %s", got, c.after)
				}
				if c.after == "gone" {
					return
				}
				if logs, err := w.host.ReadProcessLogs(t.Context(), alice, id); err != nil || string(logs.Stdout) != c.logs {
					t.Errorf("output %q, %v, want %q", logs.Stdout, err, c.logs)
				}
				first, err := w.host.ReadSince(t.Context(), alice, id, Stdout, nil, 1000)
				if err != nil || !strings.HasSuffix(string(first.Data), c.logs) || first.DrainedEOF != (c.after != "running") {
					t.Errorf("read since: %+v, %v", first, err)
				}
			})
		}
	}
}

// after is what is told of a process.
func (w *world) after(id string) string {
	w.t.Helper()
	i, err := w.host.ProcessStatus(w.t.Context(), alice, id)
	switch {
	case CodeOf(err) == NoSuchProcess && err != nil:
		return "gone"
	case err != nil:
		return err.Error()
	case i.Phase == Running:
		return "running"
	}
	return exitText(i.Exit)
}

// hasWritten waits until some output has come into the rings.
func (w *world) hasWritten(id string) {
	w.t.Helper()
	w.until("it writes", func() bool {
		i, err := w.host.ProcessStatus(w.t.Context(), alice, id)
		return err != nil || i.Buffered > 0
	})
}

// TestASilentShimIsGivenTime has a shim stand still while the daemon starts: the
// start goes on without it, its process is counted and not killed, and taken in
// once the shim answers.
func TestASilentShimIsGivenTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap 'exit 4' TERM; "+stays)
	w.began(r)
	f := w.only()
	w.stopShim(f)
	w.abandon()
	w.patience = startBound
	if found := w.open(); found.Adopted != 0 || found.Lost != 0 || found.Ended != 0 || found.Silent != 1 || found.Pending != 1 {
		t.Errorf("%+v", found)
	}
	if got := w.after(id); got != "running" {
		t.Errorf("while the shim is silent: %s", got)
	}
	ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer leave()
	if _, err := w.host.ReadProcessLogs(ctx, alice, id); CodeOf(err) != Cancelled {
		t.Errorf("read-logs of it: %v", err)
	}
	if err := unix.Kill(int(f.Shim.PID), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.until("it is taken in", func() bool { return strings.Contains(w.told(), "process.adopted") })
	if exit, err := w.host.StopProcess(t.Context(), alice, id, nil); err != nil || exitText(&exit) != "code 4" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
}

// TestCancelOfASilentShim: a call by id does not wait for a shim that does not
// answer once its invocation is cancelled, though it works after a cancel.
func TestCancelOfASilentShim(t *testing.T) {
	w := newWorld(t)
	o := w.host.newOwner(newID(), event.Scope{}, event.TierPersistent, event.Orders{})
	c, cancelled := alice, make(chan struct{})
	c.Soft = cancelled
	close(cancelled)
	began := time.Now()
	if err := o.answers(t.Context(), c); CodeOf(err) != Cancelled || time.Since(began) >= reachBound {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	close(o.running)
	if err := o.answers(t.Context(), c); err != nil {
		t.Errorf("once it answers: %v", err)
	}
}
