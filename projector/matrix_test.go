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
	phases := []struct {
		name  string
		phase Phase
		by    []event.Body
	}{
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
	events := []struct {
		body event.Body
		in   []Phase
	}{
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
	}
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
