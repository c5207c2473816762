//go:build unix

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/backup"
)

// TestRootHandsBack has root restore and salvage the ledger of a daemon that runs
// as another user: all that it makes there is that user's.
func TestRootHandsBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files that another user cannot read")
	}
	const nobody = 65534
	from := t.TempDir()
	if err := makeLedger(from, 1<<20, false); err != nil {
		t.Fatal(err)
	}
	write := func(dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(from, "keys/redaction", "aa\n")
	write(from, "layout", "1\n")
	copied := filepath.Join(t.TempDir(), "copy")
	if _, _, err := backup.Make(copied, backup.Source{Data: from, Ledger: filepath.Join(from, "ledger")}); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) {
		t.Helper()
		var out, said bytes.Buffer
		if got := doMain(append([]string{"--data", data}, args...), bytes.NewReader(nil), &out, &said); got != want {
			t.Fatalf("%q left with %d, want %d: %s%s", args, got, want, &out, &said)
		}
		wantOwner(t, data, nobody)
	}
	run(0, "ledger", "restore", copied)
	files, err := ledger.Segments(filepath.Join(data, "ledger"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.Truncate(files[0].Path, 8192); err != nil {
		t.Fatal(err)
	}
	run(0, "ledger", "salvage", "--yes")

	// A link of that user's is not followed.
	outside := t.TempDir()
	write(outside, "file", "")
	if err := os.Rename(filepath.Join(data, "keys"), filepath.Join(data, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(data, "keys")); err != nil {
		t.Fatal(err)
	}
	_ = handBack(data, "keys", "keys/file")
	wantOwner(t, outside, 0)
}

// wantOwner checks whose everything in a directory is.
func wantOwner(t *testing.T, dir string, want uint32) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != want {
			t.Errorf("%s is of user %d", path, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
