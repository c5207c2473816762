package host

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// startedRides is how long the start of a sync spawn waits for the exit that it
// rides with. Most sync spawns end at once, and one commit less is half of
// their cost; but ps must show what runs for longer.
const startedRides = 100 * time.Millisecond

// notice takes in what happened to the child. A closed channel without a last
// word means that this end let go.
func (o *owner) notice(n act.Notice, ok bool) {
	switch {
	case !ok:
		o.notices = nil
	case n.Started != nil:
		o.onStarted(n.Started)
	case n.Fired != nil:
		o.onFired(n.Fired)
	case n.Failed != nil:
		o.onFailed(n.Failed)
	case n.Exited != nil:
		o.onExited(n.Exited)
	case n.Gone != nil:
		o.onGone(n.Gone)
	}
}

// onFired records that the shim carried out a standing order by itself, as it
// does if we are late by seconds, or were away.
func (o *owner) onFired(b *event.TimerFired) {
	scope := o.scope
	scope.Actor = event.Actor{Kind: event.ActorShim}
	_, err := o.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || !h.Phase.Live() || timerKnown(h, b.Timer) {
			return nil, nil
		}
		return []*event.Event{{Scope: scope, Body: b}}, nil
	})
	if err != nil {
		o.h.log.Error("a timer could not be recorded", "handle", o.id, "timer", b.Timer, "err", err)
	}
	if b.Timer == "lifetime" {
		closeOnce(o.timedOut)
	}
}

// onStarted takes in that the program runs.
func (o *owner) onStarted(b *event.ProcessStarted) {
	o.started = b
	if o.orders.LifetimeNano > 0 {
		o.after(b.StartedBoot+o.orders.LifetimeNano, o.lifetimeOver)
	}
	if o.tier == event.TierSync {
		o.after(boottime()+o.h.rides.Nanoseconds(), o.recordStarted)
		return
	}
	o.recordStarted()
}

// recordStarted commits process.started by itself, unless it stands there.
//
// A crash before it leaves a decision whose shim's files say "started":
// recovery records it from there.
func (o *owner) recordStarted() {
	_, err := o.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || h.Phase != projector.PhaseDecided {
			return nil, nil
		}
		return o.bodies(event.ActorHost, o.started), nil
	})
	if err != nil {
		o.h.log.Error("a start could not be recorded", "handle", o.id, "err", err)
		return
	}
	// A crash here leaves a started process whose caller was not told: it is
	// ephemeral, so recovery ends it as owner-lost.
	crashpoint.Here("daemon.spawn.started")
	closeOnce(o.running)
}

// lifetimeOver ends a process whose time is up: TERM now, KILL after the grace.
func (o *owner) lifetimeOver() {
	fired := &event.TimerFired{Timer: "lifetime", DueBoot: o.started.StartedBoot + o.orders.LifetimeNano}
	o.signalSelf(event.ActorTimer, unix.SIGTERM, "lifetime", nil, fired)
	crashpoint.Here("daemon.timer.fired")
	closeOnce(o.timedOut)
}

// onFailed takes in that the program could not be started.
func (o *owner) onFailed(b *event.SpawnFailed) {
	crashpoint.Here("daemon.spawn.failing")
	o.finalRelease("refused")
	detail := b.Step + ": " + b.Detail
	if b.Errno != 0 {
		detail += ": " + unix.Errno(b.Errno).Error()
	}
	o.end(outcome{cause: b.Step, err: errorf(Unknown, "the program could not be started: %s", detail)}, b)
}

// onExited takes in how the program ended.
//
// Until the event is durable nobody is told. A crash before it leaves the exit
// record on disk: recovery takes it in.
func (o *owner) onExited(r *act.ExitRecord) {
	crashpoint.Here("daemon.exit.seen")
	b := &r.Exited
	out := outcome{exit: &b.Exit, cause: b.Cause}
	if o.tier == event.TierSync && !o.adopted {
		out.stdout, out.stderr = o.drain()
		o.finalRelease("sync-finished")
	}
	b.AfterRestart = o.adopted
	var bodies []event.Body
	if r.Order != "" {
		bodies = append(bodies, &event.TimerFired{Timer: r.Order, DueBoot: r.DueBoot})
	}
	o.end(out, append(bodies, b)...)
}

