package host

import (
	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// adopt takes a living process in. An ephemeral one is ended: the instance
// that it belonged to is gone. The first step of that is durable when the job is
// matched; the rest is the owner's, and the job lasts until an ephemeral process
// is released.
func (r *recovery) adopt(j *job, o *owner, handle *projector.Handle, child *act.Child) {
	o.child, o.notices = child, child.Notices()
	if len(handle.Obligations) > 0 {
		r.count(&r.n.Resumed)
	}
	ephemeral := projector.Ephemeral(handle.Tier)
	if ephemeral {
		r.count(&r.n.Ended)
	} else {
		r.count(&r.n.Adopted)
	}
	if o.kept != nil {
		o.kept.touch() // again: its shim may have been silent until now
	}
	o.takeUp()
	j.match()
	r.h.work.Go(func() {
		defer o.finish()
		if !ephemeral && !o.over() {
			o.resume(handle)
			o.resumeStdin(handle)
		}
		o.loop()
	})
	if ephemeral {
		<-o.gone
	}
}

// takeUp records the first step with a process that an earlier daemon began.
func (o *owner) takeUp() {
	select { // the shim tells again that it runs
	case n, ok := <-o.notices:
		o.notice(n, ok)
	case <-o.h.ctx.Done():
		return
	}
	// And of an order that it carried out alone, before our own timer for the
	// same is looked at: the program is not to be told twice.
	select {
	case n, ok := <-o.notices:
		o.notice(n, ok)
	default:
	}
	switch {
	case o.over():
	case projector.Ephemeral(o.tier):
		o.requestEnd()
	default:
		o.recordAdopted()
	}
}

// requestEnd records the KILL of a process whose owner is gone. The owner's loop
// sends it.
func (o *owner) requestEnd() {
	receipt := o.requestKill(o.record)
	if receipt == nil {
		return // it has ended, or the host closes
	}
	// A crash here leaves a KILL that was requested and not sent: the next
	// recovery orders it anew.
	crashpoint.Here("recovery.end.requested")
	o.killed = true
	o.handIn(receipt)
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
		gentle, grace := gentleOf(&ob)
		var cancel []byte
		if ob.Cancel != (ulid.ULID{}) {
			id := ob.Cancel
			cancel = id[:]
		}
		if ob.Cause == "stop" {
			o.mu.Lock()
			o.grace = grace
			o.mu.Unlock()
		}
		if ob.Gentle.Requested == 0 && ob.Kill.Requested == 0 && grace > 0 {
			o.signalSelf(event.ActorHost, gentle, ob.Cause, cancel)
		}
		o.killAt(ob.Opened.Boot+grace, event.ActorHost, ob.Cause, cancel)
	}
}

// gentleOf is the signal that an ordered end begins with, and the time from
// there to KILL in ns.
func gentleOf(ob *projector.Obligation) (gentle unix.Signal, grace int64) {
	switch ob.Cause {
	case "cancel":
		return unix.SIGINT, cancelNano
	case "orphaned":
		return unix.SIGTERM, 0
	default:
		return unix.SIGTERM, ob.GraceNano
	}
}
