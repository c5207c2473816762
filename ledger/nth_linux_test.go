package ledger

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEveryCallFails has each system call by which a writer writes fail, the
// first, the second and so on of each of its threads, over first segment, growth,
// commits and rolls, and over the salvages that follow: calls that write are lost,
// and of those that flush everything is in the file all the same. Whatever was
// acknowledged is there afterwards, and the ledger goes on.
func TestEveryCallFails(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skipf("strace is not here: %v", err)
	}
	binary := buildWriter(t)
	for _, call := range []struct {
		names, errno string
		most         int
	}{
		{"pwrite64", "ENOSPC", 24}, {"pwrite64", "EIO", 12}, {"fdatasync", "EIO", 12}, {"fsync", "EIO", 8},
		{"fallocate", "ENOSPC", 4}, {"ftruncate,truncate", "EIO", 3}, {"link,linkat", "EIO", 2},
		{"rename,renameat,renameat2", "EIO", 4}, {"unlink,unlinkat", "EIO", 3},
	} {
		for n := 1; n <= call.most; n++ {
			t.Run(fmt.Sprintf("%s %s %d", call.names, call.errno, n), func(t *testing.T) {
				t.Parallel()
				dir, prefix := t.TempDir(), filepath.Join(t.TempDir(), "witness")
				// Twice, so that the next failures hit each call that cleans up.
				inject := fmt.Sprintf("inject=%s:error=%s:when=%d..%d", call.names, call.errno, n, n+1)
				cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+call.names, "-e", inject, "--seccomp-bpf",
					binary, "-test.run", "^TestCrashWriter$", "-test.count", "1")
				cmd.Env = append(os.Environ(), "ASTRID_CRASH_AT=", envDir+"="+dir, envWitness+"="+prefix, envFail+"=anything",
					envRounds+"="+strconv.Itoa(2*crashSegment))
				if out, err := cmd.CombinedOutput(); err != nil && strings.Contains(string(out), "ptrace") {
					t.Skipf("this user may not trace: %s", out)
				} else if err != nil && !strings.Contains(string(out), "open ledger") && !strings.Contains(string(out), "close:") {
					t.Errorf("the writer: %v\n%s", err, out)
				}
				fold := &chainFold{}
				l := open(t, dir, Options{Fold: fold, SegmentEvents: crashSegment})
				checkWitness(t, prefix, checkLedger(t, l))
				checkReplayed(t, l, fold)
				for range crashSegment + 1 {
					submit(t, l, "after the failures")
				}
				checkLedger(t, l)
			})
		}
	}
}
