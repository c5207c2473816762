package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// Invoke implements serve.Backend.
func (d *Daemon) Invoke(ctx context.Context, by event.Actor, in *control.Invocation) (*control.Answer, error) {
	e, err := d.taking()
	if err == nil {
		err = d.served(in.Capsule)
	}
	if err != nil {
		return nil, err
	}
	inv := capsule.Invocation{
		Principal: in.Principal, Capsule: in.Capsule, Action: in.Action, Payload: in.Payload, CallID: in.CallID, Actor: by,
	}
	if inv.CallID == "" {
		inv.CallID = ulid.Make().String()
	}
	began := time.Now()
	a, err := e.runner.Invoke(ctx, inv)
	if err != nil {
		return nil, d.callError(err)
	}
	out := &control.Answer{
		CallID: inv.CallID, Instance: a.Instance, Outcome: a.Outcome, Action: a.Action, TookNano: time.Since(began).Nanoseconds(),
	}
	if a.HasData {
		text := string(a.Data)
		out.Data = &text
	}
	for _, m := range a.Published {
		out.Results = append(out.Results, m.Payload)
	}
	return out, nil
}

// refusals are what the runner's errors mean to an operator.
var refusals = []struct {
	err  error
	code control.Code
}{
	{capsule.ErrUnknownCapsule, control.CodeNotFound},
	{capsule.ErrUnknownAction, control.CodeNotFound},
	{capsule.ErrBadPrincipal, control.CodeUsage},
	{capsule.ErrPayloadTooBig, control.CodeUsage},
	{capsule.ErrBackground, control.CodeUsage},
	{capsule.ErrBusy, control.CodeQuota},
	{capsule.ErrClosed, control.CodeUnavailable},
	{capsule.ErrCancelled, control.CodeCancelled},
}

// callError is invokeError, but that what was not begun because of a restart is to
// be asked for again.
func (d *Daemon) callError(err error) error {
	if errors.Is(err, capsule.ErrClosed) && d.currentPhase() == control.PhaseRestarting {
		return control.Errorf(control.CodeRestarting, "the daemon is being restarted, and nothing was called").WithHint("ask again in a moment")
	}
	return invokeError(err)
}

// invokeError gives an error of the runner its code on the wire.
func invokeError(err error) error {
	var call *capsule.CallError
	if errors.As(err, &call) {
		// The outcomes are spelled like the codes.
		return control.Errorf(control.Code(call.Outcome), "%v", call)
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return control.Errorf(r.code, "%v", err)
		}
	}
	return hostError(err)
}
