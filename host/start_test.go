package host

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// TestAStartWaitsForNoSlowChild has every kind of shim stand still while the
// daemon starts: it is ready all the same, with each process counted, and each
// comes to its end or is taken in behind its back.
func TestAStartWaitsForNoSlowChild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	free := w.held("before-go", w.script("true")) // decided: its shim would leave
	var want, kept int
	for range 3 {
		_, r := w.start(bob, "trap '' TERM; "+stays)
		w.began(r)
		_, r = w.keep(alice, stays)
		w.began(r)
		kept++
	}
	orphan := w.script(stays)
	freeOrphan := w.held("after-go", orphan)
	w.began(orphan)
	for _, h := range w.live.Snapshot().Handles() {
		if w.nonceOf(h.Requested.Seq) == orphan.Args[2] {
			w.append(&event.Event{Scope: h.Scope(), Body: &event.ProcessLost{Reason: "may-have-run"}},
				&event.Event{Scope: h.Scope(), Body: &event.HandleReleased{Reason: "dropped"}})
		}
	}
	found, err := w.hands.Scan()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		w.stopShim(f)
		want++
	}
	w.leave(func() { free(); freeOrphan() })
	w.patience = 100 * time.Millisecond
	got := w.open()
	// The orphan's shim is not waited for at all: it is told to go on and to end
	// its tree, which may be done by now.
	if int(got.Silent) < want-1 || int(got.Pending) < want-1 || got.Lost+got.Exited+got.Aborted+got.Adopted+got.Ended != 0 {
		t.Errorf("%d shims stand still, and recovery found %+v", want, got)
	}
	if n := w.live.Snapshot().LiveAll().Total(); int(n) != want-1 {
		t.Errorf("%d processes are counted, want %d", n, want-1)
	}
	if p := w.host.Progress(); p.Settling < want-1 || p.Total != want {
		t.Errorf("progress %+v", p)
	}
	w.until("all but what is given time is settled", func() bool { return w.host.Progress().Settling == kept })
	if n := w.live.Snapshot().LiveAll().Total(); int(n) != kept {
		t.Errorf("%d processes are counted, want the %d that outlive the daemon", n, kept)
	}
	for _, f := range found {
		_ = unix.Kill(int(f.Shim.PID), unix.SIGCONT) // gone, or to be taken in
	}
	w.calm()
	for _, h := range w.live.Snapshot().Handles() {
		if h.Phase != projector.PhaseStarted || h.Adopted.Seq == 0 {
			t.Errorf("%s is %v, want it taken in", h.ID, h.Phase)
		}
	}
}

// TestAStartWaitsForNoEnd has the owner of an ephemeral process stand still once
// it has sent KILL, as where a program does not die: the start goes on.
func TestAStartWaitsForNoEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, r := w.start(alice, stays)
	w.began(r)
	w.abandon()
	go_ := make(chan struct{})
	w.passing = func(point string) {
		if point == "signal-sent" {
			<-go_
		}
	}
	got := w.open() // within its patience of 20 s nothing would end
	if got.Ended != 1 || got.Pending != 1 || got.Silent != 0 || time.Duration(got.TookNano) > w.patience {
		t.Errorf("recovery found %+v", got)
	}
	if h, ok := w.live.Snapshot().Handle(p.ID()); !ok || h.Phase != projector.PhaseStarted || len(h.Signals) != 1 {
		t.Errorf("%+v, want it counted, and KILL on record", h)
	}
	close(go_)
	w.calm()
	if n := w.live.Snapshot().HeldAll().Total(); n != 0 {
		t.Errorf("%d handles are not released", n)
	}
}

// TestTheStartsWaitIsBounded has far more jobs than work at once never come to
// their first step.
func TestTheStartsWaitIsBounded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.patience = 50 * time.Millisecond })
	r := &recovery{h: w.host, began: time.Now(), turns: make(chan struct{}, atOnce)}
	const many = 10 * atOnce
	block := make(chan struct{})
	for range many {
		r.begin(func(*job) error { <-block; return nil })
	}
	err := r.await(t.Context())
	if pending, silent := r.unsettled(); err != nil || pending != many || silent != many {
		t.Errorf("%d go on, %d did not answer, %v", pending, silent, err)
	}
	// One after the other they would take a minute.
	if took := time.Since(r.began); took > 15*time.Second {
		t.Errorf("the start waited for %v", took)
	}
	if n := r.matched.Load() + r.settled.Load(); n != 0 {
		t.Errorf("%d are matched or settled", n)
	}
	close(block)
	w.until("all are settled", func() bool { return r.settled.Load() == many && r.matched.Load() == many })
}

