package ledger

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestSubmitAndReadOverSegments(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentEvents: 16})
	fill(t, l, 100)
	all := checkLedger(t, l)
	if len(l.shelf.firsts()) < 6 {
		t.Errorf("%d segments of %d events", len(l.shelf.firsts()), len(all))
	}
	id := l.ID()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, Options{SegmentEvents: 16})
	if l.ID() != id {
		t.Errorf("the ledger's id is %s after reopening, was %s", l.ID(), id)
	}
	if again := checkLedger(t, l); len(again) != len(all) {
		t.Errorf("%d events after reopening, %d before", len(again), len(all))
	}
	fill(t, l, 5)
	checkLedger(t, l)
}
