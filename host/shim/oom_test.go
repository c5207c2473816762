//go:build linux

package shim

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// scoreFile stands in for oom_score_adj, whose lowering not every machine allows.
func scoreFile(t *testing.T, score, flags int) (*oom, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "oom_score_adj")
	if err := os.WriteFile(path, []byte(strconv.Itoa(score)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	o := &oom{fd: int(f.Fd())}
	if o.own, err = o.read(); err != nil || o.own != score {
		t.Fatalf("reads %d, %v", o.own, err)
	}
	return o, path
}

// TestScores holds what shim and program get: with the right to lower a score and
// without it, from wherever the daemon stands.
func TestScores(t *testing.T) {
	for _, c := range []struct{ inherited, rights, shim, program int }{
		{0, os.O_RDWR, -999, 0}, {-500, os.O_RDWR, -999, 0}, {-1000, os.O_RDWR, -1000, 0}, {300, os.O_RDWR, -999, 300},
		{0, os.O_RDONLY, 0, 100}, {-500, os.O_RDONLY, -500, 0}, {-50, os.O_RDONLY, -50, 50}, {950, os.O_RDONLY, 950, 1000},
	} {
		o, _ := scoreFile(t, c.inherited, c.rights)
		if o.protect(); o.own != c.shim || o.program != c.program {
			t.Errorf("from %d: the shim gets %d, want %d; the program %d, want %d", c.inherited, o.own, c.shim, o.program, c.program)
		}
	}
}

// TestScoresAreLentForTheFork holds that the shim has its program's score while it
// forks, and its own before and after.
func TestScoresAreLentForTheFork(t *testing.T) {
	o, path := scoreFile(t, 0, os.O_RDWR)
	now := func() string { b, _ := os.ReadFile(path); return string(b) }
	o.protect()
	before, during := now(), ""
	o.lend(func() { during = now() })
	// A file keeps what a shorter number leaves of a longer one; the kernel's does not.
	if before != "-999" || during[:1] != "0" || now() != "-999" {
		t.Errorf("before %q, during %q, after %q", before, during, now())
	}
	forked := false
	(&oom{fd: -1}).lend(func() { forked = true })
	if !forked {
		t.Error("without a score to set, nothing was forked")
	}
}
