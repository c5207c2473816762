package migrations

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// tree describes every file and directory below dir: mode, and content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		out[rel] = info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[rel] += fmt.Sprintf(" %x", sha256.Sum256(b))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(a, b map[string]string) error {
	var faults []string
	for k, v := range a {
		if b[k] != v {
			faults = append(faults, fmt.Sprintf("%s: %q, then %q", k, v, b[k]))
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			faults = append(faults, k+" is new")
		}
	}
	slices.Sort(faults)
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The steps of the tests beyond layout 1. Step 2 rewrites files in place and
// moves one; step 3 removes one.

var testSteps = []step{step1, step2ForTest, step3ForTest}

var step2ForTest = step{
	to: 2, name: "shout",
	touches: func(string) ([]string, error) { return []string{"keys", "ledger/a", "ledger/b"}, nil },
	plan: func(string) ([]string, error) {
		return []string{"write ledger/a and ledger/b in capitals", "rename keys/old"}, nil
	},
	apply: func(_ context.Context, dir string) error {
		for _, name := range []string{"ledger/a", "ledger/b"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			if err := writeFile(filepath.Join(dir, name), []byte(strings.ToUpper(string(b))), 0o600); err != nil {
				return err
			}
			crashpoint.Here("test.between")
		}
		err := renameDurably(filepath.Join(dir, "keys/old"), filepath.Join(dir, "keys/new"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // done before a crash
		}
		return err
	},
}

var step3ForTest = step{
	to: 3, name: "drop b",
	touches: func(string) ([]string, error) { return []string{"ledger/b"}, nil },
	plan:    func(string) ([]string, error) { return []string{"remove ledger/b"}, nil },
	apply: func(_ context.Context, dir string) error {
		return removeDurably(filepath.Join(dir, "ledger/b"))
	},
}

// layout1Dir makes a data directory of layout 1 with something in it.
func layout1Dir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Run(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ledger/a"), "some text")
	write(t, filepath.Join(dir, "ledger/b"), "more text")
	write(t, filepath.Join(dir, "keys/old"), "key")
	return dir
}

func TestNewDirectory(t *testing.T) {
	for _, kind := range []string{"missing", "empty", "locked"} {
		dir := filepath.Join(t.TempDir(), "data")
		if kind != "missing" {
			must(t, os.Mkdir(dir, 0o700))
		}
		if kind == "locked" {
			write(t, filepath.Join(dir, "lock"), "{}")
			write(t, filepath.Join(dir, "capsules/x/Capsule.toml"), "")
		}
		r, err := Run(t.Context(), dir, Options{})
		must(t, err)
		if r.From != 0 || r.To != 1 || len(r.Steps) != 1 || r.Steps[0].Backup != "" {
			t.Errorf("%s: %+v", kind, r)
		}
		if got := read(t, filepath.Join(dir, "layout")); got != "1\n" {
			t.Errorf("%s: layout file: %q", kind, got)
		}
		checkLayout1(t, dir)
		before := tree(t, dir)
		r, err = Run(t.Context(), dir, Options{})
		must(t, err)
		if r.From != 1 || r.To != 1 || len(r.Steps) != 0 {
			t.Errorf("%s, again: %+v", kind, r)
		}
		if err := same(before, tree(t, dir)); err != nil {
			t.Errorf("%s, again: %v", kind, err)
		}
	}
}

func checkLayout1(t *testing.T, dir string) {
	t.Helper()
	for _, d := range layout1 {
		info, err := os.Stat(filepath.Join(dir, d.name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !info.IsDir() || info.Mode().Perm() != d.mode {
			t.Errorf("%s: %v, want a directory with %v", d.name, info.Mode(), d.mode)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, noteName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the note is still there: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.tex"), "years of work")
	before := tree(t, dir)
	for _, dry := range []bool{true, false} {
		_, err := Run(t.Context(), dir, Options{DryRun: dry})
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "thesis.tex") {
			t.Errorf("dry %v: %v", dry, err)
		}
	}
	if err := same(before, tree(t, dir)); err != nil {
		t.Error(err)
	}
}

func TestNewerLayout(t *testing.T) {
	for _, how := range []string{"done", "in the middle"} {
		dir := layout1Dir(t)
		if how == "done" {
			write(t, filepath.Join(dir, "layout"), "7\n")
		} else {
			write(t, filepath.Join(dir, noteName), note{1, 7, ""}.String())
		}
		before := tree(t, dir)
		_, err := Run(t.Context(), dir, Options{})
		var newer *NewerError
		if !errors.As(err, &newer) || newer.Have != 7 || newer.Known != Current || !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", how, err)
			continue
		}
		for _, want := range []string{"layout 7", fmt.Sprintf("up to %d", Current), "run a build", dir} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", how, err, want)
			}
		}
		if err := same(before, tree(t, dir)); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestDamagedLayoutOrNote(t *testing.T) {
	for _, content := range []string{"", "1", "x\n", "0\n", "-1\n", "01\n", "1\n\n", "1 \n"} {
		dir := layout1Dir(t)
		write(t, filepath.Join(dir, "layout"), content)
		if _, err := Run(t.Context(), dir, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("layout %q: %v", content, err)
		}
	}
	for _, content := range []string{"", "from 1", "from 1 to 2 backup \"../x\"\n", "from 1 to 2 backup \"ledger\"\n"} {
		dir := layout1Dir(t)
		write(t, filepath.Join(dir, noteName), content)
		if _, err := Run(t.Context(), dir, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("note %q: %v", content, err)
		}
	}
	dir := layout1Dir(t)
	write(t, filepath.Join(dir, noteName), note{2, 3, ""}.String())
	if _, err := run(t.Context(), dir, testSteps, Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("note of another step: %v", err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "data")
	r, err := Run(t.Context(), missing, Options{DryRun: true})
	must(t, err)
	if r.From != 0 || r.To != 1 || len(r.Steps) != 1 || len(r.Steps[0].Actions) != len(layout1)+1 {
		t.Errorf("of a new directory: %+v", r)
	}
	if _, err := os.Lstat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dry run made the directory: %v", err)
	}

	dir := layout1Dir(t)
	before := tree(t, dir)
	r, err = run(t.Context(), dir, testSteps, Options{DryRun: true})
	must(t, err)
	if err := same(before, tree(t, dir)); err != nil {
		t.Error(err)
	}
	if !r.DryRun || r.From != 1 || r.To != 3 || len(r.Steps) != 2 {
		t.Errorf("%+v", r)
	}
	one := r.Steps[0]
	if one.Backup != "backup-1-" || len(one.BackedUp) != 3 || one.Actions[len(one.Actions)-1] != "write layout: 2" {
		t.Errorf("%+v", one)
	}
}

func TestStepByStep(t *testing.T) {
	dir := layout1Dir(t)
	r, err := run(t.Context(), dir, testSteps, Options{})
	must(t, err)
	if r.From != 1 || r.To != 3 || len(r.Steps) != 2 {
		t.Fatalf("%+v", r)
	}
	checkMigrated(t, dir)
	for _, s := range r.Steps {
		if s.Resumed || !strings.HasPrefix(s.Backup, fmt.Sprintf("backup-%d-", s.From)) {
			t.Errorf("%+v", s)
		}
	}
	if got := read(t, filepath.Join(dir, r.Steps[1].Backup, "ledger/b")); got != "MORE TEXT" {
		t.Errorf("backup of the second step: %q", got)
	}
}

// checkMigrated holds what layout 3 of the tests looks like, and that the
// backup has what was there before.
func checkMigrated(t *testing.T, dir string) {
	t.Helper()
	if got := read(t, filepath.Join(dir, "layout")); got != "3\n" {
		t.Errorf("layout: %q", got)
	}
	if got := read(t, filepath.Join(dir, "ledger/a")); got != "SOME TEXT" {
		t.Errorf("ledger/a: %q", got)
	}
	if got := read(t, filepath.Join(dir, "keys/new")); got != "key" {
		t.Errorf("keys/new: %q", got)
	}
	backups, err := filepath.Glob(filepath.Join(dir, "backup-1-*"))
	must(t, err)
	if len(backups) != 1 || strings.HasSuffix(backups[0], tmpSuffix) {
		t.Fatalf("backups of layout 1: %v", backups)
	}
	for name, want := range map[string]string{"ledger/a": "some text", "ledger/b": "more text", "keys/old": "key"} {
		if got := read(t, filepath.Join(backups[0], name)); got != want {
			t.Errorf("backup of %s: %q", name, got)
		}
	}
	for name := range tree(t, dir) {
		if strings.HasSuffix(name, tmpSuffix) || name == noteName || name == "ledger/b" || name == "keys/old" {
			t.Errorf("%s is left over", name)
		}
	}
}

func TestBackupRefusesLinks(t *testing.T) {
	dir := layout1Dir(t)
	must(t, os.Symlink("/etc", filepath.Join(dir, "keys/etc")))
	if _, err := run(t.Context(), dir, testSteps, Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if got := read(t, filepath.Join(dir, "ledger/a")); got != "some text" {
		t.Errorf("applied without a backup: %q", got)
	}
}

func TestContextEndsBetweenSteps(t *testing.T) {
	dir := layout1Dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	steps := slices.Clone(testSteps)
	steps[1].apply = func(ctx context.Context, dir string) error {
		defer cancel()
		return step2ForTest.apply(ctx, dir)
	}
	r, err := run(ctx, dir, steps, Options{})
	if !errors.Is(err, context.Canceled) || r.To != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := run(t.Context(), dir, testSteps, Options{}); err != nil {
		t.Fatal(err)
	}
	checkMigrated(t, dir)
}

// TestFailedStepIsTakenUp: an error leaves the old layout, and the next run
// goes on with the same backup.
func TestFailedStepIsTakenUp(t *testing.T) {
	dir := layout1Dir(t)
	steps := slices.Clone(testSteps)
	broken := errors.New("the disk is gone")
	steps[1].apply = func(_ context.Context, dir string) error {
		must(t, writeFile(filepath.Join(dir, "ledger/a"), []byte("SOME TEXT"), 0o600))
		return broken
	}
	if _, err := run(t.Context(), dir, steps, Options{}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if v, err := Read(dir); v != 1 || err != nil {
		t.Fatalf("layout %d, %v", v, err)
	}
	r, err := run(t.Context(), dir, testSteps, Options{})
	must(t, err)
	if !r.Steps[0].Resumed || r.Steps[1].Resumed {
		t.Errorf("%+v", r)
	}
	checkMigrated(t, dir)
}
