package host

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// forever is the patience of a look that goes on in the background.
const forever = time.Duration(math.MaxInt64)

// settle brings one handle to where its process is. Where a shim neither leaves
// nor answers, it is killed by identity after the bound, and if it is not
// proven dead then, it stays counted and is watched in the background.
func (r *recovery) settle(ctx context.Context, o *owner, handle *projector.Handle, f *act.Found, bound time.Duration) error {
	w := waiter{bound: bound, began: time.Now()}
	var unseen error // why the last look saw nothing; f is what was seen before
	for killed := false; ; {
		step := match(handle, f, handle.Decided.BootID == r.boot)
		if unseen != nil || !r.proven(handle, f, step) {
			step = rowUnproven
		}
		switch step {
		case rowWait, rowUnproven:
		case rowAdopt:
			child, err := r.takeIn(ctx, o)
			if err == nil {
				r.adopt(ctx, o, handle, child)
				return nil
			}
			r.h.log.Warn("a living shim did not answer", "handle", o.id, "error", err)
		default:
			r.carryOut(ctx, o, handle, f, step)
			return nil
		}
		switch {
		case !w.over():
		case o.kept != nil && f != nil && bound < keptPatience:
			// Its work may be worth the patience; the start goes on meanwhile.
			r.h.log.Warn("a persistent process's shim does not answer; it is given time", "handle", o.id, "time", keptPatience)
			r.h.work.Go(func() { _ = r.settle(r.h.ctx, o, handle, f, keptPatience) })
			return nil
		case !killed && f != nil:
			killed = true
			r.killFound(o, *f)
			w.began = time.Now()
		default:
			r.h.log.Error("a process is not proven dead and does not answer; it stays counted", "handle", o.id)
			r.h.work.Go(func() { _ = r.settle(r.h.ctx, o, handle, f, forever) })
			return nil
		}
		if err := w.pause(ctx); err != nil {
			r.h.unregister(o)
			return err
		}
		f, unseen = r.lookAgain(o.id, f)
	}
}

// proven tells whether it is safe to call the process lost although it has no
// directory: somebody may have deleted that under a living shim.
func (r *recovery) proven(handle *projector.Handle, f *act.Found, step row) bool {
	return step != rowShimDead || f != nil || r.h.hands.Gone(handle.Shim) && r.h.hands.Gone(handle.Program)
}

// takeIn connects to a living shim, which answers at once if it ever does.
func (r *recovery) takeIn(ctx context.Context, o *owner) (*act.Child, error) {
	ctx, cancel := context.WithTimeout(ctx, leaveBound)
	defer cancel()
	return r.h.hands.Adopt(ctx, o.id)
}

// waiter paces looks at a directory: often at first, then once a second.
type waiter struct {
	began time.Time
	bound time.Duration
	next  time.Duration
}

func (w *waiter) over() bool { return time.Since(w.began) > w.bound }

func (w *waiter) pause(ctx context.Context) error {
	w.next = min(max(w.next*2, lookPause), time.Second)
	select {
	case <-time.After(w.next):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lookAgain looks again; nil says that there is no directory. A directory that
// cannot be looked at, as with no descriptors left, is no proof of anything:
// then it returns what was seen before, and why.
func (r *recovery) lookAgain(id ulid.ULID, before *act.Found) (*act.Found, error) {
	f, err := r.h.hands.Look(id)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		r.h.log.Warn("a process directory could not be looked at", "handle", id, "error", err)
		return before, err
	}
	return &f, nil
}

// carryOut does what the row says for a handle that no process stands behind
// any more. What its creator may still ask for is kept on.
func (r *recovery) carryOut(ctx context.Context, o *owner, handle *projector.Handle, f *act.Found, step row) {
	if o.kept != nil {
		r.reread(o, step)
	}
	r.settleEnded(ctx, o, handle, f, step)
	if o.kept != nil && !o.finished {
		r.retain(o)
		return
	}
	o.finish()
}

// reread opens the output that a process left, before anybody can ask for it.
func (r *recovery) reread(o *owner, step row) {
	switch step {
	case rowExit, rowShimDead, rowMaybe, rowReboot, rowOrphan, rowRetain:
	default:
		return // it has none, or is not done with it
	}
	child, err := r.h.hands.Retained(o.id)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.h.log.Warn("the output of an ended process cannot be read", "handle", o.id, "error", err)
		}
		return
	}
	o.child = child
}

