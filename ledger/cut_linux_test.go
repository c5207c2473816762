package ledger

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestCutUnderTheWriter cuts the newest file short under the writer. Nothing is
// acknowledged any more and nothing hangs; what was acknowledged and is gone is
// not passed over by Reopen.
func TestCutUnderTheWriter(t *testing.T) {
	for _, size := range []int64{0, 2 * 4096, 5 * 4096} {
		dir := t.TempDir()
		l := open(t, dir, Options{SegmentEvents: 40})
		fill(t, l, 60) // a sealed segment, and the newest
		all := checkLedger(t, l)
		newest := segmentFiles(t, dir)[1]
		if err := os.Truncate(newest, size); err != nil {
			t.Fatal(err)
		}
		_, err := l.Submit(context.Background(), one(note("never")))
		wantErr(t, err, ErrFailed)
		wantErr(t, err, ErrCorrupt)
		wantErr(t, l.Reopen(t.Context()), ErrCorrupt)
		_, err = l.Get(t.Context(), all[len(all)-1].Seq)
		wantErr(t, err, ErrCorrupt)
		if _, err := l.Get(t.Context(), 3); err != nil {
			t.Errorf("an event of the sealed segment: %v", err)
		}
		closeLedger(t, l)
		_, err = Open(dir, Options{Fold: &chainFold{}})
		wantErr(t, err, ErrCorrupt)
	}
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(segmentsDir(dir), "*.seg"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	return files
}
