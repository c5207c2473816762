package host

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// signals are the signals that were requested with a cause.
func (w *world) signals(cause string) (sent []uint32, at []int64) {
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.SignalRequested); ok && b.Cause == cause {
			sent, at = append(sent, b.Signal), append(at, e.Boottime)
		}
	}
	return sent, at
}

// delivered waits until it is on record that a signal with that cause was sent.
func (w *world) delivered(cause string) {
	w.t.Helper()
	w.until("the signal is recorded as sent", func() bool {
		for _, h := range w.live.Snapshot().Handles() {
			for _, ob := range h.Obligations {
				if (ob.Cause == cause || ob.Reason == cause) && ob.Gentle.Sent.Seq != 0 {
					return true
				}
			}
		}
		return false
	})
}

// TestGracesGoOnOverARestart restarts the daemon between the gentle signal of
// each kind of ending and its KILL: early, when some of the grace is left, and
// late, when it has passed while no daemon was there. The gentle signal is not
// sent again, and KILL comes when it is due, by CLOCK_BOOTTIME.
func TestGracesGoOnOverARestart(t *testing.T) {
	t.Parallel()
	const stopGrace = 3 * time.Second
	endings := map[string]struct {
		grace  time.Duration
		gentle unix.Signal
		change func(*Request)
		order  func(w *world, o *owner)
	}{
		"stop": {stopGrace, unix.SIGTERM, func(*Request) {}, func(w *world, o *owner) {
			grace := stopGrace
			w.host.work.Go(func() { _, _ = w.host.StopProcess(w.t.Context(), alice, o.kept.id, &grace) })
		}},
		"idle":     {graceNano, unix.SIGTERM, idleAfter(200 * time.Millisecond), func(*world, *owner) {}},
		"lifetime": {graceNano, unix.SIGTERM, func(r *Request) { r.MaxLifetimeMS = ptr(uint64(300)) }, func(*world, *owner) {}},
		"cancel": {cancelNano, unix.SIGINT, func(*Request) {}, func(w *world, o *owner) {
			// A cancel by call ids does not reach the persistent tier: it is
			// written as it would be for one that does.
			id, scope := newID(), o.scope
			scope.Actor = operator
			w.append(&event.Event{Scope: event.Scope{Principal: "alice", Actor: operator}, Body: &event.CancelRequested{Cancel: id[:], CallIDs: []string{"call-1"}, Handles: [][]byte{o.id[:]}}})
			w.host.work.Go(func() {
				_, _ = o.signal(w.t.Context(), operator, &event.SignalRequested{Signal: uint32(unix.SIGINT), Target: event.TargetTree, Cause: "cancel", Cancel: id[:]})
			})
		}},
	}
	for name, c := range endings {
		for _, late := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "/late", false: "/early"}[late], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				id, r := w.keep(alice, "trap '' INT TERM; "+stays, c.change)
				w.began(r)
				o := w.kept(alice, id)
				c.order(w, o)
				w.delivered(name)
				h, _ := w.live.Snapshot().Handle(o.id)
				opened := h.Obligations[0].Opened.Boot
				w.abandon()
				late := late && name != "lifetime" // its KILL is a standing order of the shim, too
				if late {
					w.until("the grace has passed", func() bool { return boottime() > opened+c.grace.Nanoseconds() })
				}
				back := boottime()
				w.open()
				o = w.host.owner(o.id)
				exit, cause := w.endOf(o)
				if exitText(exit) != "signal 9" || cause != name {
					t.Errorf("%s by %s", exitText(exit), cause)
				}
				sent, at := w.signals(name)
				if len(sent) != 2 || sent[0] != uint32(c.gentle) || sent[1] != uint32(unix.SIGKILL) {
					t.Fatalf("signals %v, want one %v and one KILL", sent, c.gentle)
				}
				if after := time.Duration(at[1] - opened); after < c.grace || after > c.grace+10*time.Second {
					t.Errorf("KILL came %v after the order, want %v", after, c.grace)
				}
				if after := time.Duration(at[1] - back); late && after > max(c.grace, 3*time.Second) {
					t.Errorf("what was due came %v after the restart", after)
				}
				w.until("nothing is left of a cancel", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
			})
		}
	}
}

