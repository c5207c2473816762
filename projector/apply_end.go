package projector

import (
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// idOf reads the 16 bytes of an id in an event.
func idOf(b []byte) (id ulid.ULID, ok bool) {
	return id, copy(id[:], b) == len(id) && len(b) == len(id) && id != ulid.ULID{}
}

// signalRequested needs a live handle, except for a signal that was sent while
// the ledger could not commit: by the time it is recorded the process may have
// ended of it.
func (s *State) signalRequested(e *event.Event, b *event.SignalRequested) error {
	h, phase := s.phaseOf(e)
	if !phase.Live() && (!b.Late || !phase.Terminal()) {
		return ofHandle(e, e.Handle, phase, "signal-requested")
	}
	cancel, ok := idOf(b.Cancel)
	if !ok && len(b.Cancel) != 0 {
		return malformed(e, "cancel id is not 16 bytes")
	}
	h.Signals = append(h.Signals, Signal{
		Seq: e.Seq, Signal: b.Signal, Target: b.Target, Cause: b.Cause, Cancel: cancel,
	})
	if step := h.signalStep(b.Signal, b.Cause, cancel); step != nil {
		*step = Step{Requested: e.Seq}
	}
	h.LastSeq = e.Seq
	s.totals.SignalsRequested++
	return nil
}

func (s *State) signalSent(e *event.Event, b *event.SignalSent) error {
	h, phase := s.phaseOf(e)
	if h == nil {
		return ofHandle(e, e.Handle, phase, "signal-sent")
	}
	i := slices.IndexFunc(h.Signals, func(p Signal) bool { return p.Seq == b.Request })
	if i < 0 {
		return of(e, "signal of handle "+h.ID.String(), "not requested", "sent")
	}
	h.Signals = slices.Delete(h.Signals, i, i+1)
	for j := range h.Obligations {
		o := &h.Obligations[j]
		o.Gentle.sent(e, b)
		o.Kill.sent(e, b)
	}
	h.LastSeq = e.Seq
	s.totals.SignalsSent++
	return nil
}

// sent marks the step if it is the one that was requested.
func (st *Step) sent(e *event.Event, b *event.SignalSent) {
	if st.Requested != 0 && st.Requested == b.Request {
		st.Sent, st.Delivered = at(e), b.Delivered
	}
}

func (s *State) cancelRequested(e *event.Event, b *event.CancelRequested) error {
	id, ok := idOf(b.Cancel)
	if !ok {
		return malformed(e, "cancel id is not 16 bytes")
	}
	if s.cancels[id] != nil {
		return of(e, "cancel "+id.String(), "open", "requested")
	}
	reached, err := s.reachedBy(e, b.Handles)
	if err != nil {
		return err
	}
	c := &Cancel{
		ID: id, Principal: e.Principal, Capsule: e.Capsule, Actor: e.Actor,
		CallIDs: b.CallIDs, Reason: b.Reason, Requested: at(e), Reached: uint32(len(reached)),
	}
	for _, h := range reached {
		h.Obligations = append(h.Obligations, Obligation{
			Cause: "cancel", Reason: b.Reason, Cancel: id, Opened: at(e),
		})
		c.Remaining = append(c.Remaining, h.ID)
	}
	s.cancels[id] = c
	s.touch(e)
	s.totals.Cancels++
	return nil
}

// reachedBy resolves the handles that a cancel names, sorted: live ones, each
// once.
func (s *State) reachedBy(e *event.Event, ids [][]byte) ([]*Handle, error) {
	reached := make([]*Handle, 0, len(ids))
	for _, raw := range ids {
		id, ok := idOf(raw)
		if !ok {
			return nil, malformed(e, "handle id is not 16 bytes")
		}
		h := s.handles[id]
		if h == nil {
			return nil, ofHandle(e, id, PhaseNone, "cancel-requested")
		}
		if !h.Phase.Live() {
			return nil, ofHandle(e, id, h.Phase, "cancel-requested")
		}
		reached = append(reached, h)
	}
	sortHandles(reached)
	for i := 1; i < len(reached); i++ {
		if reached[i] == reached[i-1] {
			return nil, malformed(e, "handle %v stands there twice", reached[i].ID)
		}
	}
	return reached, nil
}

func (s *State) cancelFinished(e *event.Event, b *event.CancelFinished) error {
	id, ok := idOf(b.Cancel)
	if !ok {
		return malformed(e, "cancel id is not 16 bytes")
	}
	c := s.cancels[id]
	if c == nil {
		return of(e, "cancel "+id.String(), "none", "finished")
	}
	if len(c.Remaining) > 0 {
		return of(e, "cancel "+id.String(), "open", "finished")
	}
	delete(s.cancels, id)
	s.touch(e)
	s.totals.CancelsFinished++
	return nil
}

func (s *State) stopRequested(e *event.Event, b *event.StopRequested) error {
	h, phase := s.phaseOf(e)
	if !phase.Live() {
		return ofHandle(e, e.Handle, phase, "stop-requested")
	}
	h.Obligations = append(h.Obligations, Obligation{
		Cause: "stop", Reason: b.Reason, GraceNano: b.GraceNano, Opened: at(e),
	})
	h.LastSeq = e.Seq
	s.totals.StopsRequested++
	return nil
}

// timerFired opens the end that a timer orders. A timer fires once.
func (s *State) timerFired(e *event.Event, b *event.TimerFired) error {
	h, phase := s.phaseOf(e)
	if b.Timer == "retention" {
		return s.retentionFired(e, h, phase)
	}
	cause, grace := timerCause(h, b.Timer)
	if !phase.Live() {
		return ofHandle(e, e.Handle, phase, cause)
	}
	if cause == "idle" && h.IdleNano == 0 {
		return of(e, "timer of handle "+h.ID.String(), "not granted", cause)
	}
	if _, fired := h.Obligation(cause); fired {
		return of(e, "timer of handle "+h.ID.String(), cause, cause)
	}
	h.Obligations = append(h.Obligations, Obligation{Cause: cause, GraceNano: grace, Opened: at(e)})
	h.LastSeq = e.Seq
	s.totals.TimersFired++
	return nil
}

// timerCause is the cause that the signals of a timer carry, and the grace it
// gives.
func timerCause(h *Handle, timer string) (cause string, grace int64) {
	switch {
	case timer == "orphan":
		return "orphaned", 0
	case (timer == "lifetime" || timer == "idle") && h != nil:
		return timer, h.Orders.GraceNano
	default:
		return timer, 0
	}
}
