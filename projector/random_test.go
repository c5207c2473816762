package projector

import (
	"bytes"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/astrid-os/processledger/ledger/event"
)

// simulate draws a legal history.
func simulate(t *rapid.T) *sim {
	m := newSim()
	for range rapid.IntRange(0, 120).Draw(t, "steps") {
		m.step(t)
	}
	return m
}

// TestAnySplitGivesTheSameBytes: however a history is cut into replay, snapshot
// and tail, the state at its end is the same, and agrees with a recount by
// other means.
func TestAnySplitGivesTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := simulate(t)
		whole := New()
		cut := rapid.IntRange(0, len(m.events)).Draw(t, "cut")
		cut2 := rapid.IntRange(cut, len(m.events)).Draw(t, "cut2")
		split := New()
		for i, e := range m.events {
			if err := whole.Apply(e); err != nil {
				t.Fatalf("a legal history is refused: %v", err)
			}
			if i == cut {
				split = reread(t, split)
			}
			if i == cut2 {
				split = split.Clone()
			}
			if err := split.Apply(e); err != nil {
				t.Fatalf("refused after a snapshot: %v", err)
			}
		}
		if !bytes.Equal(whole.Encode(), split.Encode()) {
			t.Fatal("the two states differ")
		}
		if err := m.check(whole); err != nil {
			t.Fatal(err)
		}
		if err := m.check(reread(t, split)); err != nil {
			t.Fatalf("after a snapshot: %v", err)
		}
	})
}

func reread(t *rapid.T, s *State) *State {
	d, err := Decode(s.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCloneIsApart: what happens to a state leaves its clone alone.
func TestCloneIsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := simulate(t)
		cut := rapid.IntRange(0, len(m.events)).Draw(t, "cut")
		s := New()
		for _, e := range m.events[:cut] {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		clone, frozen, before := s.Clone(), s.freeze(), s.Encode()
		for _, e := range m.events[cut:] {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(clone.Encode(), before) {
			t.Fatal("the clone changed")
		}
		if !bytes.Equal(frozen(), before) {
			t.Fatal("the frozen state changed")
		}
	})
}

// TestRandomEventIsAtomic: no event makes Apply panic, and one that is refused
// changes nothing.
func TestRandomEventIsAtomic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := simulate(t)
		s := New()
		for _, e := range m.events {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "random events") {
			e := randomEvent(t, m)
			e.Seq = s.Seq() + 1
			before := s.Encode()
			if err := s.Apply(e); err != nil {
				if !bytes.Equal(before, s.Encode()) {
					t.Fatalf("%v changed the state and was refused: %v", e.Kind(), err)
				}
				continue
			}
			reread(t, s)
		}
	})
}

// randomEvent draws an event that need not be legal, about ids that exist as
// often as not.
func randomEvent(t *rapid.T, m *sim) *event.Event {
	sc := m.scope(t)
	sc.Handle = randomID(t, m)
	id := func() []byte {
		b := randomID(t, m)
		return b[:rapid.SampledFrom([]int{16, 16, 16, 3, 0}).Draw(t, "length")]
	}
	n := rapid.Uint32Range(0, 12).Draw(t, "number")
	seq := rapid.Uint64Range(0, uint64(len(m.events))).Draw(t, "seq")
	handles := make([][]byte, 0, 3)
	for range rapid.IntRange(0, 3).Draw(t, "handles") {
		handles = append(handles, id())
	}
	x := int32(n)
	exits := []event.Exit{{}, {Code: &x}, {Signal: &x}, {Code: &x, Signal: &x}}
	body := rapid.SampledFrom([]event.Body{
		nil, &event.Unknown{Of: event.Kind(n + 200)},
		&event.DaemonStarted{}, &event.DaemonStopped{}, &event.RecoveryStarted{}, &event.RecoveryFinished{},
		&event.SegmentOpened{}, &event.ClockStepped{}, &event.LedgerMigrated{}, &event.LedgerSalvaged{}, &event.LedgerBackedUp{},
		&event.CapsuleLoaded{}, &event.CapsuleUnloaded{}, &event.PolicyChanged{Subject: string(rune('a' + n))},
		&event.InvocationStarted{}, &event.InvocationFinished{},
		&event.SpawnRequested{Tier: event.Tier(n)}, &event.SpawnDecided{Outcome: event.Outcome(n)}, &event.SpawnDecided{Outcome: 1},
		&event.SpawnAborted{}, &event.SpawnFailed{}, &event.ProcessStarted{}, &event.ProcessAdopted{},
		&event.ProcessExited{Exit: rapid.SampledFrom(exits).Draw(t, "exit")}, &event.ProcessLost{},
		&event.CancelRequested{Cancel: id(), Handles: handles}, &event.CancelFinished{Cancel: id()},
		&event.StopRequested{}, &event.TimerFired{Timer: "lifetime"}, &event.TimerFired{},
		&event.SignalRequested{Signal: n, Cancel: id(), Cause: "cancel", Late: n%2 == 0},
		&event.SpawnDecided{Outcome: 1, KeepStdinOpen: true, Overflow: event.Overflow(n % 4), IdleNano: 5, ProcessIDHash: id()},
		&event.HandleAttached{}, &event.WatchArmed{Suffix: "s"}, &event.WatchDisarmed{}, &event.StdinClosed{},
		&event.TimerFired{Timer: "idle"}, &event.TimerFired{Timer: "retention"},
		&event.SignalSent{Request: seq}, &event.HandleReleased{}, &event.OrphanEnded{},
	}).Draw(t, "body")
	return &event.Event{Header: event.Header{ID: testID(uint64(n), 1)}, Scope: sc, Body: body}
}

func randomID(t *rapid.T, m *sim) ulid.ULID {
	ids := []ulid.ULID{{}, testID(1, 1)}
	for _, p := range m.procs {
		ids = append(ids, p.scope.Handle)
	}
	for _, c := range m.cancels {
		ids = append(ids, c.id)
	}
	return rapid.SampledFrom(ids).Draw(t, "id")
}

// FuzzDecode: no bytes make Decode panic, and what it accepts is stable.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(New().Encode())
	h := everythingPersistent()
	s := New()
	for i, e := range h.events {
		if err := s.Apply(e); err != nil {
			f.Fatal(err)
		}
		if i%7 == 0 || i == len(h.events)-1 {
			f.Add(s.Encode())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatal("accepted, but encodes to other bytes")
		}
		if !bytes.Equal(s.Clone().Encode(), b) {
			t.Fatal("the clone encodes to other bytes")
		}
		// Nothing that Decode lets pass may harm what comes after it.
		for _, h := range s.Handles() {
			for _, body := range []event.Body{&event.ProcessStarted{}, &event.ProcessLost{}, &event.HandleReleased{}} {
				e := &event.Event{Header: event.Header{Seq: s.Seq() + 1}, Scope: h.Scope(), Body: body}
				if err := s.Apply(e); err != nil {
					continue
				}
			}
		}
		for _, h := range s.Handles() {
			if got, ok := s.ByProcessID(h.ProcessIDHash); ok && got != h {
				t.Fatal("a process id leads to another handle")
			}
		}
		s.Reached("", "", []string{"c1"})
		s.Tallies()
	})
}
