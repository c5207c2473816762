package host

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// cancelNano is how long after INT a cancel sends KILL: the contract's number.
const cancelNano = 2e9

// order is a requested signal on its way to the shim.
type order struct {
	seq  uint64
	boot int64 // CLOCK_BOOTTIME of the request
	want event.SignalRequested

	// receipt is nil until whoever asked for the signal hands it in. Orders
	// are carried out in the order of the ledger, so one that waits for its
	// receipt holds up those behind it; every requester hands in what it got.
	receipt *ledger.Receipt

	// What follows is written before done is closed and read after.
	delivered bool
	detail    string
	done      chan struct{}
}

// settle tells how it went. Only the owner's goroutine calls it, once.
func (r *order) settle(delivered bool, detail string) {
	r.delivered, r.detail = delivered, detail
	close(r.done)
}

// enqueue takes in a durable signal.requested. The committer calls it.
func (o *owner) enqueue(e *event.Event, b *event.SignalRequested) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, &order{seq: e.Seq, boot: e.Boottime, want: *b, done: make(chan struct{})})
}

// handIn gives the owner the receipt of a signal.requested, and returns the
// order, which will be settled. It is nil if the handle is released.
func (o *owner) handIn(receipt *ledger.Receipt) *order {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.queue {
		if r.seq == receipt.Seq() {
			r.receipt = receipt
			o.poke()
			return r
		}
	}
	return nil
}

// nextOrder takes the first order out of the queue, if it can be carried out.
func (o *owner) nextOrder() *order {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 || o.queue[0].receipt == nil {
		return nil
	}
	r := o.queue[0]
	o.queue = o.queue[1:]
	return r
}

// takeOut takes an order out of the queue, wherever it stands, and tells
// whether it was there.
func (o *owner) takeOut(r *order) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.queue, r)
	if i < 0 {
		return false
	}
	o.queue = slices.Delete(o.queue, i, i+1)
	return true
}

// carryOut sends the signals whose turn it is and records what became of them,
// all in one commit.
func (o *owner) carryOut() {
	o.sendOrders()
	if !o.takeDisowned() && len(o.sent) == 0 {
		return
	}
	// A crash here leaves signals that may have arrived and are requested
	// only: recovery never sends them again, their delivery is unknown.
	crashpoint.Here("daemon.signal.sent")
	o.h.at("signal-sent")
	if err := o.recordSent(); err != nil {
		// The host closes: nobody is told what is not recorded.
		o.h.log.Error("what became of signals could not be recorded", "handle", o.id, "error", err)
		return
	}
	o.tellSent()
	crashpoint.Here("daemon.signal.recorded")
}

// sendOrders sends the signals whose turn it is.
func (o *owner) sendOrders() {
	for r := o.nextOrder(); r != nil; r = o.nextOrder() {
		o.send(r)
		o.sent = append(o.sent, r)
	}
}

// tellSent tells those who asked for signals that it is recorded what became
// of them.
func (o *owner) tellSent() {
	for _, r := range o.sent {
		close(r.done)
	}
	o.sent = nil
}

// send is the act. What is ordered after it, if the process does not heed it,
// is set up here.
func (o *owner) send(r *order) {
	o.acted[r.seq] = r
	if o.over() || o.child == nil {
		r.detail = "the process had ended"
		return
	}
	o.h.acted("signal %s to the %s, cause %s", unix.SignalName(unix.Signal(r.want.Signal)), targetName(r.want.Target), r.want.Cause)
	result, err := o.child.Signal(r.receipt)
	r.delivered, r.detail = delivery(result, err)
	o.killLater(&r.want, r.boot)
}

// killLater sets up the KILL that follows a gentle signal of a cancel, a
// lifetime, a stop or a shutdown, with the same cause.
func (o *owner) killLater(b *event.SignalRequested, from int64) {
	if b.Signal == uint32(unix.SIGKILL) {
		return
	}
	var grace int64
	switch b.Cause {
	case "cancel":
		grace = cancelNano
	case "lifetime", "idle":
		grace = o.orders.GraceNano
	case "stop", causeShutdown, causeRestart:
		o.mu.Lock()
		grace = o.grace
		o.mu.Unlock()
	default:
		return
	}
	o.killAt(from+grace, event.ActorTimer, b.Cause, b.Cancel)
}

