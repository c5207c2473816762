package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// backUp copies the ledger of a dead daemon; restore puts the copy in its place,
// and has the witness forget what only the ledger of before knew.
func (w *world) backUp() (restore func(forgotten ...Request)) {
	w.t.Helper()
	dir, copied := filepath.Join(w.data, "ledger"), w.t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		w.t.Fatal(err)
	}
	return func(forgotten ...Request) {
		w.t.Helper()
		for _, r := range forgotten {
			if err := os.Remove(filepath.Join(w.witness, r.Args[2])); err != nil {
				w.t.Fatal(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			w.t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(copied)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestALedgerRestoredFromAnOlderCopy has processes run that the ledger has never
// heard of: one that lives, one that has ended by itself, one that was started
// in vain. They are ended and recorded, with all that is known of them; what the
// copy knows goes on; and nothing gets an id that was given before.
func TestALedgerRestoredFromAnOlderCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := w.startPersistent("trap 'exit 5' TERM; " + stays).id
	w.abandon()
	restore := w.backUp()
	w.open()
	last := w.live.Snapshot().Seq()
	living, r1 := w.start(bob, stays)
	w.began(r1)
	ended, r2 := w.start(bob, gated+"; exit 3")
	w.began(r2)
	failed := w.held("after-go", Request{Cmd: "no-such-program"})
	w.until("failed is written", func() bool {
		found, _ := w.hands.Scan()
		for _, f := range found {
			if f.Failed != nil {
				return true
			}
		}
		return false
	})
	given := map[ulid.ULID]uint64{}
	for _, e := range w.events(1) {
		given[e.ID] = e.Seq
	}
	shim, _ := w.hands.Look(living.ID())
	w.leave(failed)
	touch(t, w.witness+"/gate")
	w.exitWritten(ended.ID())
	restore(r1, r2)

	got := w.open()
	w.calm()
	if got.Foreign != 3 || got.Adopted != 1 || got.Orphans != 3 || got.Missing+got.Lost != 0 {
		t.Errorf("recovery found %+v", got)
	}
	w.check()
	told := map[ulid.ULID][]*event.OrphanEnded{}
	for _, e := range w.events(1) {
		if seq, twice := given[e.ID]; twice && e.Seq > last {
			t.Errorf("event %d has the id of event %d that was lost", e.Seq, seq)
		}
		if b, ok := e.Body.(*event.OrphanEnded); ok {
			told[e.Handle] = append(told[e.Handle], b)
		}
	}
	b := told[living.ID()]
	if len(b) != 2 || b[0].Shim == nil || b[0].Shim.PID != shim.Shim.PID || b[0].Started == nil || b[0].Exited != nil || !b[0].Go {
		t.Errorf("of the one that lived: %+v", b)
	} else if x := b[1]; x.Shim != nil || x.Started.Program.PID != shim.Started.Program.PID || len(x.Started.Executable.SHA256) == 0 ||
		x.Exited == nil || exitText(&x.Exited.Exit) != "signal 9" {
		t.Errorf("once it was dead: %+v", x)
	}
	b = told[ended.ID()]
	if len(b) != 1 || b[0].Started == nil || b[0].Exited == nil || exitText(&b[0].Exited.Exit) != "code 3" || b[0].Exited.Cause != "self" {
		t.Errorf("of the one that had ended: %+v", b)
	}
	for id, b := range told {
		if id != living.ID() && id != ended.ID() && (len(b) != 1 || b[0].Failed == nil || b[0].Failed.Step == "" || b[0].Started != nil) {
			t.Errorf("of the one that failed: %+v", b)
		}
	}
	if h, ok := w.live.Snapshot().Handle(known); !ok || h.Adopted.Seq == 0 {
		t.Error("what the copy knows was not taken in")
	}
}

// TestALedgerThatWasReplaced has a new ledger begin beside programs of another:
// they are older than its first event.
func TestALedgerThatWasReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, r := w.start(bob, stays)
	w.began(r)
	w.abandon()
	if err := os.RemoveAll(filepath.Join(w.data, "ledger")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.witness, r.Args[2])); err != nil {
		t.Fatal(err)
	}
	if got := w.open(); got.Foreign != 1 {
		t.Errorf("recovery found %+v", got)
	}
	w.calm()
}

// TestLeftoversOfACrashAreNotForeign: what a daemon leaves that is killed is no
// sign of a restored copy.
func TestLeftoversOfACrashAreNotForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, r := w.start(alice, stays)
	w.began(r)
	w.append(&event.Event{Scope: p.o.scope, Body: &event.ProcessLost{Reason: "may-have-run"}},
		&event.Event{Scope: p.o.scope, Body: &event.HandleReleased{Reason: "dropped"}})
	_, err := w.hands.Prepare(t.Context(), act.Spec{ID: newID(), Argv: []string{"sh"}, Path: "sh", Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	w.abandon()
	if got := w.open(); got.Foreign != 0 || got.Missing != 0 {
		t.Errorf("recovery found %+v", got)
	}
	w.calm()
}

// TestDirectoriesThatAreGone has the data restored without processes/: who is
// proven dead is lost, in a word that claims no more than that; and a decision
// of which nothing tells whether it was carried out is not taken for one that
// was not.
func TestDirectoriesThatAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.startPersistent(stays)
	free := w.held("before-go", w.script("true"))
	var decided ulid.ULID
	for _, h := range w.live.Snapshot().Handles() {
		if h.Phase == projector.PhaseDecided {
			decided = h.ID
		}
	}
	found, err := w.hands.Scan()
	if err != nil {
		t.Fatal(err)
	}
	w.leave(free)
	for _, f := range found {
		if f.ID == o.id {
			w.killShim(f)
		}
		if err := os.RemoveAll(filepath.Join(w.data, "processes", f.Name)); err != nil {
			t.Fatal(err)
		}
	}
	got := w.open()
	w.calm()
	if got.Missing != 1 || got.Lost != 2 || got.LostNoDirectory != 1 || got.LostMaybe != 1 || got.Aborted != 0 {
		t.Errorf("recovery found %+v", got)
	}
	reasons := map[ulid.ULID]string{}
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessLost); ok {
			reasons[e.Handle] = b.Reason
		}
	}
	if reasons[o.id] != "no-directory" || reasons[decided] != "may-have-run" {
		t.Errorf("lost as %q and %q", reasons[o.id], reasons[decided])
	}
	if _, err := w.host.StopProcess(t.Context(), alice, o.kept.id, nil); CodeOf(err) != Unknown {
		t.Errorf("its creator is told %v", err)
	}
}

// TestTheSecondWitnessOfAnAdoptedProcess: a daemon that took a process in holds
// its program, and sees the exit of one whose shim is killed. One that comes
// when both are dead cannot know, and does not say.
func TestTheSecondWitnessOfAnAdoptedProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startPersistent(stays)
	o := w.adopted()
	f := w.only()
	w.killShim(f)
	select {
	case <-o.ended:
	case <-t.Context().Done():
	}
	var lost *event.ProcessLost
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessLost); ok {
			lost = b
		}
	}
	if lost == nil || lost.Reason != "shim-killed" {
		t.Fatalf("%+v", lost)
	}
	if kernelRemembers(t) && exitText(lost.Witness) != "signal 9" {
		t.Errorf("witness %s", exitText(lost.Witness))
	}
}

// kernelRemembers tells whether the kernel tells of an exit after the reap: 6.15
// and later do.
func kernelRemembers(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 15
}
