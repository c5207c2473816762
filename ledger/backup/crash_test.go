//go:build unix

package backup_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/backup"
)

// envFrom and envTo have this test binary, built with the crash points, restore.
const (
	envFrom = "ASTRID_RESTORE_TEST_FROM"
	envTo   = "ASTRID_RESTORE_TEST_TO"
)

// TestCrashRestorer is no test but the process that dies.
func TestCrashRestorer(t *testing.T) {
	from := os.Getenv(envFrom)
	if from == "" {
		t.Skip("runs as a process of TestCrash only")
	}
	if _, err := backup.Restore(from, os.Getenv(envTo), true); err != nil {
		t.Fatal(err)
	}
}

// TestCrash kills a restore at each point: the next one comes to its end, and
// what was there before is there still.
func TestCrash(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "backup.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, p := range crashpoint.Points {
		if p.Component != crashpoint.Restore {
			continue
		}
		data := dataDir(t, 12)
		want := content(t, data)
		copied := filepath.Join(t.TempDir(), "copy")
		if _, _, err := backup.Make(copied, source(data)); err != nil {
			t.Fatal(err)
		}
		write(t, data, 9)
		key := filepath.Join(data, "keys", "redaction")
		if err := os.WriteFile(key, []byte("cc\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, "-test.run", "^TestCrashRestorer$", "-test.count", "1")
		cmd.Env = append(os.Environ(), "ASTRID_CRASH_AT="+p.Name, envFrom+"="+copied, envTo+"="+data)
		out, err := cmd.CombinedOutput()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err == nil || !ok || ws.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: it ended with %v:\n%s", p.Name, err, out)
		}
		if text, err := os.ReadFile(key); err != nil || string(text) != "cc\n" {
			t.Errorf("%s: the key of what was there was replaced before it was gone for good: %q, %v", p.Name, text, err)
		}
		if _, err := backup.Restore(copied, data, true); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if !bytes.Equal(content(t, data), want) {
			t.Errorf("%s: it is not what was copied", p.Name)
		}
		aside, err := filepath.Glob(filepath.Join(data, "ledger.replaced-*"))
		if err != nil || len(aside) == 0 {
			t.Errorf("%s: what was there is gone", p.Name)
		}
		if left, _ := filepath.Glob(filepath.Join(data, "*.restoring")); len(left) > 0 {
			t.Errorf("%s: left: %v", p.Name, left)
		}
	}
}
