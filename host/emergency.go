package host

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// urgent is an ending that the ledger could not record first, and why.
type urgent struct {
	want event.SignalRequested
	why  error
}

// hurry has the owner end its process although the ledger cannot commit.
func (o *owner) hurry(want *event.SignalRequested, why error) {
	o.mu.Lock()
	o.urgent = append(o.urgent, urgent{*want, why})
	o.cancelled = o.cancelled || want.Cause == "cancel"
	o.mu.Unlock()
	o.poke()
}

// carryOutUrgent does what hurry asked for.
func (o *owner) carryOutUrgent() {
	o.mu.Lock()
	list := o.urgent
	o.urgent = nil
	o.mu.Unlock()
	for _, u := range list {
		if !o.over() && !o.closing {
			o.emergency(&u.want, u.why, nil)
		}
	}
}

// emergency is the one exception to "no receipt, no act": while the ledger
// cannot commit, an ending is carried out, and recorded late with true times.
// owed are bodies that should have been recorded with it.
func (o *owner) emergency(want *event.SignalRequested, why error, owed []event.Body) {
	o.owed = append(o.owed, owed...)
	if o.child == nil {
		return
	}
	scope := o.scope
	scope.Actor = hostActor
	o.h.acted("emergency %s, cause %s", unix.SignalName(unix.Signal(want.Signal)), want.Cause)
	if _, err := o.h.hands.Emergency(o.child, why, scope, *want); err != nil {
		o.h.log.Error("a process could not be ended while the ledger cannot commit", "handle", o.id, "error", err)
	}
	o.killLater(want, boottime())
	o.h.work.Go(o.h.recordLate)
}

// delivery is what to record of a signal.
func delivery(r act.SignalResult, err error) (delivered bool, detail string) {
	if err != nil && r.Detail == "" {
		return false, fmt.Sprintf("unknown whether it arrived: %v", err)
	}
	return r.Delivered, r.Detail
}

// recordLate records what was done in an emergency, as soon as the ledger can.
// It returns when nothing is left to record, or the host closes. An owner calls
// it before it records an exit, so that a signal stands before what it caused.
func (h *Host) recordLate() {
	h.lateMu.Lock()
	defer h.lateMu.Unlock()
	intents := h.hands.Late()
	cancels := h.takeLateCancels()
	known := h.standing(intents)
	if len(intents) == 0 && len(cancels) == 0 {
		return
	}
	_, err := h.record(func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
		es := lateCancelEvents(tip, cancels)
		for n, i := range intents {
			if !known[n] {
				es = append(es, lateSignal(tip, i, next.Seq+uint64(len(es)))...)
			}
		}
		return es, nil
	})
	if err != nil {
		h.log.Error("endings carried out in an emergency are not recorded", "intents", len(intents), "error", err)
		return
	}
	h.hands.Recorded(len(intents))
}

// standing tells of which intents of an earlier daemon the ledger says already
// that they were carried out: that daemon died before it could forget them. The
// moment of the signal tells them apart.
func (h *Host) standing(intents []act.Intent) map[int]bool {
	known := map[int]bool{}
	for n, i := range intents {
		if i.Earlier && h.stands(i) {
			known[n] = true
		}
	}
	return known
}

// stands walks back through the events of the intent's handle.
func (h *Host) stands(i act.Intent) bool {
	var seq uint64
	h.live.View(func(s *projector.State) { seq = s.LastSeq(i.Scope.Handle) })
	if seq == 0 {
		return h.orphanStands(i)
	}
	for seq > 0 {
		e, err := h.live.Ledger().Get(h.ctx, seq)
		if err != nil {
			return false
		}
		if q, ok := e.Body.(*event.SignalRequested); ok && q.Late && q.SentWall == i.Request.SentWall {
			return true
		}
		seq = e.Prev
	}
	return false
}

// orphanStands is stands for a handle that is not held: no chain of events leads
// to what was told of it. It is looked for from the newest event back to when the
// signal was sent; the slack is for a clock that was set meanwhile.
func (h *Host) orphanStands(i act.Intent) bool {
	const slack = time.Hour
	told := lateOrphan(i)[0].Body.(*event.OrphanEnded)
	first, last := h.live.Ledger().Bounds()
	for e, err := range h.live.Ledger().Reverse(h.ctx, first, last) {
		if err != nil || ulid.Time(e.ID.Time()).Before(time.Unix(0, i.Request.SentWall).Add(-slack)) {
			return false
		}
		if o, ok := e.Body.(*event.OrphanEnded); ok && e.Handle == i.Scope.Handle && o.Reason == told.Reason {
			return true
		}
	}
	return false
}

