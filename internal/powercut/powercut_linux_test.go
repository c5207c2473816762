package powercut

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(workerEnv); file != "" {
		os.Exit(workerMain(file))
	}
	if dir := os.Getenv(reopenEnv); dir != "" {
		os.Exit(reopenMain(dir))
	}
	os.Exit(daemontest.Main(m))
}

// TestPowerCut records real daemons with their shims once, and has the power
// fail at every one of their system calls that changed a file.
func TestPowerCut(t *testing.T) {
	rec := record(t)
	t.Run("ledger", rec.testLedger)
	t.Run("ledger on a disk that lies", rec.testLyingDisk)
	t.Run("killed before", rec.testKilledBefore)
	t.Run("killed before with a key", rec.testKeys)
	t.Run("boot", rec.testBoot)
	t.Run("directories", rec.testDirectories)
	t.Run("recovery", rec.testRecovery)
}

// testLedger: every ledger that a power cut leaves opens, holds what was
// acknowledged, byte by byte and without a gap, and what allowed an act, and
// takes events again.
func (rec *recording) testLedger(t *testing.T) {
	must(t, rec.ledgerSweep(rec.h, 6000).run(t))
}

func (rec *recording) ledgerSweep(h *History, most int) *sweep {
	return &sweep{rec: rec, h: h, task: taskLedger, below: []string{"data/ledger"}, most: most, wrong: rec.ledgerWrong}
}

func (rec *recording) ledgerWrong(s *State, a *answer) string {
	due := rec.truth.due(s.Cut)
	switch {
	case a.Err != "" && (due.seq > 0 || !missing(a.Err)):
		return a.Err
	case a.Same < due.seq:
		return fmt.Sprintf("it holds %d events, the first %d as they were; %s", a.Last, a.Same, due.why)
	}
	return ""
}

// missing tells whether an error is that the directory was not made yet.
func missing(err string) bool { return strings.Contains(err, "no such file or directory") }

// testLyingDisk: the test finds each flush that is left out.
func (rec *recording) testLyingDisk(t *testing.T) {
	segment := func(p string) bool { return strings.HasSuffix(p, ".seg") }
	const metas = 2 * 4096 // the pages by which bbolt says which tree is in force
	for name, drop := range map[string]func(path string, behind int64) bool{
		"of a commit's pages":      func(p string, behind int64) bool { return segment(p) && behind >= metas },
		"of a commit's last page":  func(p string, behind int64) bool { return segment(p) && behind < metas },
		"of the names of segments": func(p string, _ int64) bool { return strings.HasSuffix(p, "/segments") },
		"of the ledger's own name": func(p string, _ int64) bool { return strings.HasSuffix(p, "/data") },
	} {
		t.Run(name, func(t *testing.T) {
			w := rec.ledgerSweep(rec.h.WithoutSyncs(drop), 8000)
			w.first = true
			if wrongs := w.run(t); len(wrongs) == 0 {
				t.Error("no state is wrong without these flushes")
			} else {
				t.Logf("found: %.300s", wrongs[0])
			}
		})
	}
}
