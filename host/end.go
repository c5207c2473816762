package host

import (
	"errors"
	"os"
	"time"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// abort records that a granted spawn never ran, and releases it.
//
// A crash after the commit leaves a released handle with a directory, and a
// shim that runs nothing and ends with the daemon: recovery deletes it.
func (o *owner) abort(reason, detail string) {
	crashpoint.Here("daemon.spawn.aborting")
	o.finalRelease("refused")
	err := errorf(Unknown, "the spawn was aborted: %s %s", reason, detail)
	if reason == "cancelled" || reason == "caller-gone" {
		err = errorf(Cancelled, "nothing ran")
	}
	o.abandon()
	o.end(outcome{cause: reason, err: err}, &event.SpawnAborted{Reason: reason, Detail: valid(detail)})
	o.followUp()
}

// finalRelease has the release ride with the outcome: nobody holds the handle
// and nobody will.
func (o *owner) finalRelease(reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.release == "" {
		o.release = reason
	}
}

// end records the outcome, which is the last of bodies, in one commit with all
// that has waited for it: the start, signals that were sent, the cancels that
// this handle was the last of, and the release if nobody holds the handle. Then
// it tells whoever waits.
func (o *owner) end(out outcome, bodies ...event.Body) {
	_, nothingRan := bodies[len(bodies)-1].(*event.SpawnAborted)
	o.unrecorded.Store(!nothingRan)
	defer o.unrecorded.Store(false)
	o.alarms, o.notices, o.closing = nil, nil, true
	o.takeDisowned()
	o.h.recordLate()
	o.mu.Lock()
	release := o.release
	for _, r := range o.queue { // asked for, and never to be sent
		r.detail = "the process had ended"
		o.acted[r.seq] = r
	}
	o.mu.Unlock()
	c, err := o.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		return o.ending(tip, release, append(o.owed, bodies...)), nil
	})
	if err != nil {
		// The host closes, or the ledger does not take what happened. Nobody
		// is told an outcome; recovery finds the shim's files.
		o.h.log.Error("an outcome could not be recorded", "handle", o.id, "error", err)
		o.finished = true
		return
	}
	crashpoint.Here("daemon.exit.recorded")
	o.recorded = len(c.Events) > 0
	o.outcome = out
	closeOnce(o.ended) // first: who sees running closed is to see this too
	closeOnce(o.running)
	o.changed.Notify()
	o.announce()
	switch {
	case release != "":
		o.trash(c)
	case o.kept != nil:
		o.retain()
	}
}

// ending is the closure of end. It returns nothing if the outcome stands in
// the ledger, from an attempt whose own outcome was unknown.
func (o *owner) ending(tip *projector.State, release string, bodies []event.Body) []*event.Event {
	h, ok := tip.Handle(o.id)
	if !ok || !h.Phase.Live() {
		return nil
	}
	var all []event.Body
	if o.started != nil && h.Phase == projector.PhaseDecided {
		all = append(all, o.started)
	}
	for _, b := range bodies {
		if timerStands(h, b) {
			continue
		}
		if b == bodies[len(bodies)-1] {
			all = append(all, o.sentBodies(h)...)
		}
		all = append(all, b)
	}
	es := append(o.bodies(event.ActorHost, all...), finishedCancels(tip, h)...)
	if release != "" {
		es = append(es, o.releasing(h, release)...)
	}
	return es
}

// timerStands tells whether b says of a timer that it has fired, and the ledger
// does already.
func timerStands(h *projector.Handle, b event.Body) bool {
	t, isTimer := b.(*event.TimerFired)
	return isTimer && timerKnown(h, t.Timer)
}

// timerKnown tells whether the timer has fired in the ledger.
func timerKnown(h *projector.Handle, timer string) bool {
	if timer == "orphan" {
		timer = "orphaned" // the cause that its KILL carries
	}
	_, known := h.Obligation(timer)
	return known
}

// finishedCancels are a cancel.finished for each cancel that waits for this
// handle alone, which is about to end.
func finishedCancels(tip *projector.State, h *projector.Handle) (es []*event.Event) {
	seen := map[[16]byte]bool{}
	for _, ob := range h.Obligations {
		c, open := tip.Cancel(ob.Cancel)
		if !open || seen[ob.Cancel] || len(c.Remaining) != 1 || c.Remaining[0] != h.ID {
			continue
		}
		seen[ob.Cancel] = true
		es = append(es, cancelFinished(c))
	}
	return es
}

func cancelFinished(c *projector.Cancel) *event.Event {
	id := c.ID
	return &event.Event{
		Scope: event.Scope{Principal: c.Principal, Capsule: c.Capsule, Actor: hostActor},
		Body:  &event.CancelFinished{Cancel: id[:]},
	}
}

// trash deletes the directory with the receipt of the release.
//
// A crash before it leaves a released handle with a directory: recovery
// deletes it.
func (o *owner) trash(c *ledger.Commit) {
	o.finished = true
	o.released.Store(true)
	crashpoint.Here("daemon.release.recorded")
	if len(c.Receipts) == 0 && len(c.Events) > 0 {
		o.h.work.Go(o.trashSurvived)
		return
	}
	for _, r := range c.Receipts {
		if r.Kind() != event.KindHandleReleased {
			continue
		}
		o.letChildGo()
		if o.takenBack {
			return
		}
		<-o.heard
		o.h.acted("trash")
		if err := o.h.hands.Trash(r, o.id); err != nil {
			o.h.log.Warn("a process directory could not be deleted; the next start does it", "handle", o.id, "error", err)
		}
	}
	crashpoint.Here("daemon.release.trashed")
}

// trashSurvived deletes the directory where the release stands in the ledger from
// a commit that failed: nobody has its receipt, so it is ended as recovery would
// end it at the next start.
func (o *owner) trashSurvived() {
	select {
	case <-o.gone:
	case <-o.h.ctx.Done():
		return
	}
	f, err := o.h.hands.Look(o.id)
	if err == nil {
		r := &recovery{h: o.h, inProcess: true}
		err = r.orphan(&job{r: r, begun: time.Now(), matched: make(chan struct{})}, f)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		o.h.log.Warn("a process directory could not be deleted; the next start does it", "handle", o.id, "error", err)
	}
}

// readLogs drains the rings for a guest. The error is Closed once the handle is
// released: what was left of its output is deleted then.
func (o *owner) readLogs() (Logs, error) {
	// Whether it runs is asked before the drain: an answer that says it does
	// not then holds all that was left.
	over := o.over()
	logs := Logs{Running: !over}
	logs.Stdout, logs.Stderr = o.drain()
	if o.released.Load() {
		return Logs{}, errorf(Closed, "the process was released")
	}
	if over {
		logs.Exit = o.outcome.exit
	}
	return logs, nil
}
