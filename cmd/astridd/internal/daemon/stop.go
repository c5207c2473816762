package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// stop ends the run in order: what is ephemeral is ended and its exit recorded,
// persistent processes stay with their shims. cause is why the start or the
// service failed, nil after a signal. A second signal ends the grace of what
// still runs, and nothing else.
func (d *Daemon) stop(w *watcher, cause error) error {
	d.setPhase(control.PhaseStopping)
	if m := d.damage.Load(); m != nil {
		// It holds nothing that it could end: see damaged.go.
		return m.close()
	}
	live := d.live.Load()
	if live == nil {
		return nil
	}
	reason := w.reason(cause)
	d.log.Info("stopping", "reason", reason)
	var err error
	if e := d.engine.Load(); e != nil {
		err = d.stopEngine(w, e, reason)
	} else {
		err = d.recordStop(live, reason)
	}
	return errors.Join(err, live.Close())
}

// stopEngine has the host end what runs and record the stop.
func (d *Daemon) stopEngine(w *watcher, e *engine, reason string) error {
	ctx, cancel := context.WithTimeout(w.second, d.cfg.Shutdown)
	defer cancel()
	err := e.host.Shutdown(ctx, reason)
	if err != nil {
		err = fmt.Errorf("shutdown: %w", err)
	}
	return errors.Join(err, e.close(context.WithoutCancel(ctx)))
}

// recordStop writes the last event of a run that never had a host. A ledger that cannot commit does not
// hold up the stop: a run without this event counts as crashed, which is what
// the next start assumes anyway.
func (d *Daemon) recordStop(live *projector.Live, reason string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := live.DecideEnding(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if run, ok := tip.Run(); !ok || run.Stopped.Seq != 0 {
			return nil, nil // the start never got as far as its own event
		}
		return []*event.Event{{
			Scope: event.Scope{Actor: event.Actor{Kind: event.ActorHost}},
			Body:  &event.DaemonStopped{Reason: reason},
		}}, nil
	})
	if err != nil {
		return fmt.Errorf("record the stop: %w", err)
	}
	return nil
}
