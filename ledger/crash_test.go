//go:build unix

package ledger

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/segment"
)

// crashes are the deaths that TestCrash has a writer die. Each crash is a run
// of its own on the same directory, so later ones die while they clean up
// after the earlier.
var crashes = []struct {
	name    string
	fail    string   // the write that fails once: see envFail
	at      []string // crash points, NAME or NAME#N
	atFirst bool     // the first death comes before the ledger is there
}{
	{name: "first segment written", at: []string{"ledger.create.written"}, atFirst: true},
	{name: "first segment named", at: []string{"ledger.create.renamed"}, atFirst: true},
	{name: "first segment there", at: []string{"ledger.create.durable"}, atFirst: true},
	{name: "before a commit", at: []string{"ledger.commit.begin#3"}},
	{name: "after a commit", at: []string{"ledger.commit.durable#3"}},
	{name: "before the answer", at: []string{"ledger.commit.published#3"}},
	{name: "grown for the first commit", at: []string{"ledger.grow.extended"}, atFirst: true},
	{name: "grown for a later segment", at: []string{"ledger.grow.extended#2"}},
	{name: "sealed", at: []string{"ledger.roll.sealed"}},
	{name: "sealed and readable", at: []string{"ledger.roll.opened-to-auditors"}},
	{name: "next segment written", at: []string{"ledger.create.written#2"}},
	{name: "next segment named", at: []string{"ledger.create.renamed#2"}},
	{name: "next segment there", at: []string{"ledger.create.durable#2"}},
	{name: "third roll", at: []string{"ledger.roll.sealed#3"}},
	{name: "again and again in a roll", at: []string{
		"ledger.roll.sealed", "ledger.roll.opened-to-auditors", "ledger.create.written",
		"ledger.create.renamed", "ledger.commit.durable#2", "ledger.create.durable"}},
	{name: "failed, lost", fail: "append lost", at: []string{"ledger.fail.marked"}},
	{name: "failed, persisted", fail: "append persisted", at: []string{"ledger.fail.marked"}},
	{name: "set aside", fail: "append persisted", at: []string{"ledger.salvage.set-aside"}},
	{name: "failed at the seal", fail: "seal persisted", at: []string{"ledger.salvage.set-aside"}},
	{name: "failed at the next segment", fail: "create persisted", at: []string{"ledger.fail.marked"}},
	{name: "snapshot written", at: []string{"ledger.snapshot.written"}},
	{name: "snapshot named", at: []string{"ledger.snapshot.renamed"}},
	{name: "again and again at snapshots", at: []string{
		"ledger.snapshot.written", "ledger.snapshot.renamed#2", "ledger.snapshot.written#2", "ledger.snapshot.renamed"}},
	{name: "again and again in a salvage", fail: "append persisted", at: []string{
		"ledger.fail.marked", "ledger.create.written", "ledger.salvage.set-aside",
		"ledger.create.renamed", "ledger.commit.begin"}},
}

// TestEveryPointIsCrashedAt holds that no crash point goes untested.
func TestEveryPointIsCrashedAt(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range crashes {
		for _, at := range c.at {
			name, _, _ := strings.Cut(at, "#")
			tested[name] = true
		}
	}
	for _, p := range crashpoint.Points {
		if p.Component == crashpoint.Ledger && !tested[p.Name] {
			t.Errorf("no test crashes at %s", p.Name)
		}
	}
}

// buildWriter builds this package's test binary with the crash points in it.
func buildWriter(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.test")
	out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build the writer: %v\n%s", err, out)
	}
	return path
}

// TestCrash kills writers at each point and checks what is left, against files
// that the writers kept beside the ledger.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	binary := buildWriter(t)
	for _, c := range crashes {
		t.Run(c.name, func(t *testing.T) {
			dir, prefix := t.TempDir(), filepath.Join(t.TempDir(), "witness")
			for i, at := range c.at {
				fail := c.fail
				if i > 0 {
					fail = ""
				}
				if !runWriter(t, binary, dir, prefix, at, fail) {
					t.Fatalf("the writer came to its end without passing %s", at)
				}
			}
			checkCrashed(t, dir, prefix, c.atFirst)
		})
	}
}

// runWriter runs a writer and tells whether it was killed.
func runWriter(t *testing.T, binary, dir, prefix, at, fail string) bool {
	t.Helper()
	cmd := exec.Command(binary, "-test.run", "^TestCrashWriter$", "-test.count", "1")
	cmd.Env = append(os.Environ(), "ASTRID_CRASH_AT="+at,
		envDir+"="+dir, envWitness+"="+prefix, envFail+"="+fail, envRounds+"="+strconv.Itoa(3*crashSegment))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the writer that was to die at %s ended with %v:\n%s", at, err, out)
	}
	return true
}

// checkCrashed opens what crashes left, twice, and goes on in it.
func checkCrashed(t *testing.T, dir, prefix string, atFirst bool) {
	t.Helper()
	for range 2 {
		fold := &chainFold{}
		l := open(t, dir, Options{Fold: fold, SegmentEvents: crashSegment, SnapshotEvents: crashSnapshot})
		all := checkLedger(t, l)
		if acked := checkWitness(t, prefix, all); (acked == 0) != atFirst {
			t.Errorf("the writers saw %d events acknowledged before they died", acked)
		}
		if last := all[len(all)-1].Seq; fold.committed.seq != last || fold.committed != fold.tip {
			t.Errorf("the fold is at %+v, the ledger at %d", fold, last)
		}
		checkReplayed(t, l, fold)
		checkNoLeftovers(t, dir)
		closeLedger(t, l)
	}
	l := open(t, dir, Options{SegmentEvents: crashSegment})
	for range 2 * crashSegment {
		submit(t, l, "after the crash")
	}
	checkLedger(t, l)
}

// checkNoLeftovers checks that nothing unfinished lies about, and that each
// file has the mode of its place.
func checkNoLeftovers(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(segmentsDir(dir), "*.tmp"))
	if err != nil || len(names) > 0 {
		t.Errorf("unfinished files: %v %v", names, err)
	}
	files, err := segment.List(segmentsDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		want := os.FileMode(sealedMode)
		if i == len(files)-1 {
			want = newestMode
		}
		if fi, err := os.Stat(f.Path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", f.Path, fi.Mode(), err, want)
		}
	}
}