// onGone takes in that the shim is dead and left no record, nor a living
// program.
func (o *owner) onGone(g *act.Gone) {
	if o.started == nil {
		if f, err := o.h.hands.Look(o.id); err == nil {
			o.started = f.Started // written, and never told
		}
	}
	switch {
	case o.started != nil:
		o.lose(&event.ProcessLost{Reason: "shim-killed", Detail: "the shim ended without a record, and what it ran with it", Witness: g.Witness})
	case g.Ran:
		o.lose(&event.ProcessLost{Reason: "may-have-run", Detail: "the shim ended between go and the start of the program"})
	default:
		o.abort("shim-not-ready", "the shim ended before it took go")
	}
}

// lose records that the process is proven dead and its exit unknown.
func (o *owner) lose(b *event.ProcessLost) {
	if o.tier == event.TierSync && !o.adopted {
		o.finalRelease("sync-finished")
	}
	o.end(outcome{cause: b.Reason, err: errorf(Unknown, "the process was lost: %s", b.Detail)}, b)
}

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
	if o.child != nil {
		// Not an act: nothing ran, and what is taken back is what Prepare made.
		o.h.acted("abandon")
		if e := o.child.Abandon(); e != nil {
			o.h.log.Warn("a shim could not be dismissed", "handle", o.id, "err", e)
		} else {
			o.takenBack = true
		}
	}
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
	o.h.recordLate()
	o.mu.Lock()
	release := o.release
	for _, r := range o.queue { // asked for, and never to be sent
		r.detail = "the process had ended"
		o.acted[r.seq] = r
	}
	o.mu.Unlock()
	c, err := o.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		return o.ending(tip, release, append(o.owed, bodies...)), nil
	})
	if err != nil {
		// The host closes, or the ledger does not take what happened. Nobody
		// is told an outcome; recovery finds the shim's files.
		o.h.log.Error("an outcome could not be recorded", "handle", o.id, "err", err)
		o.finished = true
		return
	}
	crashpoint.Here("daemon.exit.recorded")
	o.outcome = out
	closeOnce(o.running)
	closeOnce(o.ended)
	o.alarms, o.notices = nil, nil
	if release != "" {
		o.trash(c)
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
		if t, isTimer := b.(*event.TimerFired); isTimer && timerKnown(h, t.Timer) {
			continue
		}
		if b == bodies[len(bodies)-1] {
			all = append(all, o.sentBodies(h)...)
		}
		all = append(all, b)
	}
	es := append(o.bodies(event.ActorHost, all...), finishedCancels(tip, h)...)
	if release != "" {
		es = append(es, o.bodies(event.ActorHost, &event.HandleReleased{Reason: release})...)
	}
	return es
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

// releaseNow records that nobody holds an ended handle, and deletes its
// directory.
func (o *owner) releaseNow(reason string) {
	c, err := o.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if h, ok := tip.Handle(o.id); !ok || !h.Phase.Terminal() {
			return nil, nil
		}
		return o.bodies(event.ActorHost, &event.HandleReleased{Reason: reason}), nil
	})
	if err != nil {
		o.h.log.Error("a release could not be recorded", "handle", o.id, "err", err)
		o.finished = true
		return
	}
	o.trash(c)
}

// trash deletes the directory with the receipt of the release.
//
// A crash before it leaves a released handle with a directory: recovery
// deletes it.
func (o *owner) trash(c *ledger.Commit) {
	o.finished = true
	crashpoint.Here("daemon.release.recorded")
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
			o.h.log.Warn("a process directory could not be deleted; the next start does it", "handle", o.id, "err", err)
		}
	}
	crashpoint.Here("daemon.release.trashed")
}

// drain reads what both rings hold. A program that still runs keeps the bytes
// of an unfinished rune.
func (o *owner) drain() (stdout, stderr []byte) {
	o.drainMu.Lock()
	defer o.drainMu.Unlock()
	stdout, stderr, err := o.child.DrainLogs()
	if err != nil {
		o.h.log.Warn("output could not be read", "handle", o.id, "err", err)
	}
	return stdout, stderr
}
