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

// stop ends the run in order. cause is why the start or the service failed, nil
// after a signal. A second signal only ends the waiting: what still runs then
// is left to its shim's standing orders, as in a crash, and the next start
// settles it.
func (d *Daemon) stop(w *watcher, cause error) error {
	d.setPhase(control.PhaseStopping)
	live := d.live.Load()
	if live == nil {
		return nil
	}
	reason := w.reason(cause)
	d.log.Info("stopping", "reason", reason)
	return errors.Join(d.recordStop(live, reason, 0), live.Close())
}

// recordStop writes the run's last event. A ledger that cannot commit does not
// hold up the stop: a run without this event counts as crashed, which is what
// the next start assumes anyway.
func (d *Daemon) recordStop(live *projector.Live, reason string, ended uint32) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := live.Decide(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if run, ok := tip.Run(); !ok || run.Stopped.Seq != 0 {
			return nil, nil // the start never got as far as its own event
		}
		return []*event.Event{{
			Scope: event.Scope{Actor: event.Actor{Kind: event.ActorHost}},
			Body:  &event.DaemonStopped{Reason: reason, Ended: ended},
		}}, nil
	})
	if err != nil {
		return fmt.Errorf("record the stop: %w", err)
	}
	return nil
}
