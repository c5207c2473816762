package daemon

import (
	"context"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// Unrecorded implements serve.Backend.
func (d *Daemon) Unrecorded() []string { return nil }

// Capsules implements serve.Backend.
func (d *Daemon) Capsules() *control.Capsules {
	return &control.Capsules{Capsules: []control.Capsule{}}
}

// Invoke implements serve.Backend.
func (d *Daemon) Invoke(ctx context.Context, by event.Actor, in *control.Invocation) (*control.Answer, error) {
	return nil, control.Errorf(control.CodeNotFound, "there is no capsule %q", in.Capsule)
}

// Cancel implements serve.Backend.
func (d *Daemon) Cancel(ctx context.Context, by event.Actor, r *control.CancelRequest) (*control.CancelAnswer, error) {
	return nil, control.Errorf(control.CodeUnavailable, "the daemon cannot cancel yet")
}