// killAt has the tree killed at a CLOCK_BOOTTIME, once for each cause and
// cancel: the earliest of several times counts.
func (o *owner) killAt(at int64, actor event.ActorKind, cause string, cancel []byte) {
	o.after(at, func() {
		if key := cause + string(cancel); !o.killedFor[key] {
			o.killedFor[key] = true
			o.signalSelf(actor, unix.SIGKILL, cause, cancel)
		}
	})
}

// orderKill is a KILL of the tree that the host decides on.
func (o *owner) orderKill(cause string) { o.signalSelf(event.ActorHost, unix.SIGKILL, cause, nil) }

// signalSelf requests a signal to the tree, and carries it out. before are
// bodies that are recorded in the same commit, ahead of the request. It tells
// whether they are durable: not if the process has ended, nor in an emergency.
func (o *owner) signalSelf(actor event.ActorKind, sig unix.Signal, cause string, cancel []byte, before ...event.Body) (recorded bool) {
	want := &event.SignalRequested{Signal: uint32(sig), Target: event.TargetTree, Cause: cause, Cancel: cancel}
	c, err := o.h.decideEnding(o.h.ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || !h.Phase.Live() {
			return nil, nil
		}
		if cancel != nil && h.CancelID() == [16]byte{} {
			return nil, nil // the cancel it was for is settled
		}
		if len(before) > 0 && timerStands(h, before[0]) {
			return nil, nil // it fires once, and its end is under way
		}
		return o.bodies(actor, append(before, want)...), nil
	})
	switch {
	case ledger.CannotCommit(err):
		o.emergency(want, err, before)
	case err != nil:
		o.h.log.Error("a signal could not be requested", "handle", o.id, "cause", cause, "error", err)
	case len(c.Receipts) > 0:
		crashpoint.Here("daemon.signal.requested")
		o.handIn(c.Receipts[len(c.Receipts)-1])
		o.carryOut()
		return true
	}
	return false
}

// bodies are events of this handle with an actor of the host's own kind.
func (o *owner) bodies(actor event.ActorKind, bodies ...event.Body) []*event.Event {
	scope := o.scope
	scope.Actor = event.Actor{Kind: actor}
	es := make([]*event.Event, 0, len(bodies))
	for _, b := range bodies {
		es = append(es, &event.Event{Scope: scope, Body: b})
	}
	return es
}

// recordSent records what became of the signals in acted.
func (o *owner) recordSent() error {
	_, err := o.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok {
			return nil, nil
		}
		return o.bodies(event.ActorHost, o.sentBodies(h)...), nil
	})
	if err == nil {
		clear(o.acted)
	}
	return err
}

// sentBodies are a signal.sent for each signal of the handle whose fate is
// known and not recorded. It runs in closures, while the owner waits for them.
func (o *owner) sentBodies(h *projector.Handle) (bodies []event.Body) {
	for _, s := range h.Signals {
		if r := o.acted[s.Seq]; r != nil {
			bodies = append(bodies, &event.SignalSent{
				Request: s.Seq, Signal: s.Signal, Delivered: r.delivered, Detail: valid(r.detail),
			})
		}
	}
	return bodies
}

// signal requests a signal on behalf of a caller and waits until it is known
// what became of it. delivered is false if the process had ended.
func (o *owner) signal(ctx context.Context, actor event.Actor, want *event.SignalRequested) (delivered bool, err error) {
	scope := o.scope
	scope.Actor = actor
	decide := o.h.decide
	if want.Signal == uint32(unix.SIGKILL) { // others can be sent for ever
		decide = o.h.decideEnding
	}
	c, err := decide(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok || !h.Phase.Live() {
			return nil, errEnded
		}
		return []*event.Event{{Scope: scope, Body: want}}, nil
	})
	if errors.Is(err, errEnded) {
		return false, nil
	}
	if err != nil {
		return false, answer(err)
	}
	// A crash here leaves a requested signal that was never sent; recovery
	// does not send it: nobody can tell it from one whose delivery is unknown.
	crashpoint.Here("daemon.signal.asked")
	r := o.handIn(c.Receipts[0])
	if r == nil {
		return false, nil
	}
	select {
	case <-r.done:
		return r.delivered, nil
	case <-o.gone:
	case <-o.h.ctx.Done():
	}
	if o.h.ctx.Err() != nil && !o.over() {
		return false, o.h.stopped() // sent or not: nothing says so yet
	}
	return false, nil
}

// errEnded leaves a closure where the process has ended in the meantime.
var errEnded = errors.New("the process has ended")

func targetName(t event.SignalTarget) string {
	if t == event.TargetTree {
		return "tree"
	}
	return "program"
}
