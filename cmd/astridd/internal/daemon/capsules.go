package daemon

import (
	"context"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// Capsules implements serve.Backend.
func (d *Daemon) Capsules() *control.Capsules {
	return &control.Capsules{Capsules: []control.Capsule{}}
}

// Invoke implements serve.Backend.
func (d *Daemon) Invoke(ctx context.Context, by event.Actor, in *control.Invocation) (*control.Answer, error) {
	return nil, control.Errorf(control.CodeNotFound, "there is no capsule %q", in.Capsule)
}
