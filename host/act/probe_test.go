//go:build linux

package act

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestProbesRemoveWhatAKilledOneLeft: and nothing that is young, or anything else.
func TestProbesRemoveWhatAKilledOneLeft(t *testing.T) {
	tmp := t.TempDir()
	old := time.Now().Add(-2 * probeLeft)
	for _, name := range []string{probePrefix + "old", probePrefix + "young", "other"} {
		dir := filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Join(dir, "processes"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name == probePrefix+"young" {
			continue
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	removeProbes(tmp)
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[0]) != probePrefix+"young" || filepath.Base(left[1]) != "other" {
		t.Errorf("left: %q, %v", left, err)
	}
}
