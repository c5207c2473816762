//go:build linux

package act

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

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
