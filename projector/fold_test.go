package projector

import (
	"bytes"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// These tests call the fold as the ledger does, in orders that a real ledger
// shows only when its disk fails.

// inFlight decides the events of h.events[from:] as one closure.
func inFlight(t *testing.T, l *Live, h *history, from int) []*event.Event {
	t.Helper()
	es, err := l.decide(h.events[from].Header, func(*State, ledger.Header) ([]*event.Event, error) {
		return h.events[from:], nil
	})
	must(t, err)
	return es
}

func TestDiscardSetsTipBack(t *testing.T) {
	l := newLive()
	f := (*fold)(l)
	must(t, f.Restore(nil))
	var h history
	h.add(scopeOf(1), requested())
	h.add(scopeOf(1), granted())
	f.Committed(inFlight(t, l, &h, 0))
	want := l.Snapshot().Encode()

	h.add(scopeOf(1), &event.ProcessStarted{})
	inFlight(t, l, &h, 2)
	f.Discard()
	if got := l.remade().Encode(); !bytes.Equal(got, want) {
		t.Error("tip holds what was discarded")
	}
	if got := f.Encode(); !bytes.Equal(got, want) {
		t.Error("the committed state holds what was discarded")
	}
}

// TestFailedAndPersisted: a batch that was reported as failed may stand in the
// file all the same; after the replay it counts.
func TestFailedAndPersisted(t *testing.T) {
	for _, persisted := range []bool{true, false} {
		l := newLive()
		f := (*fold)(l)
		must(t, f.Restore(nil))
		var h history
		h.add(scopeOf(1), requested())
		h.add(scopeOf(1), granted())
		f.Committed(inFlight(t, l, &h, 0))
		h.add(scopeOf(2), requested())
		h.add(scopeOf(2), granted())
		inFlight(t, l, &h, 2)
		f.Discard()

		if !persisted {
			h.events = h.events[:2]
		}
		must(t, f.Restore(nil))
		for _, e := range h.events {
			must(t, f.Replay(e))
		}
		if !bytes.Equal(l.Snapshot().Encode(), h.applied(t).Encode()) {
			t.Errorf("persisted %v: another state than the file's", persisted)
		}
		if tip := l.remade().LiveAll(); int(tip.Background) != len(h.events)/2 {
			t.Errorf("persisted %v: tip counts %+v", persisted, tip)
		}
	}
}

// TestReadersSeeNoPast: while a reopened ledger is replayed, readers go on
// seeing what was committed.
func TestReadersSeeNoPast(t *testing.T) {
	l := newLive()
	f := (*fold)(l)
	must(t, f.Restore(nil))
	h := crowd(20)
	f.Committed(inFlight(t, l, h, 0))
	seen := l.Snapshot().Seq()

	h.add(scopeOf(99), requested())
	must(t, f.Restore(nil))
	for _, e := range h.events {
		must(t, f.Replay(e))
		if now := l.Snapshot().Seq(); now < seen {
			t.Fatalf("a reader was taken back from %d to %d", seen, now)
		}
	}
	if got := l.Snapshot().Seq(); got != uint64(len(h.events)) {
		t.Errorf("after the replay the state is at %d", got)
	}
}

// TestDiskHoldsLess: what the disk has lost is lost for decisions too.
func TestDiskHoldsLess(t *testing.T) {
	l := newLive()
	f := (*fold)(l)
	must(t, f.Restore(nil))
	h := crowd(5)
	f.Committed(inFlight(t, l, h, 0))

	must(t, f.Restore(nil))
	for _, e := range h.events[:6] {
		must(t, f.Replay(e))
	}
	s, err := Decode(f.Encode())
	must(t, err)
	if s.Seq() != 6 || l.Snapshot().Seq() != 6 {
		t.Errorf("the state is at %d and %d, the disk at 6", s.Seq(), l.Snapshot().Seq())
	}
}

func TestRestoreRefusesOtherBytes(t *testing.T) {
	if err := (*fold)(newLive()).Restore([]byte("no state")); err == nil {
		t.Error("no error")
	}
}

// TestRestoreAt: a kept state is gone on from only if it is of the event that
// it is said to be of, and readers see nothing of one that is not.
func TestRestoreAt(t *testing.T) {
	l := newLive()
	f := (*fold)(l)
	must(t, f.Restore(nil))
	h := crowd(5)
	f.Committed(inFlight(t, l, h, 0))
	kept := f.Freeze()()
	seq := uint64(len(h.events))
	for _, wrong := range []struct {
		state []byte
		seq   uint64
	}{{kept, seq - 1}, {kept, seq + 1}, {kept[:len(kept)-1], seq}, {nil, seq}} {
		m := newLive()
		if err := (*fold)(m).RestoreAt(wrong.state, wrong.seq); err == nil || m.Snapshot().Seq() != 0 {
			t.Errorf("%d bytes at %d: %v, a reader sees %d", len(wrong.state), wrong.seq, err, m.Snapshot().Seq())
		}
	}
	m := newLive()
	must(t, (*fold)(m).RestoreAt(kept, seq))
	if !bytes.Equal(m.Snapshot().Encode(), l.Snapshot().Encode()) {
		t.Error("another state")
	}
}
