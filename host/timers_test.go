package host

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

func idleAfter(d time.Duration) func(*Request) {
	return func(r *Request) { r.IdleTimeoutMS = ptr(uint64(d.Milliseconds())) }
}

func retainedFor(d time.Duration) func(*Request) {
	return func(r *Request) { r.ExitRetentionMS = ptr(uint64(d.Milliseconds())) }
}

// timers are the timers that have fired, and when.
func (w *world) timers() (fired []string, at []int64) {
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.TimerFired); ok {
			fired, at = append(fired, b.Timer), append(at, e.Boottime)
		}
	}
	return fired, at
}

// endOf waits for the recorded end of a process, without using it.
func (w *world) endOf(o *owner) (exit *event.Exit, cause string) {
	w.t.Helper()
	select {
	case <-o.ended:
	case <-time.After(20 * time.Second):
		w.t.Fatal("it does not end")
	}
	return o.outcome.exit, o.outcome.cause
}

func TestIdleEndsWhatNobodyUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap 'exit 8' TERM; "+stays, idleAfter(300*time.Millisecond))
	w.began(r)
	o := w.kept(alice, id)
	exit, cause := w.endOf(o)
	if exitText(exit) != "code 8" || cause != "idle" {
		t.Errorf("%s by %s, want the answer to TERM", exitText(exit), cause)
	}
	fired, at := w.timers()
	if len(fired) != 1 || fired[0] != "idle" || at[0] < o.kept.touched.Load()+300e6 {
		t.Errorf("fired %v", fired)
	}
	// Its exit can still be asked for.
	if i, err := w.host.ProcessStatus(t.Context(), alice, id); err != nil || i.Phase != Exited {
		t.Errorf("%+v, %v", i, err)
	}
}

// TestIdleKillsWhatIgnoresTERM has the grace of five seconds pass.
func TestIdleKillsWhatIgnoresTERM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap '' TERM; "+stays, idleAfter(300*time.Millisecond))
	o := w.kept(alice, id)
	w.began(r)
	if exit, cause := w.endOf(o); exitText(exit) != "signal 9" || cause != "idle" {
		t.Errorf("%s by %s", exitText(exit), cause)
	}
	if _, at := w.timers(); time.Duration(boottime()-at[0]) < graceNano {
		t.Error("killed before the grace was over")
	}
	w.dead()
}

// TestAWaitIsAUse: a wait that is longer than the idle timeout is not reaped
// under it, nor is any other call that lasts. When it is over, the timeout
// counts from there.
func TestAWaitIsAUse(t *testing.T) {
	t.Parallel()
	const idle = 200 * time.Millisecond
	long := 3 * idle
	waits := map[string]func(ctx context.Context, w *world, id string){
		"wait by id": func(ctx context.Context, w *world, id string) {
			if _, err := w.host.WaitProcess(ctx, alice, id, long); CodeOf(err) != WaitTimeout {
				t.Errorf("wait: %v", err)
			}
		},
		"wait by handle": func(ctx context.Context, w *world, id string) {
			if _, err := w.attach(id).Wait(ctx, alice, &long); CodeOf(err) != WaitTimeout {
				t.Errorf("wait: %v", err)
			}
		},
		"wait with output": func(ctx context.Context, w *world, id string) {
			if _, err := w.attach(id).WaitWithOutput(ctx, alice, &long); CodeOf(err) != WaitTimeout {
				t.Errorf("wait: %v", err)
			}
		},
		"blocked pollable": func(ctx context.Context, w *world, id string) {
			s, err := w.attach(id).SubscribeExit(alice)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(ctx, long)
			defer cancel()
			if ready, _ := poll.Wait(ctx, s); len(ready) != 0 {
				t.Error("it has ended")
			}
		},
		"blocked write": func(ctx context.Context, w *world, id string) {
			ctx, cancel := context.WithTimeout(ctx, long)
			defer cancel()
			if _, err := w.host.WriteProcessStdin(ctx, alice, id, make([]byte, 1<<20)); CodeOf(err) != Cancelled {
				t.Errorf("write: %v", err)
			}
		},
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, r := w.keep(alice, stays, idleAfter(idle), open)
			o := w.kept(alice, id)
			done := o.use()
			w.began(r)
			done()
			wait(t.Context(), w, id)
			over := boottime()
			if o.over() {
				t.Error("it was reaped under the wait")
			}
			if _, cause := w.endOf(o); cause != "idle" {
				t.Errorf("ended by %s", cause)
			}
			if _, at := w.timers(); at[0] < over+idle.Nanoseconds()-50e6 {
				t.Errorf("the timeout does not count from the end of the wait: %v after it", time.Duration(at[0]-over))
			}
		})
	}
}