// TestALifetimeThatEndsAlone has the shim send TERM while no daemon is there, and
// the daemon come back within the grace: the timer is recorded once, and KILL
// comes when the shim has it due.
func TestALifetimeThatEndsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap '' TERM; "+stays, func(r *Request) { r.MaxLifetimeMS = ptr(uint64(1000)) })
	w.began(r)
	o := w.kept(alice, id)
	h, _ := w.live.Snapshot().Handle(o.id)
	due := h.Started.Boot + 1e9
	w.abandon()
	w.until("the lifetime is over", func() bool { return boottime() > due+2e8 })
	w.open()
	exit, cause := w.endOf(w.host.owner(o.id))
	if exitText(exit) != "signal 9" || cause != "lifetime" {
		t.Errorf("%s by %s", exitText(exit), cause)
	}
	if fired, _ := w.timers(); len(fired) != 1 || fired[0] != "lifetime" {
		t.Errorf("fired %v", fired)
	}
	if sent, _ := w.signals("lifetime"); len(sent) != 0 {
		t.Errorf("the daemon ordered %v for what its shim had done", sent)
	}
	h, _ = w.live.Snapshot().Handle(o.id)
	if after := time.Duration(h.Ended.Boot - due); after < graceNano-100*time.Millisecond || after > graceNano+10*time.Second {
		t.Errorf("it ended %v after its lifetime", after)
	}
}

// TestDeadlinesOfAnotherBoot has every kind of timer be open when the machine is
// started again, by a clock that was far ahead: what was ordered ends with the
// process, which is lost, and its retention counts from there, as granted.
func TestDeadlinesOfAnotherBoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, stays, idleAfter(time.Hour), retainedFor(time.Second))
	w.began(r)
	o := w.kept(alice, id)
	w.append(&event.Event{Scope: o.scope, Body: &event.StopRequested{GraceNano: 3600e9, Reason: "shutdown"}},
		&event.Event{Scope: o.scope, Body: &event.TimerFired{Timer: "idle"}})
	ended, _ := w.keep(alice, "exit 3", retainedFor(time.Hour))
	w.ended(ended)
	f, _ := w.hands.Look(o.id)
	w.abandon()
	w.killShim(f)
	w.reboot()
	got := w.open()
	if got.LostReboot != 1 || got.Resumed != 0 || got.Retained != 1 {
		t.Errorf("recovery found %+v", got)
	}
	h, ok := w.live.Snapshot().Handle(o.id)
	if !ok || h.Phase != projector.PhaseLost || len(h.Obligations) != 0 {
		t.Errorf("%+v", h)
	}
	// A state shows an event a moment before readers of the ledger do.
	w.until("its retention is over", func() bool { fired, _ := w.timers(); return len(fired) == 2 })
	if fired, at := w.timers(); fired[1] != "retention" || time.Duration(at[1]-h.Ended.Boot) < time.Second {
		t.Errorf("fired %v", fired)
	}
	if got := w.after(ended); got != "code 3" {
		t.Errorf("what is retained for an hour: %s", got)
	}
	if sent, _ := w.signals("stop"); len(sent) != 0 {
		t.Errorf("signals %v were requested for the dead", sent)
	}
}

// TestAnEphemeralThatNoDaemonCameBackFor has the shim carry out its standing
// order alone, and the next daemon take in what it did.
func TestAnEphemeralThatNoDaemonCameBackFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.host.orphan = 3e8
	p, r := w.start(alice, "trap '' INT TERM; "+stays)
	w.began(r)
	w.abandon()
	w.exitWritten(p.ID())
	if got := w.open(); got.Exited != 1 || got.Ended != 0 {
		t.Errorf("recovery found %+v", got)
	}
	w.calm()
	var exit *event.ProcessExited
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessExited); ok {
			exit = b
		}
	}
	if exit == nil || exitText(&exit.Exit) != "signal 9" || exit.Cause != "orphaned" || !exit.AfterRestart {
		t.Errorf("%+v", exit)
	}
	if fired, _ := w.timers(); len(fired) != 1 || fired[0] != "orphan" {
		t.Errorf("fired %v", fired)
	}
}
