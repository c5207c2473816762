//go:build unix

package migrations

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// helperDir names the data directory to migrate, for a test binary that is run
// as the helper of a crash test.
const helperDir = "ASTRID_TEST_MIGRATE"

// TestHelperMigrates is no test of its own: built with crash points it is the
// process that TestCrashes kills.
func TestHelperMigrates(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("only for TestCrashes")
	}
	if !crashpoint.Enabled {
		t.Fatal("built without crash points")
	}
	if _, err := run(t.Context(), dir, testSteps, Options{}); err != nil {
		t.Fatal(err)
	}
}

// buildHelper builds this package's test binary with crash points.
func buildHelper(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "migrations.test")
	cmd := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", bin, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the helper: %v\n%s", err, out)
	}
	return bin
}

// crash migrates dir in a process that dies at the point, and tells whether it
// came by it.
func crash(t *testing.T, helper, dir, at string) bool {
	t.Helper()
	cmd := exec.Command(helper, "-test.run=^TestHelperMigrates$")
	cmd.Env = append(os.Environ(), helperDir+"="+dir, "ASTRID_CRASH_AT="+at)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err == nil {
		return false
	}
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s: not killed but %v\n%s", at, err, out)
	}
	return true
}

// TestCrashes kills a migration at each point and each passing of it, from a
// new directory and from layout 1, and lets the next run pick it up; a second
// crash at every point of that run, too.
func TestCrashes(t *testing.T) {
	points := []string{"test.between"} // in the middle of a step
	for _, p := range crashpoint.Points {
		if p.Component == crashpoint.Migration {
			points = append(points, p.Name)
		}
	}
	helper := buildHelper(t)
	passed := map[string]int{}
	for _, p := range points {
		for n := 1; ; n++ {
			at := fmt.Sprintf("%s#%d", p, n)
			dir := layout1Dir(t)
			if !crash(t, helper, dir, at) {
				break
			}
			passed[p]++
			checkCrashed(t, dir, at)
			for _, second := range points {
				again := copyOf(t, dir)
				crash(t, helper, again, second)
				checkCrashed(t, again, at+", then "+second)
				pickUp(t, again, at+", then "+second)
			}
		}
		if passed[p] == 0 {
			t.Errorf("crash point %s was never passed", p)
		}
	}
}

// TestCrashesInANewDirectory does the same for step 1.
func TestCrashesInANewDirectory(t *testing.T) {
	helper := buildHelper(t)
	for _, p := range crashpoint.Points {
		// Step 1 has nothing to back up.
		if p.Component != crashpoint.Migration || strings.HasPrefix(p.Name, "migration.backup-") {
			continue
		}
		dir := filepath.Join(t.TempDir(), "data")
		if !crash(t, helper, dir, p.Name+"#1") {
			t.Errorf("crash point %s was never passed", p.Name)
		}
		before := tree(t, dir)
		dry, err := Run(t.Context(), dir, Options{DryRun: true})
		if err != nil {
			t.Errorf("%s: dry run: %v", p.Name, err)
		}
		if err := same(before, tree(t, dir)); err != nil {
			t.Errorf("%s: dry run: %v", p.Name, err)
		}
		r, err := Run(t.Context(), dir, Options{})
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if r.From != dry.From || r.To != 1 {
			t.Errorf("%s: %+v, foreseen was %+v", p.Name, r, dry)
		}
		if got := read(t, filepath.Join(dir, "layout")); got != "1\n" {
			t.Errorf("%s: layout %q", p.Name, got)
		}
		checkLayout1(t, dir)
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	must(t, copyTree(dir, to))
	return to
}

// checkCrashed holds what is true after a crash anywhere: the layout file is
// whole, and what a step has begun to change is in a complete backup.
func checkCrashed(t *testing.T, dir, at string) {
	t.Helper()
	v, err := Read(dir)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	if v > 1 || read(t, filepath.Join(dir, "ledger/a")) == "some text" {
		return
	}
	backups, err := filepath.Glob(filepath.Join(dir, "backup-1-*"))
	must(t, err)
	backups = slices.DeleteFunc(backups, func(p string) bool { return strings.HasSuffix(p, tmpSuffix) })
	if len(backups) != 1 || read(t, filepath.Join(backups[0], "ledger/a")) != "some text" {
		t.Errorf("%s: changed without a complete backup: %v", at, backups)
	}
}

// pickUp has the next run finish the work: first in words, then in deed.
func pickUp(t *testing.T, dir, at string) {
	t.Helper()
	before := tree(t, dir)
	dry, err := run(t.Context(), dir, testSteps, Options{DryRun: true})
	if err != nil {
		t.Fatalf("%s: dry run: %v", at, err)
	}
	if err := same(before, tree(t, dir)); err != nil {
		t.Errorf("%s: dry run: %v", at, err)
	}
	r, err := run(t.Context(), dir, testSteps, Options{})
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	if r.From != dry.From || r.To != 3 || len(r.Steps) != len(dry.Steps) {
		t.Errorf("%s: did %+v, foreseen was %+v", at, r, dry)
	}
	checkMigrated(t, dir)
}
