package host

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Invocation is a call of a capsule that has begun. Finish it, once.
type Invocation struct {
	h      *Host
	caller Caller
	began  time.Time
	cancel context.CancelCauseFunc
}

// Finished is how an invocation ended.
type Finished struct {
	Outcome      string // "ok", "error", "trap", "cancelled" or "deadline"
	Returned     string // the action that the guest returned
	Detail       string // the trap or error, for people
	InstanceLost bool   // the instance was discarded (trap or hard cancel)
}

// ErrNameTooLong: a call id or action is longer than an event can hold.
var ErrNameTooLong = errors.New("call id and action may have 256 bytes each at most")

// BeginInvocation records that a capsule is about to be called, and blocks
// until that is durable. The context it returns is the soft cancel of the call:
// it is done when a cancel reaches the invocation, or ctx is; what the host does
// for the guest takes it.
func (h *Host) BeginInvocation(ctx context.Context, c Caller, action string, payload []byte) (context.Context, *Invocation, error) {
	if len(c.CallID) > nameRoom || len(action) > nameRoom {
		return nil, nil, ErrNameTooLong
	}
	i := &Invocation{h: h, caller: c, began: time.Now()}
	soft, cancel := context.WithCancelCause(ctx)
	i.cancel = cancel
	// Known before it is recorded: a cancel that comes after it in the ledger
	// finds it.
	if err := h.begin(i); err != nil {
		cancel(nil)
		return nil, nil, err
	}
	body := &event.InvocationStarted{
		Action: valid(action), PayloadBytes: uint64(len(payload)),
		PayloadDigest: h.digest(func(w io.Writer) { w.Write(payload) }),
	}
	tried := false
	_, err := h.decide(ctx, func(*projector.State, ledger.Header) ([]*event.Event, error) {
		tried = true
		return []*event.Event{{Scope: c.scope(), Body: body}}, nil
	})
	if err != nil {
		if tried && errors.Is(err, ledger.ErrFailed) { // it may stand in the ledger all the same
			h.work.Go(func() {
				_ = i.Finish(Finished{Outcome: "error", Detail: "its start could not be recorded for certain"})
			})
		} else {
			h.drop(i)
		}
		return nil, nil, answer(err)
	}
	// A crash from here to Finish leaves an open invocation: recovery finishes
	// it with outcome "daemon-restart".
	crashpoint.Here("daemon.invocation.started")
	return soft, i, nil
}

// Finish records how the call ended and blocks until that is durable: only then
// may the caller see the answer.
func (i *Invocation) Finish(f Finished) error {
	defer i.h.drop(i)
	body := &event.InvocationFinished{
		Outcome: f.Outcome, Returned: cut(f.Returned, nameRoom), Detail: cut(f.Detail, textRoom),
		InstanceLost: f.InstanceLost, DurationNano: time.Since(i.began).Nanoseconds(),
	}
	_, err := i.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		scope := i.caller.scope()
		if !openInvocation(tip, scope) {
			return nil, nil
		}
		return []*event.Event{{Scope: scope, Body: body}}, nil
	})
	if err != nil {
		return answer(err)
	}
	// A crash here leaves a finished invocation whose caller was not told.
	crashpoint.Here("daemon.invocation.finished")
	return nil
}

func openInvocation(s *projector.State, scope event.Scope) bool {
	return slices.ContainsFunc(s.Invocations(), func(i *projector.Invocation) bool {
		return i.Principal == scope.Principal && i.Capsule == scope.Capsule && i.Instance == scope.Instance && i.CallID == scope.CallID
	})
}

func (h *Host) begin(i *Invocation) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing != "" {
		return errorf(Unknown, "%s", h.closing)
	}
	h.invocations[i] = struct{}{}
	return nil
}

func (h *Host) drop(i *Invocation) {
	h.mu.Lock()
	delete(h.invocations, i)
	h.mu.Unlock()
	i.cancel(nil)
}

// matches tells whether a cancel reaches the invocation.
func (i *Invocation) matches(r CancelRequest) bool {
	return (r.Principal == "" || r.Principal == i.caller.Principal) &&
		(r.Capsule == "" || r.Capsule == i.caller.Capsule) &&
		(len(r.CallIDs) == 0 || slices.Contains(r.CallIDs, i.caller.CallID))
}

// InstanceGone ends and releases every process that belongs to an instance of
// a capsule that is no more. It blocks until they are released or ctx is done;
// the work goes on either way.
func (h *Host) InstanceGone(ctx context.Context, principal, capsule, instance, reason string) {
	gone := h.ownersOf(func(o *owner) bool {
		s := o.scope
		return s.Principal == principal && s.Capsule == capsule && s.Instance == instance && projector.Ephemeral(o.tier)
	})
	if len(gone) > 0 {
		h.log.Info("an instance is gone; its processes end", "principal", principal, "capsule", capsule,
			"instance", instance, "reason", reason, "processes", len(gone))
	}
	for _, o := range gone {
		o.forbidGo("caller-gone")
		o.letGo("instance-gone", "released")
	}
	for _, o := range gone {
		select {
		case <-o.gone:
		case <-ctx.Done():
			return
		}
	}
}
