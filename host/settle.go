package host

import (
	"context"
	"math"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
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
	for killed := false; ; {
		step := match(handle, f, handle.Decided.BootID == r.boot)
		switch step {
		case rowWait, rowUnproven:
		case rowAdopt:
			child, err := r.h.hands.Adopt(ctx, o.id)
			if err == nil {
				r.adopt(ctx, o, handle, child)
				return nil
			}
			r.h.log.Warn("a living shim did not answer", "handle", o.id, "err", err)
		default:
			r.carryOut(ctx, o, handle, f, step)
			return nil
		}
		switch {
		case !w.over():
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
		f = r.lookAt(o.id)
	}
}

// waiter paces looks at a directory: often at first, then once a second.
type waiter struct {
	began time.Time
	bound time.Duration
	next  time.Duration
}

func (w *waiter) over() bool { return time.Since(w.began) > w.bound }

func (w *waiter) pause(ctx context.Context) error {
	w.next = min(max(w.next*2, lookAgain), time.Second)
	select {
	case <-time.After(w.next):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lookAt looks again; nil if there is no directory.
func (r *recovery) lookAt(id ulid.ULID) *act.Found {
	f, err := r.h.hands.Look(id)
	if err != nil {
		return nil
	}
	return &f
}

// carryOut does what the row says for a handle that no process stands behind
// any more.
func (r *recovery) carryOut(ctx context.Context, o *owner, handle *projector.Handle, f *act.Found, step row) {
	defer o.finish()
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
		r.count(&r.n.Aborted)
	case rowFail:
		o.onFailed(f.Failed)
		r.count(&r.n.Failed)
	case rowExit:
		r.exited(ctx, o, *f)
	case rowShimDead:
		r.lose(o, "shim-killed", "found dead, without a record of the exit")
	case rowMaybe:
		r.lose(o, "may-have-run", "go was taken, and nothing tells whether the program ran")
	case rowReboot:
		r.lose(o, "reboot", "the machine was started again; whether and how it ended before that is unknown")
	case rowOrphan:
		r.endShim(ctx, *f, "its handle has ended")
		o.releaseEnded(handle)
	case rowRelease:
		o.releaseEnded(handle)
	}
}

func (r *recovery) lose(o *owner, reason, detail string) {
	o.lose(&event.ProcessLost{Reason: reason, Detail: detail})
	r.count(&r.n.Lost)
}

// exited takes in an exit record that was written while no daemon looked. The
// shim that wrote it may still be on its way out.
func (r *recovery) exited(ctx context.Context, o *owner, f act.Found) {
	f = r.awaitDead(ctx, f)
	if o.started == nil {
		// The record of the start is missing (it could not be written), but
		// that of the exit proves that there was one.
		o.started = &event.ProcessStarted{Shim: f.Shim, Isolation: f.Isolation}
	}
	o.onExited(f.Exit)
	r.count(&r.n.Exited)
}

// awaitDead looks until the shim has left, for a bounded time.
func (r *recovery) awaitDead(ctx context.Context, f act.Found) act.Found {
	w := waiter{bound: leaveBound, began: time.Now()}
	for !f.Dead && !w.over() && w.pause(ctx) == nil {
		if again := r.lookAt(f.ID); again != nil {
			f = *again
		}
	}
	return f
}

// releaseEnded releases a handle that had ended before; nobody can hold an
// ephemeral one after a restart.
func (o *owner) releaseEnded(handle *projector.Handle) {
	if projector.Ephemeral(handle.Tier) {
		o.releaseNow("recovered")
	}
}

// adopt takes a living process in. An ephemeral one is ended: the instance
// that it belonged to is gone. It waits for that, for a bounded time.
func (r *recovery) adopt(ctx context.Context, o *owner, handle *projector.Handle, child *act.Child) {
	o.child, o.notices = child, child.Notices()
	if len(handle.Obligations) > 0 {
		r.count(&r.n.Resumed)
	}
	ephemeral := projector.Ephemeral(handle.Tier)
	if ephemeral {
		o.kill = "owner-lost"
		r.count(&r.n.Ended)
	} else {
		r.count(&r.n.Adopted)
	}
	r.h.work.Go(func() { o.runAdopted(handle) })
	if !ephemeral {
		return
	}
	bound := time.NewTimer(settleBound)
	defer bound.Stop()
	select {
	case <-o.gone:
	case <-bound.C:
		r.h.log.Warn("a process takes long to end", "handle", o.id)
	case <-ctx.Done():
	}
}

// runAdopted is run for a process that an earlier daemon began.
func (o *owner) runAdopted(handle *projector.Handle) {
	defer o.finish()
	select { // the shim tells again that it runs
	case n, ok := <-o.notices:
		o.notice(n, ok)
	case <-o.h.ctx.Done():
		return
	}
	if !projector.Ephemeral(o.tier) && !o.over() {
		o.recordAdopted()
		o.resume(handle)
	}
	o.loop()
}

// recordAdopted records that this daemon holds a process of an earlier one.
func (o *owner) recordAdopted() {
	_, err := o.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if h, ok := tip.Handle(o.id); !ok || h.Phase != projector.PhaseStarted {
			return nil, nil
		}
		return o.bodies(event.ActorHost, &event.ProcessAdopted{Shim: o.child.Shim()}), nil
	})
	if err != nil {
		o.h.log.Error("an adoption could not be recorded", "handle", o.id, "err", err)
	}
}