// TestEveryCallIsAUse holds which calls put the idle timeout off.
func TestEveryCallIsAUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap : USR1; "+stays, open)
	w.began(r)
	p := w.attach(id)
	ctx, h := t.Context(), w.host
	calls := map[string]func() error{
		"status":      func() error { _, err := h.ProcessStatus(ctx, alice, id); return err },
		"status-many": func() error { _, err := h.StatusMany(ctx, alice, []string{id}); return err },
		"attach":      func() error { _, err := h.Attach(ctx, alice, id); return err },
		"read-logs":   func() error { _, err := h.ReadProcessLogs(ctx, alice, id); return err },
		"read-since":  func() error { _, err := h.ReadSince(ctx, alice, id, Stdout, nil, 10); return err },
		"write-stdin": func() error { _, err := h.WriteProcessStdin(ctx, alice, id, []byte("x")); return ignore(err, Closed) },
		"signal":      func() error { return h.SignalProcess(ctx, alice, id, SigUsr1) },
		"watch":       func() error { return h.WatchProcess(ctx, alice, id, nil) },
		"unwatch":     func() error { return h.UnwatchProcess(ctx, alice, id) },
		"wait":        func() error { _, err := h.WaitProcess(ctx, alice, id, 0); return ignore(err, WaitTimeout) },
		"release":     func() error { return ignore(h.ReleaseProcess(ctx, alice, id), InvalidInput) },
		"handle":      func() error { _, err := p.OSPid(alice); return err },
		"close-stdin": func() error { return h.CloseProcessStdin(ctx, alice, id) },
	}
	k := w.kept(alice, id).kept
	for name, call := range calls {
		k.touched.Store(1)
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if k.touched.Load() == 1 || k.uses.Load() != 0 {
			t.Errorf("%s is no use, or never over: %d uses", name, k.uses.Load())
		}
	}
	for name, call := range map[string]func() error{
		"list":       func() error { _, err := h.ListProcesses(ctx, alice, nil); return err },
		"a stranger": func() error { _, err := h.ProcessStatus(ctx, bob, id); return ignore(err, NoSuchProcess) },
	} {
		k.touched.Store(1)
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if k.touched.Load() != 1 {
			t.Errorf("%s is a use", name)
		}
	}
	k.touch()
}

func ignore(err error, code Code) error {
	if err != nil && CodeOf(err) == code {
		return nil
	}
	return err
}

// TestTimersSurviveARestart: lifetime counts from the recorded start, idle from
// the adoption, retention from the recorded end.
func TestTimersSurviveARestart(t *testing.T) {
	t.Parallel()
	t.Run("lifetime", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id, r := w.keep(alice, "trap 'exit 8' TERM; "+stays, func(r *Request) { r.MaxLifetimeMS = ptr(uint64(2000)) })
		w.began(r)
		h, _ := w.live.Snapshot().Handle(w.kept(alice, id).id)
		time.Sleep(500 * time.Millisecond) // of the lifetime, before the restart
		w.abandon()
		w.open()
		exit, cause := w.endOf(w.kept(alice, id))
		_, at := w.timers()
		if exitText(exit) != "code 8" || cause != "lifetime" || len(at) != 1 {
			t.Fatalf("%s by %s, %d timers", exitText(exit), cause, len(at))
		}
		if after := time.Duration(at[0] - h.Started.Boot); after < 2*time.Second || after > 5*time.Second {
			t.Errorf("the lifetime was over %v after the start", after)
		}
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id, r := w.keep(alice, "trap 'exit 8' TERM; "+stays, idleAfter(time.Second))
		w.began(r)
		time.Sleep(500 * time.Millisecond)
		w.abandon()
		before := boottime()
		w.open()
		if exit, cause := w.endOf(w.kept(alice, id)); exitText(exit) != "code 8" || cause != "idle" {
			t.Errorf("%s by %s", exitText(exit), cause)
		}
		if _, at := w.timers(); len(at) != 1 || at[0] < before+1e9 {
			t.Errorf("the adoption was no use: %v", at)
		}
	})
	t.Run("retention", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		id, _ := w.keep(alice, "exit 8", retainedFor(1500*time.Millisecond))
		o := w.kept(alice, id)
		w.endOf(o)
		h, _ := w.live.Snapshot().Handle(o.id)
		time.Sleep(500 * time.Millisecond)
		w.abandon()
		w.open()
		if got := w.after(id); got != "code 8" {
			t.Errorf("after the restart: %s", got)
		}
		w.until("the retention is over", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
		fired, at := w.timers()
		if len(fired) != 1 || fired[0] != "retention" {
			t.Fatalf("fired %v", fired)
		}
		if after := time.Duration(at[0] - h.Ended.Boot); after < 1500*time.Millisecond || after > 5*time.Second {
			t.Errorf("the retention was over %v after the end", after)
		}
		w.settled()
	})
}

