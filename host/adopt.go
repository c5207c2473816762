package host

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

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
	if o.kept != nil {
		o.kept.touch() // again: its shim may have been silent until now
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
		o.resumeStdin(handle)
	}
	o.loop()
}

// recordAdopted records that this daemon holds a process of an earlier one.
func (o *owner) recordAdopted() {
	_, err := o.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if h, ok := tip.Handle(o.id); !ok || h.Phase != projector.PhaseStarted {
			return nil, nil
		}
		return o.bodies(event.ActorHost, &event.ProcessAdopted{Shim: o.child.Shim()}), nil
	})
	if err != nil {
		o.h.log.Error("an adoption could not be recorded", "handle", o.id, "error", err)
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
		case "stop":
			o.mu.Lock()
			o.grace = grace
			o.mu.Unlock()
		case "orphaned":
			grace = 0
		}
		if ob.Gentle.Requested == 0 && ob.Kill.Requested == 0 && grace > 0 {
			o.signalSelf(event.ActorHost, gentle, cause, cancel)
		}
		o.killAt(ob.Opened.Boot+grace, event.ActorHost, cause, cancel)
	}
}
