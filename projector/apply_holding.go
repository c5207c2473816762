package projector

import (
	"fmt"

	"github.com/astrid-os/processledger/ledger/event"
)

// persistent returns the handle of an event that only a persistent process can
// take, from its grant to its release; to is what the event would make of it.
func (s *State) persistent(e *event.Event, to string) (*Handle, error) {
	h, phase := s.phaseOf(e)
	if !phase.Live() && !phase.Terminal() {
		return nil, ofHandle(e, e.Handle, phase, to)
	}
	if h.Tier != event.TierPersistent {
		return nil, of(e, "handle "+h.ID.String(), h.Tier.String()+" tier", to)
	}
	return h, nil
}

func (s *State) handleAttached(e *event.Event) error {
	h, err := s.persistent(e, "attached")
	if err != nil {
		return err
	}
	h.Attached++
	h.LastSeq = e.Seq
	s.totals.Attached++
	return nil
}

// watchArmed may follow itself: the newest suffix counts.
func (s *State) watchArmed(e *event.Event, b *event.WatchArmed) error {
	h, err := s.persistent(e, "watch-armed")
	if err != nil {
		return err
	}
	h.Watch = &Watch{Suffix: b.Suffix, Armed: at(e)}
	h.LastSeq = e.Seq
	s.totals.WatchesArmed++
	return nil
}

func (s *State) watchDisarmed(e *event.Event) error {
	h, err := s.persistent(e, "watch-disarmed")
	if err != nil {
		return err
	}
	if h.Watch == nil {
		return of(e, "watch of handle "+h.ID.String(), "not armed", "disarmed")
	}
	h.Watch = nil
	h.LastSeq = e.Seq
	s.totals.WatchesDisarmed++
	return nil
}

// StdinClosable tells whether the end of a handle's input may be recorded: once,
// and again only after an adoption or a recovery, since a crash, or a commit that
// failed and persisted, may have kept the first from being carried out and its
// receipt is gone.
func (s *State) StdinClosable(h *Handle) bool {
	since := h.Adopted.Seq
	if s.run != nil {
		since = max(since, s.run.Recovered.Seq)
	}
	return !h.StdinClosed || since > h.StdinClosedSeq
}

// stdinClosed ends an input that was to stay open. An ended process may take it too: the write that broke
// told of the end before its exit was recorded.
func (s *State) stdinClosed(e *event.Event) error {
	h, phase := s.phaseOf(e)
	if !phase.Live() && !phase.Terminal() {
		return ofHandle(e, e.Handle, phase, "stdin-closed")
	}
	subject := "stdin of handle " + h.ID.String()
	switch {
	case !h.KeepStdinOpen:
		return of(e, subject, "not kept open", "closed")
	case !s.StdinClosable(h):
		return of(e, subject, "closed", "closed")
	}
	h.StdinClosed, h.StdinClosedSeq = true, e.Seq
	h.LastSeq = e.Seq
	s.totals.StdinsClosed++
	return nil
}

// retentionFired lets go of a process that has ended: no signal follows, the
// release does.
func (s *State) retentionFired(e *event.Event, h *Handle, phase Phase) error {
	switch {
	case !phase.Terminal():
		return ofHandle(e, e.Handle, phase, "retention")
	case h.Tier != event.TierPersistent:
		return of(e, "timer of handle "+h.ID.String(), h.Tier.String()+" tier", "retention")
	case h.Expired.Seq != 0:
		return of(e, "timer of handle "+h.ID.String(), "retention", "retention")
	}
	h.Expired = at(e)
	h.LastSeq = e.Seq
	s.totals.TimersFired++
	return nil
}

// checkGrant refuses a grant that contradicts itself or gives an id out twice.
func (s *State) checkGrant(e *event.Event, h *Handle, b *event.SpawnDecided) error {
	if b.Overflow > event.OverflowBackpressure {
		return malformed(e, "overflow %d is neither drop-oldest nor backpressure", b.Overflow)
	}
	if len(b.ProcessIDHash) == 0 {
		return nil
	}
	if h.Tier != event.TierPersistent {
		return malformed(e, "a %v process has no process id", h.Tier)
	}
	if other, taken := s.ByProcessID(b.ProcessIDHash); taken {
		return of(e, fmt.Sprintf("process id of handle %v", h.ID), "taken by handle "+other.ID.String(), "given")
	}
	return nil
}
