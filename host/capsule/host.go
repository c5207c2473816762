package capsule

import (
	"context"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/bind"
)

// On returns the process host as a Runner needs it.
func On(h *host.Host) Host { return onHost{h} }

type onHost struct{ *host.Host }

// SpawnBackground implements bind.Processes: a *host.Process is a bind.Process.
func (h onHost) SpawnBackground(ctx context.Context, c host.Caller, r host.Request) (bind.Process, error) {
	p, err := h.Host.SpawnBackground(ctx, c, r)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Attach implements bind.Processes.
func (h onHost) Attach(ctx context.Context, c host.Caller, id string) (bind.Process, error) {
	p, err := h.Host.Attach(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// BeginInvocation implements Host: a *host.Invocation is a Record.
func (h onHost) BeginInvocation(ctx context.Context, c host.Caller, action string, payload []byte) (context.Context, Record, error) {
	soft, i, err := h.Host.BeginInvocation(ctx, c, action, payload)
	if err != nil {
		return nil, nil, err
	}
	return soft, i, nil
}
