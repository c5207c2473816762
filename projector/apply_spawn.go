package projector

import (
	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// phaseOf returns the handle of an event and the phase it is in.
func (s *State) phaseOf(e *event.Event) (*Handle, Phase) {
	if h := s.handles[e.Handle]; h != nil {
		return h, h.Phase
	}
	return nil, PhaseNone
}

func (s *State) spawnRequested(e *event.Event, b *event.SpawnRequested) error {
	if e.Handle == (ulid.ULID{}) {
		return malformed(e, "it names no handle")
	}
	if b.Tier < event.TierSync || b.Tier > event.TierPersistent {
		return malformed(e, "tier %d is none of sync, background, persistent", b.Tier)
	}
	if _, phase := s.phaseOf(e); phase != PhaseNone {
		return ofHandle(e, e.Handle, phase, "requested")
	}
	s.handles[e.Handle] = &Handle{
		ID: e.Handle, Principal: e.Principal, Capsule: e.Capsule,
		Instance: e.Instance, CallID: e.CallID, Actor: e.Actor,
		Tier: b.Tier, Command: b.Command, Label: b.Label, Cwd: b.Cwd,
		Phase: PhaseRequested, Requested: at(e), LastSeq: e.Seq,
	}
	s.totals.Requested++
	return nil
}

func (s *State) spawnDecided(e *event.Event, b *event.SpawnDecided) error {
	h, phase := s.phaseOf(e)
	if phase != PhaseRequested {
		return ofHandle(e, e.Handle, phase, "decided")
	}
	switch b.Outcome {
	case event.OutcomeRefused:
		delete(s.handles, h.ID)
		s.refused[b.Code]++
		s.totals.Refused++
	case event.OutcomeGranted:
		if err := s.checkGrant(e, h, b); err != nil {
			return err
		}
		s.grant(e, h, b)
	default:
		return malformed(e, "outcome %d is neither granted nor refused", b.Outcome)
	}
	return nil
}

func (s *State) grant(e *event.Event, h *Handle, b *event.SpawnDecided) {
	h.Phase = PhaseDecided
	h.Decided = at(e)
	h.RingBytes = b.RingBytes
	h.Isolation = b.Isolation
	if b.Cwd != "" {
		h.Cwd = b.Cwd
	}
	if b.Orders != nil {
		h.Orders = *b.Orders
	}
	if b.Label != "" {
		h.Label = b.Label
	}
	h.KeepStdinOpen, h.Overflow = b.KeepStdinOpen, b.Overflow
	h.IdleNano, h.RetentionNano = b.IdleNano, b.RetentionNano
	h.ProcessIDHash = b.ProcessIDHash
	h.LastSeq = e.Seq
	s.totals.Granted++
	s.derived.reserve(h)
}

func (s *State) spawnAborted(e *event.Event, b *event.SpawnAborted) error {
	h, phase := s.phaseOf(e)
	if phase != PhaseDecided {
		return ofHandle(e, e.Handle, phase, "aborted")
	}
	h.Cause, h.Detail = b.Reason, b.Detail
	s.end(e, h, PhaseAborted)
	s.totals.Aborted++
	return nil
}

func (s *State) spawnFailed(e *event.Event, b *event.SpawnFailed) error {
	h, phase := s.phaseOf(e)
	if phase != PhaseDecided {
		return ofHandle(e, e.Handle, phase, "failed")
	}
	h.Cause, h.Errno, h.Detail = b.Step, b.Errno, b.Detail
	s.end(e, h, PhaseFailed)
	s.totals.Failed++
	return nil
}

func (s *State) processStarted(e *event.Event, b *event.ProcessStarted) error {
	h, phase := s.phaseOf(e)
	if phase != PhaseDecided {
		return ofHandle(e, e.Handle, phase, "started")
	}
	h.Phase = PhaseStarted
	h.Started = s.byShim(e, h, b.StartedWall, b.StartedBoot)
	h.Program, h.Shim = b.Program, b.Shim
	if b.Isolation != "" {
		h.Isolation = b.Isolation
	}
	h.LastSeq = e.Seq
	s.totals.Started++
	return nil
}

// byShim is a moment by the clocks of a shim. Its boot is that of the decision:
// a process never outlives the boot it was decided in, also when the event is
// written after a reboot.
func (s *State) byShim(e *event.Event, h *Handle, wall, boot int64) Moment {
	return Moment{Seq: e.Seq, Wall: wall, Boot: boot, BootID: h.Decided.BootID}
}

func (s *State) processAdopted(e *event.Event, b *event.ProcessAdopted) error {
	h, phase := s.phaseOf(e)
	if phase != PhaseStarted {
		return ofHandle(e, e.Handle, phase, "adopted")
	}
	h.Shim = b.Shim
	h.Adopted = at(e)
	h.LastSeq = e.Seq
	s.totals.Adopted++
	return nil
}

func (s *State) processExited(e *event.Event, b *event.ProcessExited) error {
	h, phase := s.phaseOf(e)
	if phase != PhaseStarted {
		return ofHandle(e, e.Handle, phase, "exited")
	}
	if (b.Exit.Code == nil) == (b.Exit.Signal == nil) {
		return malformed(e, "an exit has a code or a signal, and not both")
	}
	h.Exit = &b.Exit
	h.Cause = b.Cause
	h.Usage = Usage{UserNano: b.UserNano, SystemNano: b.SystemNano, MaxRSSKiB: b.MaxRSSKiB}
	h.AfterRestart = b.AfterRestart
	s.end(e, h, PhaseExited)
	h.Ended = s.byShim(e, h, b.EndedWall, b.EndedBoot)
	s.totals.Exited++
	return nil
}

func (s *State) processLost(e *event.Event, b *event.ProcessLost) error {
	h, phase := s.phaseOf(e)
	if !phase.Live() {
		return ofHandle(e, e.Handle, phase, "lost")
	}
	h.Cause, h.Detail, h.Witness = b.Reason, b.Detail, b.Witness
	s.end(e, h, PhaseLost)
	s.totals.Lost++
	return nil
}

// end frees the slot of a live handle and ends what was under way to end it.
func (s *State) end(e *event.Event, h *Handle, to Phase) {
	s.derived.free(h)
	for _, o := range h.Obligations {
		if c := s.cancels[o.Cancel]; c != nil {
			c.Remaining = removeID(c.Remaining, h.ID)
		}
	}
	h.Obligations = nil
	h.Phase = to
	h.Ended = at(e)
	h.LastSeq = e.Seq
}

func (s *State) handleReleased(e *event.Event) error {
	h, phase := s.phaseOf(e)
	if !phase.Terminal() {
		return ofHandle(e, e.Handle, phase, "released")
	}
	delete(s.handles, h.ID)
	s.derived.release(h)
	s.totals.Released++
	return nil
}

// orphanEnded takes in the end of a shim or directory that has no business
// being there: of a handle that is not known, or has ended. A live handle's
// shim is no orphan.
func (s *State) orphanEnded(e *event.Event) error {
	if _, phase := s.phaseOf(e); phase.Live() || phase == PhaseRequested {
		return ofHandle(e, e.Handle, phase, "orphan-ended")
	}
	s.touch(e)
	s.totals.OrphansSeen++
	return nil
}
