package host

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// SpawnPersistent starts a program that outlives the call, the capsule's
// instance and the daemon, and returns its process id once process.started is
// durable. Only the caller's capsule can use the id, for the same principal.
// ctx counts until the program is let run.
//
// Beside what every spawn is refused for: CapabilityDenied without the
// manifest's allow_persistent, PersistUnsupported without an authenticated
// principal, RegistryFull with 32 ids of the principal in the capsule, or 256 of
// the capsule, that are not released.
func (h *Host) SpawnPersistent(ctx context.Context, c Caller, r Request) (id string, err error) {
	o, err := h.spawn(ctx, c, &r, event.TierPersistent)
	if err == nil {
		defer closeOnce(o.heard)
		err = o.startedOr()
	}
	if h.answered("id", err) != nil {
		return "", err
	}
	return o.kept.id, nil
}

// Bounds of the grace of a stop, from the contract.
const (
	graceDefault = 5 * time.Second
	graceMost    = 30 * time.Second
)

// StopProcess ends a process and releases it: TERM to the whole tree, KILL after
// the grace (nil: 5 s; at most 30 s). It blocks until the exit is durable and
// the id is gone. Of a process that has ended it returns the exit. The errors:
// NoSuchProcess, Cancelled when ctx is done (a stop that is recorded goes on),
// Unknown where the process is proven dead and its exit is not known (it is
// released all the same).
func (h *Host) StopProcess(ctx context.Context, c Caller, id string, grace *time.Duration) (event.Exit, error) {
	exit, err := h.stopProcess(ctx, c, id, grace)
	return exit, h.answered("exit", err)
}

func (h *Host) stopProcess(ctx context.Context, c Caller, id string, grace *time.Duration) (event.Exit, error) {
	o, err := h.find(c, id)
	if err != nil {
		return event.Exit{}, err
	}
	defer o.use()()
	if err := o.stop(ctx, c.scope(), "guest", clampGrace(grace)); err != nil {
		return event.Exit{}, err
	}
	exit, failed := o.wait(ctx, nil)
	if !o.over() {
		return exit, failed
	}
	o.letGo("stopped", "") // if the exit was recorded before the stop
	if err := o.awaitRelease(ctx); err != nil {
		return event.Exit{}, err
	}
	return exit, failed
}

func clampGrace(grace *time.Duration) time.Duration {
	if grace == nil {
		return graceDefault
	}
	return min(max(0, *grace), graceMost)
}

// stop records a stop and its TERM in one commit and has the TERM sent; the KILL
// after the grace is set up by it. A process that has ended is left alone. While
// the ledger cannot commit the process is ended all the same.
func (o *owner) stop(ctx context.Context, scope event.Scope, reason string, grace time.Duration) error {
	scope.Handle = o.id
	term := &event.SignalRequested{Signal: uint32(unix.SIGTERM), Target: event.TargetTree, Cause: "stop"}
	stop := &event.StopRequested{GraceNano: grace.Nanoseconds(), Reason: reason}
	c, err := o.h.decideEnding(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if h, ok := tip.Handle(o.id); !ok || !h.Phase.Live() {
			return nil, nil
		}
		return []*event.Event{{Scope: scope, Body: stop}, {Scope: scope, Body: term}}, nil
	})
	switch {
	case ledger.CannotCommit(err):
		o.stopping(stop)
		o.hurry(term, err)
		return nil
	case err != nil:
		return answer(err)
	}
	// A crash here leaves a stop whose TERM was not sent: recovery goes on with
	// it, and releases the process once it has ended.
	crashpoint.Here("daemon.stop.requested")
	o.h.deliver(ctx, c.Receipts)
	return nil
}

// awaitRelease waits until the handle is released; the release goes on either
// way.
func (o *owner) awaitRelease(ctx context.Context) error {
	select {
	case <-o.gone:
	case <-o.h.ctx.Done():
	case <-ctx.Done():
		return errorf(Cancelled, "the call was cancelled; the release goes on")
	}
	if o.h.ctx.Err() != nil && !o.released.Load() {
		return o.h.stopped()
	}
	return nil
}

// ReleaseProcess forgets a process that has ended: its id, its exit and what is
// left of its output. A process that runs is InvalidInput. Every other id, also
// one that is unknown, released, malformed or another's, is released: the answer
// tells nobody which ids there are. It blocks until the release is durable.
func (h *Host) ReleaseProcess(ctx context.Context, c Caller, id string) error {
	return h.answered("ok", h.releaseProcess(ctx, c, id))
}

func (h *Host) releaseProcess(ctx context.Context, c Caller, id string) error {
	o, err := h.find(c, id)
	switch {
	case err != nil:
		return nil
	case !o.over():
		return errorf(InvalidInput, "the process runs; stop it, or wait for its end, before it is released")
	}
	o.letGo("released", "")
	return o.awaitRelease(ctx)
}
