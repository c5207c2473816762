package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// holding is the state of a ledger with a persistent process that is not
// released.
func holding(t *testing.T) *projector.State {
	t.Helper()
	s := projector.New()
	for i, b := range []event.Body{
		&event.SpawnRequested{Tier: event.TierPersistent},
		&event.SpawnDecided{Outcome: event.OutcomeGranted, ProcessIDHash: []byte{1}},
	} {
		e := &event.Event{Header: event.Header{Seq: uint64(i + 1)}, Scope: event.Scope{Handle: ulid.ULID{1}}, Body: b}
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestProcessIDKeyIsMadeOnce(t *testing.T) {
	data := t.TempDir()
	var first, again keys
	if err := first.loadProcessIDs(data, projector.New()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(data, "keys", processIDsKey))
	if err != nil || info.Mode().Perm() != 0o600 || len(first.processIDs) != keyBytes {
		t.Errorf("%d bytes in a file of mode %v, %v", len(first.processIDs), info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Join(data, "keys")); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("its directory has mode %v, %v", dir.Mode(), err)
	}
	if err := again.loadProcessIDs(data, holding(t)); err != nil || !bytes.Equal(first.processIDs, again.processIDs) {
		t.Errorf("the second start has another key, %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(data, "keys")); err != nil || len(left) != 1 {
		t.Errorf("keys/ holds %v, %v", left, err)
	}
}

// TestLostProcessIDKeyIsNoNewKey: whoever lost the key is told, and none is made
// that would hide it.
func TestLostProcessIDKeyIsNoNewKey(t *testing.T) {
	data := t.TempDir()
	var k keys
	err := k.loadProcessIDs(data, holding(t))
	if err == nil || !strings.Contains(err.Error(), "is missing, and the ledger holds 1 persistent processes") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(data, "keys", processIDsKey)); !os.IsNotExist(err) {
		t.Errorf("a key was made: %v", err)
	}
}

func TestDamagedKey(t *testing.T) {
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "00", strings.Repeat("zz", keyBytes)} {
		if err := os.WriteFile(filepath.Join(data, "keys", processIDsKey), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var k keys
		if err := k.loadProcessIDs(data, projector.New()); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
