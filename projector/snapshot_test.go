package projector

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/astrid-os/processledger/ledger"
)

// TestOpenFromASnapshot: whatever lies between two openings, the state is the
// one that a replay from the segment's opening gives, byte for byte.
func TestOpenFromASnapshot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "astrid-snapshot-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := ledger.Options{
			SnapshotEvents: rapid.Int64Range(1, 200).Draw(rt, "snapshot"),
			SegmentEvents:  rapid.Uint64Range(100, 1500).Draw(rt, "segment"),
		}
		h := million(rapid.IntRange(1, 1500).Draw(rt, "events"))
		sends := h.sends()
		for len(h.events) > 0 {
			l, err := Open(dir, o)
			if err != nil {
				rt.Fatal(err)
			}
			n := rapid.IntRange(1, len(h.events)).Draw(rt, "before the next opening")
			checkAgainstReplay(rt, l)
			commit(t, l, h.events[:n], sends, rapid.IntRange(min(n, 10), n).Draw(rt, "at once"))
			checkAgainstReplay(rt, l)
			if err := l.Close(); err != nil {
				rt.Fatal(err)
			}
			h.events = h.events[n:]
		}
	})
}

func checkAgainstReplay(t *rapid.T, l *Live) {
	_, last := l.Ledger().Bounds()
	want, err := At(t.Context(), l.Ledger(), last)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.Snapshot().Encode(), want.Encode()) {
		t.Fatalf("at event %d the state is not what a replay gives", last)
	}
}

// TestFoldRevision holds the state of a fixed history; the scenarios hold what
// each kind of event does. Another state here is either a mistake, or a change
// of what old events mean: with that, the opening states of old ledgers do not
// verify any more. Whoever decides that it must be raises foldRevision, so that
// no state that an earlier build kept is gone on from.
func TestFoldRevision(t *testing.T) {
	const want = "01400d39c0efbe70f37020d350dcd36f4e6e52d9fdc07455903392ec0cd87921"
	sum := sha256.Sum256(million(20_000).applied(t).Encode())
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the state is %s with fold revision %d, it was %s", got, foldRevision, want)
	}
}