// settleEnded records what the row says.
func (r *recovery) settleEnded(ctx context.Context, o *owner, handle *projector.Handle, f *act.Found, step row) {
	if f != nil && f.Started != nil {
		o.started = f.Started
	}
	switch step {
	case rowAbort:
		reason := "daemon-died"
		if r.inProcess {
			reason = "commit-failed"
		}
		o.abort(reason, "go was not sent")
		r.countEnd(o, &r.n.Aborted)
	case rowFail:
		o.onFailed(f.Failed)
		r.countEnd(o, &r.n.Failed)
	case rowExit:
		r.exited(ctx, o, *f)
	case rowShimDead:
		r.lose(o, "shim-killed", "found dead, without a record of the exit")
	case rowMaybe:
		r.lose(o, "may-have-run", "go was taken, and nothing tells whether the program ran")
	case rowReboot:
		r.lose(o, "reboot", "the machine was started again; whether and how it ended before that is unknown")
	case rowOrphan:
		if !r.leaves(ctx, f) {
			r.endShim(ctx, *f, "its handle has ended")
		}
		o.releaseEnded(handle)
	case rowRelease:
		o.releaseEnded(handle)
	}
}

// leaves tells whether a shim that has told of an exit goes by itself, as it is
// about to: a daemon may have died between the two.
func (r *recovery) leaves(ctx context.Context, f *act.Found) bool {
	if f.Exit == nil {
		return false
	}
	last, there := r.awaitDead(ctx, *f, leaveBound)
	return !there || last.Dead
}

func (r *recovery) lose(o *owner, reason, detail string) {
	o.lose(&event.ProcessLost{Reason: reason, Detail: detail})
	r.countEnd(o, &r.n.Lost)
}

// exited takes in an exit record that was written while no daemon looked. The
// shim that wrote it may still be on its way out.
func (r *recovery) exited(ctx context.Context, o *owner, f act.Found) {
	f, _ = r.awaitDead(ctx, f, leaveBound)
	if o.started == nil {
		// The record of the start is missing (it could not be written), but
		// that of the exit proves that there was one.
		o.started = &event.ProcessStarted{Shim: f.Shim, Isolation: f.Isolation}
	}
	o.onExited(f.Exit)
	r.countEnd(o, &r.n.Exited)
}

// awaitDead looks until the shim has left, for bound at most. there is false
// if the directory is gone.
func (r *recovery) awaitDead(ctx context.Context, f act.Found, bound time.Duration) (last act.Found, there bool) {
	for w := (waiter{bound: bound, began: time.Now()}); ; {
		again, err := r.lookAgain(f.ID, &f)
		if err == nil && again == nil {
			return f, false
		}
		if f = *again; f.Dead || w.over() || w.pause(ctx) != nil {
			return f, true
		}
	}
}

// releaseEnded releases a handle that had ended before; nobody can hold an
// ephemeral one after a restart.
func (o *owner) releaseEnded(handle *projector.Handle) {
	if projector.Ephemeral(handle.Tier) {
		o.releaseNow("recovered")
	}
}

// retain keeps a process of the persistent tier that has ended and is not
// released: its output can be read, and its retention goes on.
func (r *recovery) retain(o *owner) {
	var handle *projector.Handle
	r.h.live.View(func(s *projector.State) {
		if h, ok := s.Handle(o.id); ok && h.Phase.Terminal() {
			handle = h.Clone()
		}
	})
	if handle == nil {
		o.finish() // its end could not be recorded: the host closes
		return
	}
	if !o.over() {
		o.outcome = outcomeOf(handle)
		close(o.running)
		close(o.ended)
		o.retain()
	}
	r.h.work.Go(func() {
		defer o.finish()
		o.loop()
	})
}

// outcomeOf is the outcome that the ledger tells of.
func outcomeOf(handle *projector.Handle) outcome {
	out := outcome{exit: handle.Exit, cause: handle.Cause}
	if handle.Exit == nil {
		out.err = errorf(Unknown, "the process was lost: %s", handle.Detail)
	}
	return out
}