// resume goes on with ends that were ordered before the restart, each at its
// next step and with the time it has left. A signal that was requested is never
// sent again, but for KILL, which cannot mean anything else the second time.
func (o *owner) resume(handle *projector.Handle) {
	for _, ob := range handle.Obligations {
		cause, grace, gentle := ob.Cause, ob.GraceNano, unix.SIGTERM
		var cancel []byte
		switch cause {
		case "cancel":
			id := ob.Cancel
			cancel, grace, gentle = id[:], cancelNano, unix.SIGINT
		case "orphaned":
			grace = 0
		}
		if ob.Gentle.Requested == 0 && ob.Kill.Requested == 0 && grace > 0 {
			o.signalSelf(event.ActorHost, gentle, cause, cancel)
		}
		o.after(ob.Opened.Boot+grace, func() { o.signalSelf(event.ActorHost, unix.SIGKILL, cause, cancel) })
	}
}

// killFound ends a shim that is silent, by identity, for a handle that lives in
// the ledger.
func (r *recovery) killFound(o *owner, f act.Found) {
	want := &event.SignalRequested{Signal: uint32(unix.SIGKILL), Target: event.TargetTree, Cause: "owner-lost"}
	c, err := r.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if h, ok := tip.Handle(o.id); !ok || !h.Phase.Live() {
			return nil, nil
		}
		return o.bodies(event.ActorHost, want), nil
	})
	if err != nil || len(c.Receipts) == 0 {
		return
	}
	crashpoint.Here("recovery.kill.requested")
	o.handIn(c.Receipts[0])
	order := o.nextOrder()
	if order == nil {
		return
	}
	r.h.acted("kill by identity")
	if err := r.h.hands.Kill(c.Receipts[0], f); err != nil {
		order.detail = err.Error()
	} else {
		order.delivered = true
	}
	o.acted[order.seq] = order
	close(order.done)
}

// orphan ends what no handle of the ledger stands behind: a spawn that was
// prepared and never decided, or the directory of a handle that is released.
func (r *recovery) orphan(ctx context.Context, f act.Found) error {
	if !f.Go {
		f = r.awaitDead(ctx, f) // a shim without go leaves by itself
	}
	counted := !f.Dead
	if !f.Dead {
		f = r.endShim(ctx, f, "no handle of the ledger")
	}
	if !f.Dead {
		return nil // it was logged; the next start tries again
	}
	receipt, err := r.orphanEnded(f, nil, "a directory without a handle: never decided, or released")
	if err != nil {
		return err
	}
	// A crash here leaves the directory; the next start ends it again.
	crashpoint.Here("recovery.orphan.recorded")
	r.h.acted("trash")
	if err := r.h.hands.Trash(receipt, f.ID); err != nil {
		r.h.log.Warn("a process directory could not be deleted; the next start tries again", "handle", f.ID, "err", err)
	}
	if !counted {
		r.count(&r.n.Orphans)
	}
	return nil
}

// endShim records that a shim has no business, and kills it.
func (r *recovery) endShim(ctx context.Context, f act.Found, reason string) act.Found {
	receipt, err := r.orphanEnded(f, &f.Shim, reason)
	if err != nil {
		r.h.log.Error("an orphan could not be recorded", "handle", f.ID, "err", err)
		return f
	}
	// A crash here leaves the shim; the next start ends it again.
	crashpoint.Here("recovery.orphan.found")
	r.count(&r.n.Orphans)
	r.h.acted("kill by identity")
	if err := r.h.hands.Kill(receipt, f); err != nil {
		r.h.log.Error("an orphan could not be ended", "handle", f.ID, "err", err)
		return f
	}
	return r.awaitDead(ctx, f)
}

func (r *recovery) orphanEnded(f act.Found, shim *event.Identity, reason string) (*ledger.Receipt, error) {
	body := &event.OrphanEnded{Directory: f.Name, Shim: shim, Reason: reason}
	c, err := r.h.record(func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: event.Scope{Handle: f.ID, Actor: hostActor}, Body: body}}, nil
	})
	if err != nil {
		return nil, err
	}
	return c.Receipts[0], nil
}
