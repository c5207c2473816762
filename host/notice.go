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
	case n.StdinBroken:
		o.breakStdin(o.child)
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
	_, err := o.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || !h.Phase.Live() || timerKnown(h, b.Timer) {
			return nil, nil
		}
		return []*event.Event{{Scope: scope, Body: b}}, nil
	})
	if err != nil {
		o.h.log.Error("a timer could not be recorded", "handle", o.id, "timer", b.Timer, "error", err)
		return
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
	o.watchIdle()
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
	_, err := o.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || h.Phase != projector.PhaseDecided {
			return nil, nil
		}
		return o.bodies(event.ActorHost, o.started), nil
	})
	if err != nil {
		o.h.log.Error("a start could not be recorded", "handle", o.id, "error", err)
		return
	}
	// A crash here leaves a started process whose caller was not told: recovery
	// ends an ephemeral one as owner-lost, and takes a persistent one in, which
	// its creator finds in the list.
	crashpoint.Here("daemon.spawn.started")
	closeOnce(o.running)
}

// lifetimeOver ends a process whose time is up: TERM now, KILL after the grace.
func (o *owner) lifetimeOver() {
	fired := &event.TimerFired{Timer: "lifetime", DueBoot: o.started.StartedBoot + o.orders.LifetimeNano}
	if !o.signalSelf(event.ActorTimer, unix.SIGTERM, "lifetime", nil, fired) {
		return // the caller is told with the exit
	}
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
