package daemon

import (
	"fmt"
	"os"
	"strings"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/projector"
)

// Status implements serve.Backend.
func (d *Daemon) Status() *control.Status {
	s := &control.Status{
		Version: d.version, API: control.Version, PID: os.Getpid(), UID: os.Geteuid(), Started: d.started,
		Data: d.cfg.Data, Socket: d.cfg.Socket, Config: d.cfg.Path,
		Usage: []control.Usage{},
	}
	d.mu.Lock()
	s.Phase, s.Isolation = d.phase, d.isolation
	if d.before != nil {
		s.Restart = d.before.restart(d.gap)
	}
	if d.recovery != nil {
		s.Recovery = control.RecoveryOf(d.recovery)
	}
	s.Problems = append([]string{}, d.problems...)
	for _, c := range d.capsules {
		if c.Loaded {
			s.Capsules++
		}
	}
	d.mu.Unlock()
	if e := d.engine.Load(); e != nil {
		addProgress(s, e.host.Progress())
	}
	if m := d.damage.Load(); m != nil {
		m.status(s)
	} else if live := d.live.Load(); live != nil {
		d.ledgerStatus(s, live)
	}
	return s
}

// ledgerStatus fills in what the ledger and its state tell.
func (d *Daemon) ledgerStatus(s *control.Status, live *projector.Live) {
	log := live.Ledger()
	s.Ledger.ID = log.ID().String()
	s.Ledger.First, s.Ledger.Last = log.Bounds()
	ledgerCondition(s, log.Condition())
	live.View(func(st *projector.State) {
		s.Live = int(st.LiveAll().Total())
		s.Retained = int(st.HeldAll().Total()) - s.Live
		s.Usage = append(s.Usage, control.UsageOf(st)...)
	})
	for i := range s.Usage {
		d.setCaps(&s.Usage[i])
	}
}

// ledgerCondition tells whether the ledger can commit, and what to do if not.
func ledgerCondition(s *control.Status, c ledger.Condition) {
	s.Ledger.State = string(c.State)
	if c.State == ledger.StateOK {
		return
	}
	s.Ledger.Since, s.Ledger.Error, s.Ledger.Remedy = &c.Since, c.Err.Error(), c.Remedy()
	problem := "ledger: the disk is full; nothing starts, and endings are recorded as long as the reserve lasts"
	if c.State == ledger.StateFailed {
		s.Ledger.Failed = "the ledger cannot commit; nothing starts, and what runs can be ended"
		problem = "ledger: " + s.Ledger.Failed
	}
	s.Problems = append(s.Problems, fmt.Sprintf("%s: %s; remedy: %s", problem, s.Ledger.Error, s.Ledger.Remedy))
}

// setCaps fills in the caps of a scope.
func (d *Daemon) setCaps(u *control.Usage) {
	if principal, ok := strings.CutPrefix(u.Scope, "principal:"); ok {
		q := d.cfg.Of(principal)
		u.Cap, u.SyncCap = q.Background, q.Sync
		return
	}
	u.Cap = d.cfg.PerCapsule
}

// addProgress fills in how far the recovery has come, or what it left to go on.
func addProgress(s *control.Status, p host.Progress) {
	switch {
	case s.Recovery != nil:
		s.Recovery.Settling = uint32(p.Settling)
	case s.Phase == control.PhaseRecovering:
		s.Progress = &control.Progress{Matched: uint32(p.Matched), Total: uint32(p.Total)}
	}
}

// Live implements serve.Backend.
func (d *Daemon) Live() *projector.Live { return d.live.Load() }