// lateSignal is the pair of events of one intent; seq is what the first gets.
// For a handle that the ledger does not hold, as after it was salvaged or
// restored, the end of an orphan is all that can be told.
func lateSignal(tip *projector.State, i act.Intent, seq uint64) []*event.Event {
	if _, held := tip.Handle(i.Scope.Handle); !held {
		return lateOrphan(i)
	}
	request := i.Request
	delivered, detail := delivery(i.Result, nil)
	return []*event.Event{
		{Scope: i.Scope, Body: &request},
		{Scope: i.Scope, Body: &event.SignalSent{Request: seq, Signal: request.Signal, Delivered: delivered, Detail: valid(detail)}},
	}
}

// lateOrphan tells of an intent of an earlier daemon for a handle that is not
// held. One of this daemon is left out: its handle was released meanwhile, and
// its end says what there is to say.
func lateOrphan(i act.Intent) []*event.Event {
	if !i.Earlier {
		return nil
	}
	how := "sent"
	if !i.Result.Delivered {
		how = "asked for (" + valid(i.Result.Detail) + ")"
	}
	reason := fmt.Sprintf("%s (cause %s) was %s at %s, while there was no ledger", unix.SignalName(unix.Signal(i.Request.Signal)), valid(i.Request.Cause),
		how, time.Unix(0, i.Request.SentWall).UTC().Format(time.RFC3339Nano))
	return []*event.Event{{Scope: i.Scope, Body: &event.OrphanEnded{Directory: i.Scope.Handle.String(), Reason: reason}}}
}

// lateCancel is a cancel that could not be recorded when it was asked for.
type lateCancel struct {
	id      ulid.ULID
	actor   event.Actor
	request CancelRequest
	handles []ulid.ULID
}

func (h *Host) takeLateCancels() []lateCancel {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.lateCancels
	h.lateCancels = nil
	return list
}

// lateCancelEvents record cancels with the handles that still live; one that
// turns out to stand in the ledger is left alone.
func lateCancelEvents(tip *projector.State, cancels []lateCancel) (es []*event.Event) {
	for _, c := range cancels {
		if _, known := tip.Cancel(c.id); known {
			continue
		}
		body := &event.CancelRequested{Cancel: c.id[:], CallIDs: c.request.CallIDs, Reason: valid(c.request.Reason)}
		for _, id := range c.handles {
			if handle, ok := tip.Handle(id); ok && handle.Phase.Live() {
				body.Handles = append(body.Handles, handle.ID[:])
			}
		}
		scope := event.Scope{Principal: c.request.Principal, Capsule: c.request.Capsule, Actor: c.actor}
		es = append(es, &event.Event{Scope: scope, Body: body})
		if len(body.Handles) == 0 {
			es = append(es, cancelFinished(&projector.Cancel{ID: c.id, Principal: scope.Principal, Capsule: scope.Capsule}))
		}
	}
	return es
}

// cancelUnrecorded ends what a cancel reaches although it cannot be recorded.
func (h *Host) cancelUnrecorded(actor event.Actor, r CancelRequest, why error, result *CancelResult) {
	result.Unrecorded, result.Handles = true, nil
	h.live.View(func(s *projector.State) {
		for _, handle := range s.Reached(r.Principal, r.Capsule, r.CallIDs) {
			result.Handles = append(result.Handles, handle.ID)
		}
	})
	h.mu.Lock()
	h.lateCancels = append(h.lateCancels, lateCancel{result.ID, actor, r, result.Handles})
	h.mu.Unlock()
	for _, id := range result.Handles {
		if o := h.owner(id); o != nil {
			o.forbidGo("cancelled")
			o.hurry(r.signal(result.ID), why)
		}
	}
	// After it: whoever leaves because of the cancel is to find that it ends
	// the process.
	h.softCancel(r)
	h.work.Go(h.recordLate)
}

// Unrecorded returns the handles whose processes have ended while the ledger
// could not record it yet. Nobody who waits for them has been told.
func (h *Host) Unrecorded() []ulid.ULID {
	var ids []ulid.ULID
	for _, o := range h.ownersOf(func(o *owner) bool { return o.unrecorded.Load() }) {
		ids = append(ids, o.id)
	}
	return ids
}
