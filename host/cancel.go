package host

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// CancelRequest says what is to be cancelled.
type CancelRequest struct {
	// Principal and Capsule are the scope; an empty one stands for every one.
	Principal string
	Capsule   string

	// CallIDs name invocations: their ephemeral processes get INT and, two
	// seconds later, KILL; so do those of the same capsule and principal that
	// have no call id. Without call ids the whole scope is retired: all of its
	// processes, persistent ones too, get KILL at once.
	CallIDs []string

	Reason string // for people
}

// CancelResult is what a cancel reached.
type CancelResult struct {
	ID      ulid.ULID
	Handles []ulid.ULID // live when it was recorded, sorted

	// Unrecorded is true if the ledger could not commit: the processes are
	// being ended all the same, and it is recorded as soon as that is possible.
	Unrecorded bool
}

// Cancel ends the processes that the request reaches, and the invocations: what
// they wait for in the host returns cancelled. It blocks until the cancel is
// durable and the first signals are sent; cancel.finished follows with the last
// exit. Where ctx ends once the cancel is recorded, or the signals take longer
// than deliverBound, it returns all the same and they go on.
func (h *Host) Cancel(ctx context.Context, actor event.Actor, r CancelRequest) (CancelResult, error) {
	result := CancelResult{ID: newID()}
	c, err := h.decideEnding(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		result.Handles = nil
		return r.events(tip, actor, &result), nil
	})
	if ledger.CannotCommit(err) {
		h.cancelUnrecorded(actor, r, err, &result)
		return result, nil
	}
	if err != nil {
		return CancelResult{}, answer(err)
	}
	// A crash here leaves an open cancel whose INT was not sent: recovery ends
	// its handles, and finishes it with the last of them.
	crashpoint.Here("daemon.cancel.requested")
	h.deliver(ctx, c.Receipts)
	h.told("cancel of %d", len(result.Handles))
	return result, nil
}

// events are the cancel, a signal for each handle it reaches, and its end if
// it reaches none.
func (r *CancelRequest) events(tip *projector.State, actor event.Actor, result *CancelResult) []*event.Event {
	id := result.ID
	body := &event.CancelRequested{Cancel: id[:], CallIDs: r.CallIDs, Reason: valid(r.Reason)}
	es := []*event.Event{{
		Scope: event.Scope{Principal: r.Principal, Capsule: r.Capsule, Actor: actor}, Body: body,
	}}
	for _, h := range tip.Reached(r.Principal, r.Capsule, r.CallIDs) {
		handle := h.ID
		result.Handles = append(result.Handles, handle)
		body.Handles = append(body.Handles, handle[:])
		scope := h.Scope()
		scope.Actor = actor
		es = append(es, &event.Event{Scope: scope, Body: r.signal(id)})
	}
	if len(result.Handles) == 0 {
		es = append(es, cancelFinished(&projector.Cancel{ID: id, Principal: r.Principal, Capsule: r.Capsule}))
	}
	return es
}

// signal is the first signal of the cancel.
func (r *CancelRequest) signal(id ulid.ULID) *event.SignalRequested {
	s := &event.SignalRequested{Signal: uint32(unix.SIGINT), Target: event.TargetTree, Cause: "cancel", Cancel: id[:]}
	if len(r.CallIDs) == 0 {
		s.Signal = uint32(unix.SIGKILL)
	}
	return s
}

// deliverBound is how long deliver waits: as long as host/act waits for a shim
// that does not answer, and a second for the commit of what became of it.
const deliverBound = 11 * time.Second

// deliver hands the receipts of signals to the owners and waits until it is
// recorded that they are sent, or their processes have ended; for deliverBound
// at most, and not beyond ctx: the signals go on either way.
func (h *Host) deliver(ctx context.Context, receipts []*ledger.Receipt) {
	ctx, cancel := context.WithTimeout(ctx, deliverBound)
	defer cancel()
	type pending struct {
		o *owner
		r *order
	}
	var sent []pending
	for _, receipt := range receipts {
		if receipt.Kind() != event.KindSignalRequested {
			continue
		}
		if o := h.owner(receipt.Handle()); o != nil {
			if r := o.handIn(receipt); r != nil {
				sent = append(sent, pending{o, r})
			}
		}
	}
	for _, p := range sent {
		select {
		case <-p.r.done:
		case <-p.o.gone:
		case <-h.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// softCancel has the host's functions return cancelled in the invocations that
// the request names. A second time changes nothing. The committer calls it.
func (h *Host) softCancel(r CancelRequest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.invocations {
		if i.matches(r) {
			i.cancel(errorf(Cancelled, "%s", r.Reason))
		}
	}
}
