//go:build linux

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/host/conformance"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger/event"
)

// inProcess is this project's host, in the process of the tests.
type inProcess struct {
	t testing.TB
	w *capsuletest.World
}

var operator = event.Actor{Kind: event.ActorOperator}

// Start implements Host.
func (h *inProcess) Start(_ context.Context, s conformance.Setup) error {
	dir := h.t.TempDir()
	for _, c := range s.Capsules {
		at := filepath.Join(dir, c.Name)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(at, capsule.ManifestName), []byte(c.Manifest), 0o644); err != nil {
			return err
		}
		if err := os.Link(c.Module, filepath.Join(at, "interpreter.wasm")); err != nil {
			return err
		}
	}
	config := policy.DefaultConfig()
	config.Principals = map[string]policy.Quotas{}
	for _, p := range s.Profiles {
		q, ok := config.Principals[p.Principal]
		if !ok {
			q = policy.DefaultQuotas()
		}
		if p.MaxBackground != nil {
			q.Background = *p.MaxBackground
		}
		if p.MaxTimeoutSecs != nil {
			q.MaxTimeout = time.Duration(*p.MaxTimeoutSecs) * time.Second
		}
		config.Principals[p.Principal] = q
	}
	h.w = capsuletest.Open(h.t, capsuletest.Options{Dir: dir, Config: config, Cache: cache(), Run: capsule.RunOptions{Log: slog.New(slog.DiscardHandler)}})
	return nil
}

// Invoke implements Host.
func (h *inProcess) Invoke(ctx context.Context, c conformance.Call) (conformance.Answer, error) {
	a, err := h.w.Runner.Invoke(ctx, capsule.Invocation{
		Principal: c.Principal, Capsule: c.Capsule, CallID: c.CallID, Action: "run", Payload: []byte(c.Payload),
	})
	var failed *capsule.CallError
	switch {
	case err == nil:
		return conformance.Answer{Outcome: "ok", Data: string(a.Data)}, nil
	case !errors.As(err, &failed):
		return conformance.Answer{}, err
	case failed.Outcome == capsule.OutcomeTrap:
		return conformance.Answer{Outcome: "trap", Detail: failed.Detail}, nil
	default:
		return conformance.Answer{Outcome: "given-up", Detail: failed.Detail}, nil
	}
}

// Cancel implements Host.
func (h *inProcess) Cancel(ctx context.Context, principal, capsule, callID string) error {
	_, err := h.w.Host.Cancel(ctx, operator, host.CancelRequest{Principal: principal, Capsule: capsule, CallIDs: []string{callID}})
	return err
}

// Retire implements Host.
func (h *inProcess) Retire(ctx context.Context, principal string) error {
	if _, err := h.w.Host.Cancel(ctx, operator, host.CancelRequest{Principal: principal}); err != nil {
		return err
	}
	for over := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if n, _ := h.Running(ctx, principal); n == 0 {
			break
		}
		if time.Now().After(over) {
			return errors.New("processes of a retired principal live on")
		}
	}
	return nil
}

// Running implements Host.
func (h *inProcess) Running(_ context.Context, principal string) (int, error) {
	return int(h.w.Live.Snapshot().LivePrincipal(principal).Total()), nil
}

// Granted implements Granter.
func (h *inProcess) Granted(_ context.Context, principal string) (string, error) {
	all := h.w.Events(h.t, event.KindSpawnDecided)
	for _, e := range slices.Backward(all) {
		d := e.Body.(*event.SpawnDecided)
		if e.Principal == principal && d.Outcome == event.OutcomeGranted {
			text := fmt.Sprintf("lifetime=%v idle=%v retention=%v ring=%d overflow=%d keep-stdin-open=%v", time.Duration(d.Orders.LifetimeNano),
				time.Duration(d.IdleNano), time.Duration(d.RetentionNano), d.RingBytes, d.Overflow, d.KeepStdinOpen)
			return text + h.stopping(e.Handle), nil
		}
	}
	return "nothing", nil
}

// stopping tells of the grace of a stop.
func (h *inProcess) stopping(id ulid.ULID) string {
	for _, e := range h.w.Events(h.t, event.KindStopRequested) {
		if e.Handle == id {
			return fmt.Sprintf(" grace=%v", time.Duration(e.Body.(*event.StopRequested).GraceNano))
		}
	}
	return ""
}

// Restart implements Host.
func (h *inProcess) Restart(context.Context) error {
	h.w.Restart(h.t)
	return nil
}

// Close implements Host: the world is closed, and checked, with the test.
func (h *inProcess) Close() error { return nil }
