package host

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
)

// holdLock locks a process directory as a living shim does.
func (w *world) holdLock(name string) *os.File {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.data, "processes", name, "lock"), os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// strange makes strangers of a shim and its program: they live on, with the
// numbers, start times and handles that the directory tells of, and hold no lock
// of it. So it looks after a restart of the machine if two of its new processes
// are unlike enough to be alike.
func (w *world) strange(f act.Found) {
	w.t.Helper()
	path := filepath.Join(w.data, "processes", f.Name, "lock")
	if err := os.Remove(path); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = unix.Kill(int(f.Shim.PID), unix.SIGKILL) })
}

func alive(pid uint32) bool { return unix.Kill(int(pid), 0) == nil }

// TestNothingIsAdoptedByNumber starts the machine again, and has processes live
// that look just like those of before: they are not adopted, signalled or waited
// for, whatever the ledger or a directory says. In the same boot they would be
// the proof that nobody is lost.
func TestNothingIsAdoptedByNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, stays)
	w.began(r)
	kept := w.kept(alice, id).id
	p, r := w.start(alice, stays)
	w.began(r)
	orphan, r := w.start(bob, stays)
	w.began(r)
	w.append(&event.Event{Scope: orphan.o.scope, Body: &event.ProcessLost{Reason: "may-have-run"}},
		&event.Event{Scope: orphan.o.scope, Body: &event.HandleReleased{Reason: "dropped"}})
	h, _ := w.live.Snapshot().Handle(kept)
	cancel := newID()
	w.append(
		&event.Event{Scope: event.Scope{Principal: "alice", Actor: operator}, Body: &event.CancelRequested{Cancel: cancel[:], CallIDs: []string{"call-1"}, Handles: [][]byte{kept[:]}}},
		&event.Event{Scope: h.Scope(), Body: &event.StopRequested{GraceNano: 1, Reason: "operator"}})
	found, err := w.hands.Scan()
	if err != nil || len(found) != 3 {
		t.Fatalf("%d directories, %v", len(found), err)
	}
	w.abandon()
	for _, f := range found {
		w.strange(f)
	}
	w.reboot()
	got := w.open()
	w.calm()
	if got.Lost != 2 || got.LostReboot != 2 || got.Adopted+got.Ended+got.Pending+got.Resumed+got.Silent != 0 {
		t.Errorf("recovery found %+v", got)
	}
	if held := w.live.Snapshot().Handles(); len(held) > 1 || len(w.live.Snapshot().Cancels()) != 0 {
		t.Errorf("%d handles and %d cancels are left", len(held), len(w.live.Snapshot().Cancels()))
	}
	for _, e := range w.events(1) {
		b, ok := e.Body.(*event.SignalRequested)
		if ok && b.Cause != "stop" {
			t.Errorf("%+v was requested", b)
		}
	}
	for _, f := range found {
		if !alive(f.Shim.PID) || !alive(f.Started.Program.PID) {
			t.Errorf("a stranger was killed: %+v", f)
		}
		if _, err := w.hands.Look(p.ID()); err == nil {
			t.Error("the directory of a released handle is left")
		}
		_ = unix.Kill(int(f.Shim.PID), unix.SIGKILL)
	}
	w.until("the strangers are gone", func() bool {
		return !alive(found[0].Shim.PID) && !alive(found[1].Shim.PID) && !alive(found[2].Shim.PID)
	})
}

// TestALivingNumberIsProofInTheSameBoot is the other side: the lock is free and
// the directory's processes live, so nobody is lost.
func TestALivingNumberIsProofInTheSameBoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, r := w.start(alice, stays)
	w.began(r)
	f := w.only()
	w.abandon()
	w.strange(f)
	w.patience = 1
	got := w.open()
	if got.Lost != 0 || got.Ended != 1 {
		t.Errorf("a process that lives; found %+v", got)
	}
	w.until("it is ended", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
	w.until("it is dead", func() bool { return !alive(f.Shim.PID) })
}
