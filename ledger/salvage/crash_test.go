//go:build unix

package salvage_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/salvage"
	"github.com/astrid-os/processledger/projector"
)

// envDir has this test binary, built with the crash points, salvage the ledger
// there.
const envDir = "ASTRID_SALVAGE_TEST_DIR"

// TestCrashSalvager is no test but the process that dies.
func TestCrashSalvager(t *testing.T) {
	dir := os.Getenv(envDir)
	if dir == "" {
		t.Skip("runs as a process of TestCrash only")
	}
	if _, err := salvage.Run(dir, options); err != nil {
		t.Fatal(err)
	}
}

// TestCrash kills a salvage at each point, once and again on the way of the next
// attempt. In between the ledger is damaged or salvaged, never taken for sound
// without the loss on record; in the end it is as if nothing had happened.
func TestCrash(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "salvage.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	points := []string{"ledger.create.written", "ledger.create.renamed", "ledger.create.durable"}
	for _, p := range crashpoint.Points {
		if p.Component == crashpoint.Salvage {
			points = append(points, p.Name)
		}
	}
	for _, at := range points {
		t.Run(at+"/nothing-kept", func(t *testing.T) {
			t.Parallel()
			crashesOfNothing(t, binary, at)
		})
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "ledger")
			build(t, dir)
			paths := segments(t, dir)
			for _, path := range paths[1:] { // so that there is one to clear away
				if err := os.WriteFile(path, []byte(strings.Repeat("noise ", 4000)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if !crash(t, binary, dir, at) {
					break // the first was after all was done
				}
				checkBetween(t, dir, second)
			}
			if _, err := salvage.Run(dir, options); err != nil {
				t.Fatal(err)
			}
			checkBetween(t, dir, second)
			es := events(t, dir)
			if n := len(es); n != second-1+3 {
				t.Errorf("%d events", n)
			}
			noise, err := filepath.Glob(filepath.Join(dir, "segments", "*.damaged.*"))
			if err != nil || len(noise) != 2 {
				t.Errorf("kept aside: %v, %v", noise, err)
			}
		})
	}
}

// crashesOfNothing kills a salvage of a ledger whose oldest segments were archived
// and whose others are all damaged, so that it begins anew under a name that
// none of them has.
func crashesOfNothing(t *testing.T, binary, at string) {
	dir := filepath.Join(t.TempDir(), "ledger")
	build(t, dir)
	paths := segments(t, dir)
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths[1:] {
		if err := os.WriteFile(path, []byte(strings.Repeat("noise ", 4000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if !crash(t, binary, dir, at) {
			break
		}
		checkBetween(t, dir, 1)
	}
	if _, err := salvage.Run(dir, options); err != nil {
		t.Fatal(err)
	}
	if live, err := projector.Open(dir, ledgerOptions); err != nil {
		t.Errorf("after the salvage: %v", err)
	} else if err := live.Close(); err != nil {
		t.Error(err)
	}
	checkBetween(t, dir, 1)
	if paths := segments(t, dir); len(paths) != 1 {
		t.Errorf("segments %v", paths)
	}
}

// crash tells whether the salvage died at the point.
func crash(t *testing.T, binary, dir, at string) bool {
	t.Helper()
	cmd := exec.Command(binary, "-test.run", "^TestCrashSalvager$", "-test.count", "1")
	cmd.Env = append(os.Environ(), "ASTRID_CRASH_AT="+at, envDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("it ended with %v:\n%s", err, out)
	}
	return true
}

// checkBetween: whoever opens the ledger now fails, or finds the loss on record.
func checkBetween(t *testing.T, dir string, lostFrom uint64) {
	t.Helper()
	live, err := projector.Open(dir, ledgerOptions)
	if err != nil {
		return
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range events(t, dir) {
		if b, ok := e.Body.(*event.LedgerSalvaged); ok && b.LostFrom == lostFrom {
			return
		}
	}
	t.Error("the ledger opens, and does not say that events are lost")
}
