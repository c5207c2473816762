//go:build linux

package shim

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhatIsTooLargeHasNoDigest: a script of a terabyte is named, with its
// interpreter, and not read to its end; a FIFO is not read at all.
func TestWhatIsTooLargeHasNoDigest(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int64) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, size := range map[string]int64{"small": 10, "just beyond": maxHashed + 1, "huge": 1 << 40} {
		f, interpreter, err := describe(write(name, size), dir)
		digest := map[bool]int{true: 32}[size <= maxHashed]
		if err != nil || len(f.SHA256) != digest || f.Inode == 0 || interpreter == nil || len(interpreter.SHA256) != 32 {
			t.Errorf("%s: %+v, interpreter %+v, %v", name, f, interpreter, err)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o755); err != nil {
		t.Fatal(err)
	}
	if f, _, err := describe(fifo, dir); err != nil || f.SHA256 != nil || f.Inode == 0 {
		t.Errorf("a FIFO: %+v, %v", f, err)
	}
}
