package host

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// What follows is for operators. They name a process by its handle, as the
// ledger does, and may do so with any; its id is its creator's secret.

// Stopped is the end of a process that an operator stopped.
type Stopped struct {
	Exit  *event.Exit // nil if it is proven dead and the exit is unknown
	Cause string      // what ended it: "stop", or whatever came first

	// Released is true for a persistent process: its id is gone. Who holds
	// another one learns of the end as of any other.
	Released bool
}

// StopHandle ends a process of any tier: TERM to the whole tree, KILL after the
// grace (nil: 5 s; at most 30 s). It blocks until the end is durable, and of a
// persistent process until its id is gone. One that has ended is only released.
// The errors: NoSuchProcess, Cancelled when ctx is done (the stop goes on).
func (h *Host) StopHandle(ctx context.Context, actor event.Actor, id ulid.ULID, grace *time.Duration) (Stopped, error) {
	o := h.owner(id)
	if o == nil {
		return Stopped{}, errorf(NoSuchProcess, "no process %s is held; it was released, or never was", id)
	}
	scope := o.scope
	scope.Actor = actor
	if err := o.stop(ctx, scope, "operator", clampGrace(grace)); err != nil {
		return Stopped{}, err
	}
	if _, err := o.wait(ctx, nil); !o.over() {
		return Stopped{}, err
	}
	if o.kept != nil {
		o.letGo("stopped", "") // if the end was recorded before the stop
		if err := o.awaitRelease(ctx); err != nil {
			return Stopped{}, err
		}
	}
	return Stopped{Exit: o.outcome.exit, Cause: o.outcome.cause, Released: o.released.Load()}, nil
}

// Idle tells, of the persistent processes, for how long nobody has used each.
func (h *Host) Idle() map[ulid.ULID]time.Duration {
	idle := map[ulid.ULID]time.Duration{}
	for _, o := range h.ownersOf(func(o *owner) bool { return o.kept != nil && !o.over() }) {
		idle[o.id] = o.kept.unused()
	}
	return idle
}

// unused is how long nobody has used the process; a use that goes on is now.
func (k *kept) unused() time.Duration {
	if k.uses.Load() > 0 {
		return 0
	}
	return since(k.touched.Load())
}

// releasesWith tells whether a stop for that reason releases a persistent
// process once it has ended.
func releasesWith(reason string) bool { return reason == "guest" || reason == "operator" }
