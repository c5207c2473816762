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

// stopGrace is how long a shutdown lets programs end by themselves after TERM,
// unless its ctx ends earlier: the contract's default grace of a stop.
const stopGrace = 5 * time.Second

// The causes of an orderly end, in stops, signals, exits and releases.
const (
	causeShutdown = "shutdown"
	causeRestart  = "daemon-restart" // another daemon goes on at once
)

// Shutdown refuses new spawns, ends every ephemeral process (TERM, grace, KILL),
// records their ends and releases them, and writes daemon.stopped last.
// Persistent processes run on with their shims, and no event says otherwise. It
// blocks until then. Where ctx ends sooner, what is left is killed at once and
// waited for: the ledger is to know how everything ended. The error is that of
// the last commit. Close the Host afterwards.
func (h *Host) Shutdown(ctx context.Context, reason string) error {
	return h.shutdown(ctx, causeShutdown, hostActor, &event.DaemonStopped{Reason: reason})
}

// Successor is the daemon that goes on after a restart.
type Successor struct {
	Version string // of its build
	Binary  string // path of its program
}

// MakeWay is a Shutdown after which another daemon goes on at once, as by asked:
// ephemeral processes end with the cause "daemon-restart".
func (h *Host) MakeWay(ctx context.Context, by event.Actor, s Successor) error {
	return h.shutdown(ctx, causeRestart, by, &event.DaemonStopped{Reason: "restart", Successor: s.Version, Binary: s.Binary})
}

// shutdown does both. last is its last event but for what it counts.
func (h *Host) shutdown(ctx context.Context, cause string, by event.Actor, last *event.DaemonStopped) error {
	h.mu.Lock()
	h.closing = "the daemon is stopping"
	invocations := make([]*Invocation, 0, len(h.invocations))
	for i := range h.invocations {
		invocations = append(invocations, i)
	}
	h.mu.Unlock()
	for _, i := range invocations {
		i.cancel(errorf(Cancelled, "the daemon is stopping"))
	}
	last.Ended = h.stopAll(ctx, cause)
	h.awaitStarts(ctx, cause)
	h.awaitInvocations(ctx)
	_, err := h.decideEnding(context.WithoutCancel(ctx), func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		es := abandonedInvocations(tip, "cancelled", "the daemon stopped before it returned")
		return append(es, &event.Event{Scope: event.Scope{Actor: by}, Body: last}), nil
	})
	crashpoint.Here("daemon.stopped")
	return err
}

// stopAll ends all ephemeral processes and returns how many there were.
func (h *Host) stopAll(ctx context.Context, cause string) (ended uint32) {
	owners := h.ownersOf(func(o *owner) bool { return projector.Ephemeral(o.tier) })
	for _, o := range owners {
		o.forbidGo(cause)
		o.letGo(cause, "")
		if !o.over() {
			ended++
		}
	}
	h.stopGently(ctx, owners, cause)
	crashpoint.Here("daemon.shutdown.requested")
	for _, o := range owners {
		select {
		case <-o.gone:
			continue
		case <-ctx.Done():
		}
		o.letGo(cause, cause)
	}
	h.awaitEnd(owners)
	return ended
}

// awaitStarts waits until every persistent process that was granted either runs,
// as the ledger says, or never will: nothing starts behind daemon.stopped.
func (h *Host) awaitStarts(ctx context.Context, cause string) {
	for _, o := range h.ownersOf(func(o *owner) bool { return !projector.Ephemeral(o.tier) && !o.adopted }) {
		o.forbidGo(cause)
		select {
		case <-o.running:
		case <-o.gone:
		case <-ctx.Done():
			return
		}
	}
}

// endBound is how long a shutdown waits for processes that were sent KILL. One
// in uninterruptible sleep may take for ever: its shim stays with it, and the
// next start finds both.
const endBound = 15 * time.Second

func (h *Host) awaitEnd(owners []*owner) {
	bound := time.NewTimer(endBound)
	defer bound.Stop()
	for _, o := range owners {
		select {
		case <-o.gone:
		case <-bound.C:
			h.log.Error("processes do not end, or their end cannot be recorded; the next start takes them up")
			return
		}
	}
}

// stopGently records a stop and its TERM for every process that runs, all in
// one commit, and has them carried out. The KILL after the grace is set up by
// the TERM.
func (h *Host) stopGently(ctx context.Context, owners []*owner, cause string) {
	c, err := h.decideEnding(h.ctx, func(tip *projector.State, _ ledger.Header) (es []*event.Event, _ error) {
		for _, o := range owners {
			if handle, ok := tip.Handle(o.id); ok && handle.Phase.Live() {
				es = append(es, o.bodies(event.ActorHost,
					&event.StopRequested{GraceNano: stopGrace.Nanoseconds(), Reason: cause},
					&event.SignalRequested{Signal: uint32(unix.SIGTERM), Target: event.TargetTree, Cause: cause})...)
			}
		}
		return es, nil
	})
	if err == nil {
		h.deliver(ctx, c.Receipts)
		return
	}
	h.log.Error("the ledger cannot record the stop; programs are ended all the same", "error", err)
	for _, o := range owners {
		o.letGo(cause, cause) // by way of the owner's emergency
	}
}

// awaitInvocations waits for the calls that were cancelled, a little: their
// answers are recorded by whoever called.
func (h *Host) awaitInvocations(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		h.mu.Lock()
		left := len(h.invocations)
		h.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// abandonedInvocations finishes every invocation that is open in the state.
func abandonedInvocations(s *projector.State, outcome, detail string) (es []*event.Event) {
	for _, i := range s.Invocations() {
		scope := i.Scope()
		scope.Actor = hostActor
		es = append(es, &event.Event{Scope: scope, Body: &event.InvocationFinished{Outcome: outcome, Detail: detail}})
	}
	return es
}