// TestRetentionOverAReboot counts by the wall clock, and never longer than was
// granted.
func TestRetentionOverAReboot(t *testing.T) {
	k := &kept{retention: (5 * time.Minute).Nanoseconds()}
	left := func(ended projector.Moment, sameBoot bool) time.Duration {
		return time.Duration(k.releaseDue(ended, sameBoot) - boottime()).Round(time.Second)
	}
	ago := func(d time.Duration) projector.Moment {
		return projector.Moment{Wall: walltime() - d.Nanoseconds(), Boot: boottime() - d.Nanoseconds()}
	}
	for d, want := range map[time.Duration]time.Duration{
		0: 5 * time.Minute, time.Minute: 4 * time.Minute, 10 * time.Minute: -5 * time.Minute,
	} {
		if got := left(ago(d), true); got != want {
			t.Errorf("same boot, ended %v ago: %v left, want %v", d, got, want)
		}
	}
	for d, want := range map[time.Duration]time.Duration{
		0: 5 * time.Minute, time.Minute: 4 * time.Minute, 10 * time.Minute: 0,
		-time.Hour: 5 * time.Minute, // the clock was set back
	} {
		ended := ago(d)
		ended.Boot = 1 << 60 // of a clock that is gone
		if got := left(ended, false); got != want {
			t.Errorf("another boot, ended %v ago: %v left, want %v", d, got, want)
		}
	}
}

// TestRetentionEndsWhatNobodyReleases holds the events of it, and that an
// attached handle does not hold it off.
func TestRetentionEndsWhatNobodyReleases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.keep(alice, "echo x; exit 8", retainedFor(500*time.Millisecond))
	p := w.attach(id)
	if err := w.host.WatchProcess(t.Context(), alice, id, nil); err != nil {
		t.Fatal(err)
	}
	w.endOf(p.o)
	w.until("it is gone", func() bool { return w.after(id) == "gone" })
	w.settled()
	if _, err := p.ReadLogs(t.Context(), alice); CodeOf(err) != Closed {
		t.Errorf("a handle of it: %v", err)
	}
	es := w.events(1)
	last := es[len(es)-3:]
	if last[0].Kind() != event.KindTimerFired || last[0].Actor.Kind != event.ActorTimer ||
		last[1].Kind() != event.KindWatchDisarmed || last[2].Kind() != event.KindHandleReleased {
		t.Errorf("%v by %v, %v, %v", last[0].Kind(), last[0].Actor.Kind, last[1].Kind(), last[2].Kind())
	}
	if n := w.directories(); n != 0 {
		t.Errorf("%d directories", n)
	}
}

// Being taken in is a use, also where the shim was silent for long before it.
func TestIdleCountsFromALateAdoption(t *testing.T) {
	t.Parallel()
	const idle = 1500 * time.Millisecond
	w := newWorld(t)
	_, r := w.keep(alice, "trap 'exit 8' TERM; "+stays, idleAfter(idle))
	w.began(r)
	f := w.only()
	w.stopShim(f)
	w.abandon()
	w.patience = startBound
	w.open() // it goes on to wait for the shim, longer than that
	if err := unix.Kill(int(f.Shim.PID), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.endOf(w.host.owner(f.ID))
	var adopted int64
	for _, e := range w.events(1) {
		if e.Kind() == event.KindProcessAdopted {
			adopted = e.Boottime
		}
	}
	// The adoption is recorded a little after it.
	if fired, at := w.timers(); len(fired) != 1 || time.Duration(at[0]-adopted) < idle-200*time.Millisecond {
		t.Errorf("fired %v, %v after the adoption", fired, time.Duration(at[0]-adopted))
	}
}

// The machine may sleep, and a timer of Go's does not know: an alarm is looked at
// often enough to be late by a minute at most.
func TestAlarmsAreNotLateAfterASleep(t *testing.T) {
	o := new(owner)
	if _, ok := o.untilAlarm(); ok {
		t.Error("there is none")
	}
	o.alarms = []alarm{{at: boottime() + int64(6*time.Hour)}}
	if pause, ok := o.untilAlarm(); !ok || pause != time.Minute {
		t.Errorf("one in six hours is looked at in %v", pause)
	}
	o.alarms = append(o.alarms, alarm{at: boottime() + int64(time.Second)}, alarm{at: boottime() + int64(time.Hour)})
	if pause, ok := o.untilAlarm(); !ok || pause > time.Second || pause < time.Second/2 {
		t.Errorf("one in a second is looked at in %v", pause)
	}
	o.alarms = append(o.alarms, alarm{at: boottime() - int64(time.Hour)}) // while it slept
	if pause, ok := o.untilAlarm(); !ok || pause != 0 {
		t.Errorf("one that is due is looked at in %v", pause)
	}
}
