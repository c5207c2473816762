package daemon

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// Bounds of a stop without a ledger.
const (
	defaultGrace = 5 * time.Second  // from TERM to KILL, as of any stop
	shimBound    = 2 * time.Second  // for a shim to answer: it needs microseconds
	deathBound   = 10 * time.Second // from KILL to the proof of the end
)

// stop ends a process by its handle. Each signal is kept on disk before it is
// sent, and recorded by the next daemon that has a ledger; how the process ended
// stands in its directory until then. It goes on when ctx ends.
func (m *damage) stop(ctx context.Context, by event.Actor, id ulid.ULID, grace *time.Duration) (*control.StopAnswer, error) {
	f, err := m.hands.Look(id)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, control.Errorf(control.CodeNotFound, "there is no process %s", id)
	case err != nil:
		return nil, err
	case !livesOn(&f):
		return stopAnswer(&f), nil
	}
	s := &stopper{m: m, id: id, scope: event.Scope{Handle: id, Actor: by}, grace: defaultGrace}
	if grace != nil {
		s.grace = *grace
	}
	done := make(chan error, 1)
	go func() { done <- s.run() }()
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f, err = m.hands.Look(id); err != nil {
		return nil, err
	}
	return stopAnswer(&f), nil
}

// stopAnswer tells how a process ended, as far as its directory says.
func stopAnswer(f *act.Found) *control.StopAnswer {
	a := &control.StopAnswer{ID: f.ID.String(), Unrecorded: true}
	if x := f.Exit; x != nil {
		a.Exit, a.Cause = &control.Exit{Code: x.Exited.Exit.Code, Signal: x.Exited.Exit.Signal}, x.Exited.Cause
	}
	return a
}

// stopper is one stop on its way.
type stopper struct {
	m     *damage
	id    ulid.ULID
	scope event.Scope
	grace time.Duration
}

// run is end for one request after another: two would take the shim from each
// other. Whether the process lives is looked at in the end, whatever was heard.
func (s *stopper) run() error {
	lock, _ := s.m.stops.LoadOrStore(s.id, new(sync.Mutex))
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	f, err := s.m.hands.Look(s.id)
	if err != nil || !livesOn(&f) {
		return err
	}
	if err := s.end(f); err != nil {
		return s.explained(err)
	}
	if f, err = s.m.hands.Look(s.id); err == nil && livesOn(&f) {
		err = act.ErrAlive
	}
	return s.explained(err)
}

// end ends the process: TERM and KILL by its shim, or by identity where the shim
// does not answer.
func (s *stopper) end(f act.Found) error {
	ctx, cancel := context.WithTimeout(context.Background(), shimBound)
	defer cancel()
	child, err := s.m.hands.Adopt(ctx, s.id)
	if err != nil {
		_, err := s.m.hands.EmergencyKill(f, act.ErrNoLedger, s.scope, "stop")
		return err
	}
	defer child.Close()
	if s.grace > 0 {
		if err := s.send(child, unix.SIGTERM); err == nil && s.ended(child, s.grace) {
			return nil
		}
	}
	if err := s.send(child, unix.SIGKILL); err != nil && !errors.Is(err, act.ErrShimGone) {
		return err
	}
	if !s.ended(child, deathBound) {
		return act.ErrAlive
	}
	return nil
}

// send signals the tree.
func (s *stopper) send(child *act.Child, sig unix.Signal) error {
	want := event.SignalRequested{Signal: uint32(sig), Target: event.TargetTree, Cause: "stop"}
	_, err := s.m.hands.Emergency(child, act.ErrNoLedger, s.scope, want)
	return err
}

// ended waits for the last word of a shim.
func (s *stopper) ended(child *act.Child, bound time.Duration) bool {
	over := time.NewTimer(bound)
	defer over.Stop()
	for {
		select {
		case n, more := <-child.Notices():
			if !more || n.Exited != nil || n.Failed != nil || n.Gone != nil {
				return true
			}
		case <-over.C:
			return false
		}
	}
}

// explained makes an error of the hands one for an operator.
func (s *stopper) explained(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, act.ErrAlive):
		return control.Errorf(control.CodeDeadline, "process %s was sent KILL and is not dead yet: it is in uninterruptible sleep, or something of its tree is", s.id).
			WithHint("it ends when what it waits for in the kernel comes or goes; ask again with astridctl ps")
	}
	return control.Errorf(control.CodeFailed, "process %s could not be ended: %v", s.id, err)
}
