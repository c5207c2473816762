package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// forgeDeath makes the files of a process directory say that nobody lives, as a
// program of the same user can: another lock, which nobody holds, and records
// that name nobody.
func (w *world) forgeDeath(f act.Found) {
	w.t.Helper()
	dir := filepath.Join(w.data, "processes", f.Name)
	for _, name := range []string{"lock", "ready", "started"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if got, err := w.hands.Look(f.ID); err != nil || !got.Dead || got.LockHeld {
		w.t.Fatalf("the files say %+v, %v; want them to say that all are dead", got, err)
	}
}

// TestFilesAloneProveNoDeath has files of living processes forged while no daemon
// looks. They are taken in all the same, or ended and recorded with their true
// exits: the ledger knows who they are.
func TestFilesAloneProveNoDeath(t *testing.T) {
	for _, mode := range modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w *world) { w.mode = mode })
			p, r := w.start(alice, stays)
			w.began(r)
			ephemeral := w.only()
			id, r := w.keep(bob, stays)
			w.began(r)
			o := w.kept(bob, id)
			kept, err := w.hands.Look(o.id)
			if err != nil {
				t.Fatal(err)
			}
			w.forgeDeath(ephemeral)
			w.forgeDeath(kept)
			w.abandon()
			got := w.open()
			w.calm()
			if got.Adopted != 1 || got.Ended != 1 || got.Lost != 0 {
				t.Errorf("recovery found %+v, want one taken in and one ended", got)
			}
			w.until("the shim of the one that has ended is gone", func() bool { return w.hands.Gone(ephemeral.Shim) })
			h, ok := w.live.Snapshot().Handle(kept.ID)
			if !ok || h.Phase != projector.PhaseStarted || h.Adopted.Seq == 0 {
				t.Fatalf("the persistent process is %+v, want it taken in", h)
			}
			if h.Shim.PID != kept.Shim.PID || h.Shim.StartTicks != kept.Shim.StartTicks {
				t.Errorf("its shim is %+v, want %+v", h.Shim, kept.Shim)
			}
			for _, e := range w.events(1) {
				if b, ok := e.Body.(*event.ProcessLost); ok {
					t.Errorf("%s is lost: %s", e.Handle, b.Detail)
				}
			}
			if p.ID() != ephemeral.ID {
				t.Error("another process was looked at")
			}
		})
	}
}

// TestAStoppedShimBehindForgedFiles has the shim stand still, too, so that it
// cannot be taken in: it stays counted until it is ended.
func TestAStoppedShimBehindForgedFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, r := w.start(alice, stays)
	w.began(r)
	f := w.only()
	w.forgeDeath(f)
	w.stopShim(f)
	w.abandon()
	w.patience = startBound
	w.open()
	w.until("it is ended", func() bool { return w.live.Snapshot().LiveAll().Total() == 0 })
	w.calm()
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessLost); ok { // it was stopped, and told of its end
			t.Errorf("it is lost: %s", b.Detail)
		}
	}
	w.until("its shim is gone", func() bool { return w.hands.Gone(f.Shim) })
}
