package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Unrecorded implements serve.Backend.
func (d *Daemon) Unrecorded() []string {
	e := d.engine.Load()
	if e == nil {
		return nil
	}
	return texts(e.host.Unrecorded())
}

// ready returns the engine once the daemon takes requests, else why not. While
// calls may end before a restart, they can still be looked at, stopped and
// cancelled.
func (d *Daemon) ready() (*engine, error) {
	if m := d.damage.Load(); m != nil {
		return nil, m.refusal()
	}
	phase := d.currentPhase()
	e := d.engine.Load()
	switch {
	case e != nil && (phase == control.PhaseReady || phase == control.PhaseRestarting):
		return e, nil
	case d.before != nil && phase != control.PhaseStopping:
		return nil, control.Errorf(control.CodeRestarting, "the daemon is being restarted, and is %s", phase).WithHint("ask again in a moment")
	}
	return nil, control.Errorf(control.CodeUnavailable, "the daemon is %s", phase).WithHint("try again once status says ready")
}

// taking returns the engine while new calls are taken, else why not.
func (d *Daemon) taking() (*engine, error) {
	e, err := d.ready()
	if err == nil && d.currentPhase() == control.PhaseRestarting {
		err = control.Errorf(control.CodeRestarting, "the daemon is being restarted").WithHint("ask again in a moment")
	}
	return e, err
}

// Cancel implements serve.Backend.
func (d *Daemon) Cancel(ctx context.Context, by event.Actor, r *control.CancelRequest) (*control.CancelAnswer, error) {
	e, err := d.ready()
	if err != nil {
		return nil, err
	}
	// Those that wait come first: in this order none falls between the two.
	waiting := e.runner.CancelWaiting(r.Principal, r.Capsule, r.CallIDs)
	result, err := e.host.Cancel(ctx, by, host.CancelRequest{
		Principal: r.Principal, Capsule: r.Capsule, CallIDs: r.CallIDs, Reason: r.Reason,
	})
	if err != nil {
		return nil, hostError(err)
	}
	return &control.CancelAnswer{
		Cancel: result.ID.String(), Handles: texts(result.Handles), Unrecorded: result.Unrecorded, Waiting: waiting,
	}, nil
}

// Idle implements serve.Backend.
func (d *Daemon) Idle() map[string]time.Duration {
	e := d.engine.Load()
	if e == nil {
		return nil
	}
	idle := map[string]time.Duration{}
	for id, unused := range e.host.Idle() {
		idle[id.String()] = unused
	}
	return idle
}

// Stop implements serve.Backend.
func (d *Daemon) Stop(ctx context.Context, by event.Actor, r *control.StopRequest) (*control.StopAnswer, error) {
	id, err := ulid.ParseStrict(r.ID)
	if err != nil {
		return nil, control.Errorf(control.CodeUsage, "%q is no process's id: %v", r.ID, err)
	}
	var grace *time.Duration
	if r.GraceNano != nil {
		grace = new(time.Duration(*r.GraceNano))
	}
	if m := d.damage.Load(); m != nil {
		return m.stop(ctx, by, id, grace)
	}
	e, err := d.ready()
	if err != nil {
		return nil, err
	}
	stopped, err := e.host.StopHandle(ctx, by, id, grace)
	if err != nil {
		return nil, hostError(err)
	}
	a := &control.StopAnswer{ID: id.String(), Cause: stopped.Cause, Released: stopped.Released}
	if x := stopped.Exit; x != nil {
		a.Exit = &control.Exit{Code: x.Code, Signal: x.Signal}
	}
	return a, nil
}

// BackedUp implements serve.Backend.
func (d *Daemon) BackedUp(ctx context.Context, by event.Actor, b *control.Backup) (*control.BackupAnswer, error) {
	if _, err := d.ready(); err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(b.ManifestSHA256)
	if err != nil {
		return nil, control.Errorf(control.CodeUsage, "%.80q is no SHA-256", b.ManifestSHA256)
	}
	body := &event.LedgerBackedUp{
		Directory: strings.ToValidUTF8(b.Directory, "\uFFFD"), Through: b.Through, Segments: b.Segments, Bytes: b.Bytes, ManifestSHA256: sum,
	}
	c, err := d.live.Load().Decide(ctx, func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: event.Scope{Actor: by}, Body: body}}, nil
	})
	if err != nil {
		return nil, err
	}
	return &control.BackupAnswer{Seq: c.Events[0].Seq}, nil
}

func texts(ids []ulid.ULID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// codes are what the contract's codes mean to an operator.
var codes = map[host.Code]control.Code{
	host.CapabilityDenied: control.CodeDenied, host.PersistUnsupported: control.CodeDenied,
	host.BoundaryEscape: control.CodeDenied,
	host.InvalidInput:   control.CodeUsage, host.TooLarge: control.CodeUsage,
	host.Quota: control.CodeQuota, host.RegistryFull: control.CodeQuota,
	host.NoSuchProcess: control.CodeNotFound,
	host.Cancelled:     control.CodeCancelled, host.WaitTimeout: control.CodeDeadline,
}

// hostError gives an error of the host its code on the wire; others stay.
func hostError(err error) error {
	var he *host.Error
	if !errors.As(err, &he) {
		return err
	}
	if code, ok := codes[he.Code]; ok {
		return control.Errorf(code, "%v", he)
	}
	return control.Errorf(control.CodeFailed, "%v", he)
}
