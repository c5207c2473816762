package projector

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

// TestEveryEventInEveryPhase holds the whole table of transitions of a handle:
// what is not allowed here is refused by name and changes nothing.
func TestEveryEventInEveryPhase(t *testing.T) {
	sc := scopeOf(1)
	request, refuse := requested(), &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"}
	started, exited := &event.ProcessStarted{}, &event.ProcessExited{Exit: code(0)}
	aborted, failed := &event.SpawnAborted{}, &event.SpawnFailed{}
	lost, released := &event.ProcessLost{}, &event.HandleReleased{}
	phases := []reached{
		{"none", PhaseNone, nil},
		{"requested", PhaseRequested, []event.Body{request}},
		{"refused", PhaseNone, []event.Body{request, refuse}},
		{"decided", PhaseDecided, []event.Body{request, granted()}},
		{"started", PhaseStarted, []event.Body{request, granted(), started}},
		{"adopted", PhaseStarted, []event.Body{request, granted(), started, &event.ProcessAdopted{}}},
		{"exited", PhaseExited, []event.Body{request, granted(), started, exited}},
		{"aborted", PhaseAborted, []event.Body{request, granted(), aborted}},
		{"failed", PhaseFailed, []event.Body{request, granted(), failed}},
		{"lost before start", PhaseLost, []event.Body{request, granted(), lost}},
		{"lost", PhaseLost, []event.Body{request, granted(), started, lost}},
		{"released", PhaseNone, []event.Body{request, granted(), started, exited, released}},
	}
	live := []Phase{PhaseDecided, PhaseStarted}
	ended := []Phase{PhaseExited, PhaseAborted, PhaseFailed, PhaseLost}
	cancel := testID(9, 9)
	events := []transition{
		{request, []Phase{PhaseNone}},
		{granted(), []Phase{PhaseRequested}},
		{refuse, []Phase{PhaseRequested}},
		{aborted, []Phase{PhaseDecided}},
		{failed, []Phase{PhaseDecided}},
		{started, []Phase{PhaseDecided}},
		{&event.ProcessAdopted{}, []Phase{PhaseStarted}},
		{exited, []Phase{PhaseStarted}},
		{lost, live},
		{released, ended},
		{&event.SignalRequested{Signal: 15}, live},
		{&event.SignalRequested{Signal: 9, Late: true}, slices.Concat(live, ended)},
		{&event.SignalSent{Request: 1}, nil},
		{&event.StopRequested{}, live},
		{&event.TimerFired{Timer: "lifetime"}, live},
		{&event.CancelRequested{Cancel: cancel[:], Handles: [][]byte{sc.Handle[:]}}, live},
		{&event.OrphanEnded{}, append(ended, PhaseNone)},
		{&event.HandleAttached{}, nil}, // of the background tier
		{&event.WatchArmed{}, nil},
		{&event.WatchDisarmed{}, nil},
		{&event.StdinClosed{}, nil},
		{&event.TimerFired{Timer: "idle"}, nil},
		{&event.TimerFired{Timer: "retention"}, nil},
	}
	checkTransitions(t, sc, phases, events)
}

// reached is a phase and the events that lead to it.
type reached struct {
	name  string
	phase Phase
	by    []event.Body
}

// transition is an event and the phases that allow it.
type transition struct {
	body event.Body
	in   []Phase
}

func checkTransitions(t *testing.T, sc event.Scope, phases []reached, events []transition) {
	t.Helper()
	for _, p := range phases {
		for _, e := range events {
			var h history
			for _, b := range p.by {
				h.add(sc, b)
			}
			s := h.applied(t)
			before := s.Encode()
			err := s.Apply(h.add(sc, e.body))
			if slices.Contains(e.in, p.phase) {
				if err != nil {
					t.Errorf("%s, %v: %v", p.name, e.body.Kind(), err)
				}
				continue
			}
			var te *TransitionError
			if !errors.As(err, &te) || te.Kind != e.body.Kind() || te.Seq != uint64(len(h.events)) {
				t.Errorf("%s, %v: got %v, want a transition error", p.name, e.body.Kind(), err)
			}
			if !bytes.Equal(before, s.Encode()) {
				t.Errorf("%s, %v: refused, and changed the state", p.name, e.body.Kind())
			}
		}
	}
}

// TestPersistentEventInEveryPhase is the same table for what only a persistent
// process can take.
func TestPersistentEventInEveryPhase(t *testing.T) {
	d := granted()
	d.KeepStdinOpen, d.IdleNano, d.RetentionNano, d.ProcessIDHash = true, 5, 6, []byte{1}
	request, watch := &event.SpawnRequested{Tier: event.TierPersistent}, &event.WatchArmed{}
	started, exited := &event.ProcessStarted{}, &event.ProcessExited{Exit: code(0)}
	phases := []reached{
		{"none", PhaseNone, nil},
		{"requested", PhaseRequested, []event.Body{request}},
		{"decided", PhaseDecided, []event.Body{request, d, watch}},
		{"started", PhaseStarted, []event.Body{request, d, started, watch}},
		{"exited", PhaseExited, []event.Body{request, d, started, watch, exited}},
		{"aborted", PhaseAborted, []event.Body{request, d, watch, &event.SpawnAborted{}}},
		{"failed", PhaseFailed, []event.Body{request, d, watch, &event.SpawnFailed{}}},
		{"lost", PhaseLost, []event.Body{request, d, watch, started, &event.ProcessLost{}}},
		{"released", PhaseNone, []event.Body{request, d, started, exited, &event.HandleReleased{}}},
	}
	live := []Phase{PhaseDecided, PhaseStarted}
	ended := []Phase{PhaseExited, PhaseAborted, PhaseFailed, PhaseLost}
	held := slices.Concat(live, ended)
	checkTransitions(t, scopeOf(1), phases, []transition{
		{&event.HandleAttached{}, held},
		{&event.WatchArmed{Suffix: "s"}, held},
		{&event.WatchDisarmed{}, held},
		{&event.StdinClosed{}, held},
		{&event.TimerFired{Timer: "idle"}, live},
		{&event.TimerFired{Timer: "retention"}, ended},
		{&event.HandleReleased{}, ended},
	})
}