// TestAFailingJobEndsTheStart: what cannot be recorded at the start is no
// recovery.
func TestAFailingJobEndsTheStart(t *testing.T) {
	w := newWorld(t)
	r := &recovery{h: w.host, began: time.Now(), turns: make(chan struct{}, atOnce)}
	r.begin(func(*job) error { return errEnded })
	if err := r.await(t.Context()); err != errEnded {
		t.Errorf("%v", err)
	}
}

// TestAnOrderedEndCutsThePatience has an operator's KILL be on record for a
// persistent process whose shim does not answer: it is not given the time that
// its work would be worth.
func TestAnOrderedEndCutsThePatience(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]event.Body{
		"kill": {&event.SignalRequested{Signal: uint32(unix.SIGKILL), Target: event.TargetTree, Cause: "kill"}},
		"stop": {&event.StopRequested{GraceNano: 1e6, Reason: "operator"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, r := w.keep(alice, "trap '' TERM; "+stays)
			w.began(r)
			o := w.kept(alice, id)
			for _, b := range order {
				w.append(&event.Event{Scope: o.scope, Body: b})
			}
			w.stopShim(w.only())
			w.abandon()
			w.patience = 100 * time.Millisecond
			began := time.Now()
			w.open()
			o = w.host.owner(o.id)
			select {
			case <-o.ended:
			case <-time.After(keptPatience / 2):
				t.Fatal("it is given time")
			}
			if o.outcome.exit == nil || exitText(o.outcome.exit) != "signal 9" {
				t.Errorf("%+v after %v", o.outcome, time.Since(began))
			}
		})
	}
}

// TestAnExitIsRecordedBeforeItsShimHasLeft has a shim stand still when it has
// written the exit, as nobody but a program of its own user could have it do:
// the exit is told, and the handle is not released before the shim is gone.
func TestAnExitIsRecordedBeforeItsShimHasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, r := w.start(alice, gated)
	w.began(r)
	f := w.only()
	w.abandon()
	touch(t, w.witness+"/gate")
	w.exitWritten(f.ID)
	w.until("its shim has left", func() bool { return unix.Kill(int(f.Shim.PID), 0) == unix.ESRCH })
	lock := w.holdLock(p.ID().String())
	w.patience = 100 * time.Millisecond
	w.open()
	w.until("the exit is on record", func() bool {
		h, ok := w.live.Snapshot().Handle(p.ID())
		return ok && h.Phase == projector.PhaseExited
	})
	if _, err := w.hands.Look(p.ID()); err != nil {
		t.Errorf("its directory is gone while somebody holds the lock: %v", err)
	}
	lock.Close()
	w.calm()
	if n := w.live.Snapshot().HeldAll().Total(); n != 0 {
		t.Errorf("%d handles are not released", n)
	}
	if found, err := w.hands.Scan(); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", []act.Found(found), err)
	}
}

// TestWhoAnswersLateIsNotSilent has a shim that did not answer within the start's
// patience leave before the start is over: it is neither pending nor silent.
func TestWhoAnswersLateIsNotSilent(t *testing.T) {
	w := newWorld(t, func(w *world) { w.patience = 20 * time.Millisecond })
	r := &recovery{h: w.host, began: time.Now(), turns: make(chan struct{}, atOnce)}
	block, stay := make(chan struct{}), make(chan struct{})
	r.total.Store(3)
	r.begin(func(*job) error { <-block; return nil })
	r.begin(func(j *job) error { j.match(); <-stay; return nil })
	r.begin(func(*job) error { <-stay; return nil })
	if err := r.await(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(block)
	w.until("the first is settled", func() bool { return r.settled.Load() == 1 })
	got, err := r.finish()
	if err != nil || got.Pending != 2 || got.Silent != 1 {
		t.Errorf("%d go on, %d of them did not answer, %v; want 2 and 1", got.Pending, got.Silent, err)
	}
	close(stay)
}
