package projector

import (
	"fmt"

	"github.com/astrid-os/processledger/ledger/event"
)

// Apply takes in the next event. It is the only way a state changes.
//
// It is atomic: after an error the state is what it was. The error is a
// [TransitionError] where the event may not follow what the state holds,
// ErrGap where it is not the next one, ErrMalformed where it lacks what its
// kind needs. An event of a kind that this build does not know moves the
// header's part only: seq, order time, boot id and the handle's LastSeq.
func (s *State) Apply(e *event.Event) error {
	if e.Seq != s.seq+1 {
		return fmt.Errorf("event %d after event %d: %w", e.Seq, s.seq, ErrGap)
	}
	if err := s.applyBody(e); err != nil {
		return err
	}
	s.passed(e)
	return nil
}

// passed takes in the header of an event that is accepted.
func (s *State) passed(e *event.Event) {
	s.seq = e.Seq
	s.order = max(s.order, e.ID.Time())
	if e.BootID != ([16]byte{}) {
		s.bootID = e.BootID
	}
}

// applyBody checks everything first and changes the state last, so that an
// error leaves nothing behind; so does each function it calls.
func (s *State) applyBody(e *event.Event) error {
	switch b := e.Body.(type) {
	case nil:
		return malformed(e, "it has no body")
	case *event.SpawnRequested:
		return s.spawnRequested(e, b)
	case *event.SpawnDecided:
		return s.spawnDecided(e, b)
	case *event.SpawnAborted:
		return s.spawnAborted(e, b)
	case *event.SpawnFailed:
		return s.spawnFailed(e, b)
	case *event.ProcessStarted:
		return s.processStarted(e, b)
	case *event.ProcessAdopted:
		return s.processAdopted(e, b)
	case *event.ProcessExited:
		return s.processExited(e, b)
	case *event.ProcessLost:
		return s.processLost(e, b)
	case *event.HandleReleased:
		return s.handleReleased(e)
	case *event.SignalRequested:
		return s.signalRequested(e, b)
	case *event.SignalSent:
		return s.signalSent(e, b)
	case *event.CancelRequested:
		return s.cancelRequested(e, b)
	case *event.CancelFinished:
		return s.cancelFinished(e, b)
	case *event.StopRequested:
		return s.stopRequested(e, b)
	case *event.TimerFired:
		return s.timerFired(e, b)
	case *event.StdinClosed:
		return s.stdinClosed(e)
	case *event.InvocationStarted:
		return s.invocationStarted(e, b)
	case *event.InvocationFinished:
		return s.invocationFinished(e, b)
	default:
		return s.applyHolding(e)
	}
}

// applyHolding takes in what guests do with a persistent process but start and
// end it.
func (s *State) applyHolding(e *event.Event) error {
	switch b := e.Body.(type) {
	case *event.HandleAttached:
		return s.handleAttached(e)
	case *event.WatchArmed:
		return s.watchArmed(e, b)
	case *event.WatchDisarmed:
		return s.watchDisarmed(e)
	default:
		return s.applyDaemon(e)
	}
}

// applyDaemon takes in what happens a few times a run.
func (s *State) applyDaemon(e *event.Event) error {
	switch b := e.Body.(type) {
	case *event.OrphanEnded:
		return s.orphanEnded(e)
	case *event.DaemonStarted:
		return s.daemonStarted(e, b)
	case *event.DaemonStopped:
		return s.daemonStopped(e, b)
	case *event.RecoveryStarted:
		return s.recoveryStarted(e)
	case *event.RecoveryFinished:
		return s.recoveryFinished(e)
	case *event.CapsuleLoaded:
		return s.capsuleLoaded(e, b)
	case *event.CapsuleUnloaded:
		return s.capsuleUnloaded(e)
	case *event.PolicyChanged:
		return s.policyChanged(e, b)
	default:
		// segment.opened, clock.stepped and the ledger's events about itself
		// are about files and the clock: nothing is decided by them. Unknown
		// kinds end up here too.
		s.touch(e)
		return nil
	}
}

// touch keeps the back-pointer right for an event that changes nothing else.
func (s *State) touch(e *event.Event) {
	if h := s.handles[e.Handle]; h != nil {
		h.LastSeq = e.Seq
	}
}
