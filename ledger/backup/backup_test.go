package backup_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/backup"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// dataDir makes a data directory with a ledger of a few segments, keys and a
// layout.
func dataDir(t testing.TB, n int) string {
	t.Helper()
	data := t.TempDir()
	write(t, data, n)
	if err := os.Mkdir(filepath.Join(data, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"keys/process-ids": "aa\n", "keys/redaction": "bb\n", "keys/redaction.tmp-1": "x", "layout": "1\n"} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// write appends n events to the ledger of a data directory.
func write(t testing.TB, data string, n int) {
	t.Helper()
	live, err := projector.Open(filepath.Join(data, "ledger"), ledger.Options{SegmentEvents: 8, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		_, err := live.Decide(context.Background(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
			return []*event.Event{{Body: &event.LedgerMigrated{From: 1, To: 2}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is every event of a ledger, and the keys beside it.
func content(t testing.TB, data string) []byte {
	t.Helper()
	a, err := ledger.OpenArchive(filepath.Join(data, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var all []byte
	for e, err := range a.Events(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event.Encode(e)...)
	}
	for _, name := range []string{"keys/process-ids", "keys/redaction", "layout"} {
		b, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func source(data string) backup.Source {
	return backup.Source{Data: data, Ledger: filepath.Join(data, "ledger")}
}

// TestRoundTrip copies a data directory, and restores the copy into an empty one,
// and into one that has gone on since.
func TestRoundTrip(t *testing.T) {
	data := dataDir(t, 30)
	want := content(t, data)
	copied := filepath.Join(t.TempDir(), "copy")
	m, _, err := backup.Make(copied, source(data))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := m.Segments(); n < 4 || m.First != 1 || m.Last < 30 || len(m.Files) != n+3 || len(m.Skipped) != 1 {
		t.Errorf("manifest %+v", m)
	}
	r, err := verify.Dir(t.Context(), filepath.Join(copied, "ledger"), verify.Options{})
	if err != nil || !r.Sound() {
		t.Errorf("the copy is not sound: %+v, %v", r, err)
	}
	if _, _, err := backup.Make(copied, source(data)); err == nil {
		t.Error("a copy was made over another")
	}

	empty := filepath.Join(t.TempDir(), "new")
	if _, err := backup.Restore(copied, empty, false); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, empty), want) {
		t.Error("restored into an empty directory it is not the same")
	}
	write(t, empty, 5) // it goes on

	write(t, data, 20)
	if err := os.WriteFile(filepath.Join(data, "keys/redaction"), []byte("cc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	later := content(t, data)
	if _, err := backup.Restore(copied, data, false); !errors.Is(err, backup.ErrInTheWay) {
		t.Errorf("restored over a ledger: %v", err)
	}
	if !bytes.Equal(content(t, data), later) {
		t.Error("a refused restore changed something")
	}
	done, err := backup.Restore(copied, data, true)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, data), want) {
		t.Error("restored over a ledger it is not the same")
	}
	if len(done.Aside) != 2 || !strings.HasPrefix(done.Aside[0], "ledger.replaced-") || !strings.HasPrefix(done.Aside[1], "keys/redaction.replaced-") {
		t.Errorf("set aside: %v", done.Aside)
	}
	write(t, data, 5)
}

// TestAnotherKeyIsInTheWay: a restore into a directory without a ledger does not
// replace a key either.
func TestAnotherKeyIsInTheWay(t *testing.T) {
	data := dataDir(t, 3)
	copied := filepath.Join(t.TempDir(), "copy")
	if _, _, err := backup.Make(copied, source(data)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(data, "ledger")), os.WriteFile(filepath.Join(data, "keys/process-ids"), []byte("dd\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(copied, data, false); !errors.Is(err, backup.ErrInTheWay) {
		t.Errorf("got %v", err)
	}
}

// TestChangedCopyIsRefused changes each file of a copy, takes each away, and
// takes the manifest away: nothing is restored from it.
func TestChangedCopyIsRefused(t *testing.T) {
	data := dataDir(t, 10)
	copied := filepath.Join(t.TempDir(), "copy")
	m, _, err := backup.Make(copied, source(data))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		empty := filepath.Join(t.TempDir(), "new")
		if _, err := backup.Restore(copied, empty, false); err == nil {
			t.Errorf("%s: restored", what)
		}
		if _, err := os.Stat(filepath.Join(empty, "ledger")); err == nil {
			t.Errorf("%s: something was restored", what)
		}
	}
	for _, f := range m.Files {
		path := filepath.Join(copied, f.Name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(b)
		changed[len(b)/2] ^= 1
		for _, step := range []func() error{
			func() error { return os.WriteFile(path, changed, 0o600) },
			func() error { return os.Remove(path) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
			refused(f.Name)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(copied, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	refused("without a manifest")
}
