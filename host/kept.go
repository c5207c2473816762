package host

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// kept is what an owner knows, beyond others, of a process that the host keeps
// for its creator: one of the persistent tier.
type kept struct {
	id        string // by which its creator names it; never in an event or a log
	label     string
	idle      int64 // how long it may go unused, ns
	retention int64 // how long it is kept after its end, ns

	touched atomic.Int64 // CLOCK_BOOTTIME of the newest use
	uses    atomic.Int64 // uses that go on

	watch *watch // nil: nothing is published; under the owner's mu

	// What follows belongs to the owner's goroutine.
	stdinDrained chan struct{} // capacity 1: a write that had waited is through
	deafen       func()        // ends the waking by output and input; nil: there is none
}

func (h *Host) keep(p *plan) *kept {
	if p.terms == nil {
		return nil
	}
	k := &kept{
		id: h.ids.of(p.id), label: p.terms.label,
		idle: p.terms.idle.Nanoseconds(), retention: p.terms.retention.Nanoseconds(),
		stdinDrained: make(chan struct{}, 1),
	}
	k.touch()
	return k
}

// keepAgain is keep after a restart. Being taken in is a use.
func (h *Host) keepAgain(handle *projector.Handle) *kept {
	if handle.Tier != event.TierPersistent {
		return nil
	}
	k := &kept{
		id: h.ids.of(handle.ID), label: handle.Label, idle: handle.IdleNano, retention: handle.RetentionNano,
		stdinDrained: make(chan struct{}, 1),
	}
	k.touch()
	return k
}

// touch says that the process is used now.
func (k *kept) touch() { k.touched.Store(boottime()) }

// use says that the process is used until done is called, as by a wait that is
// longer than the idle timeout. A process that nobody keeps has no such timeout.
func (o *owner) use() (done func()) {
	k := o.kept
	if k == nil {
		return func() {}
	}
	k.uses.Add(1)
	return func() {
		k.touch()
		k.uses.Add(-1)
	}
}

// using returns a source that uses the process as long as somebody waits for it.
func (o *owner) using(s poll.Source) poll.Source {
	if o.kept == nil {
		return s
	}
	return usedSource{s, o}
}

type usedSource struct {
	poll.Source
	o *owner
}

// Watch implements that method of poll.Source.
func (s usedSource) Watch(wake chan<- struct{}) (stop func()) {
	done, unwatch := s.o.use(), s.Source.Watch(wake)
	return func() {
		unwatch()
		done()
	}
}

// idleDue is when the idle timeout passes, unless the process is used before.
func (k *kept) idleDue() int64 {
	if k.uses.Load() > 0 {
		return boottime() + k.idle
	}
	return k.touched.Load() + k.idle
}

// watchIdle sets up the idle timeout of a process that runs.
func (o *owner) watchIdle() {
	if o.kept != nil && o.kept.idle > 0 {
		o.after(o.kept.idleDue(), o.maybeIdle)
	}
}

// maybeIdle ends a process that was not used for too long: TERM now, KILL after
// the grace. One that was used meanwhile is looked at again.
func (o *owner) maybeIdle() {
	due := o.kept.idleDue()
	if due > boottime() {
		o.after(due, o.maybeIdle)
		return
	}
	fired := &event.TimerFired{Timer: "idle", DueBoot: due}
	if o.signalSelf(event.ActorTimer, unix.SIGTERM, "idle", nil, fired) {
		crashpoint.Here("daemon.timer.fired")
	}
}

// retain sets up the release of a process that has ended and that nobody
// releases before. It counts from the recorded end.
func (o *owner) retain() {
	due := boottime() + o.kept.retention
	o.h.live.View(func(s *projector.State) {
		if h, ok := s.Handle(o.id); ok {
			due = o.kept.releaseDue(h.Ended, h.Ended.BootID == s.BootID())
		}
	})
	o.after(due, func() { o.retentionOver(due) })
}

// releaseDue is when the retention is over. After a reboot the clock of the end
// is gone, and the wall clock says how much has passed: never less than nothing,
// nor more than all of it, however that clock was set.
func (k *kept) releaseDue(ended projector.Moment, sameBoot bool) int64 {
	if sameBoot {
		return ended.Boot + k.retention
	}
	passed := min(max(0, walltime()-ended.Wall), k.retention)
	return boottime() + k.retention - passed
}

// retentionOver releases a process whose retention is over, and deletes its
// directory.
func (o *owner) retentionOver(due int64) {
	o.releaseWith("retention", func(h *projector.Handle) []*event.Event {
		if h.Expired.Seq != 0 {
			return nil
		}
		return o.bodies(event.ActorTimer, &event.TimerFired{Timer: "retention", DueBoot: due})
	})
}

// releaseNow records that nobody holds an ended handle, and deletes its
// directory.
func (o *owner) releaseNow(reason string) {
	o.releaseWith(reason, func(*projector.Handle) []*event.Event { return nil })
}

// releaseWith is releaseNow with events that go before the release.
//
// A crash before the commit leaves an ended handle: a persistent one is kept on,
// with what is left of its retention. One after it leaves a released handle with
// a directory, which recovery deletes.
func (o *owner) releaseWith(reason string, before func(*projector.Handle) []*event.Event) {
	o.alarms, o.leaving = nil, true // while it waits for the ledger nobody need wish for it again
	c, err := o.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || !h.Phase.Terminal() {
			return nil, nil
		}
		return append(before(h), o.releasing(h, reason)...), nil
	})
	if err != nil {
		o.h.log.Error("a release could not be recorded", "handle", o.id, "error", err)
		o.finished = true
		return
	}
	o.trash(c)
}

// releasing are the events of a release: of its watch too, which ends with it.
func (o *owner) releasing(h *projector.Handle, reason string) []*event.Event {
	var bodies []event.Body
	if h.Watch != nil {
		bodies = append(bodies, &event.WatchDisarmed{Reason: "released"})
	}
	return o.bodies(event.ActorHost, append(bodies, &event.HandleReleased{Reason: reason})...)
}
