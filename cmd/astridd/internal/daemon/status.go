package daemon

import (
	"os"
	"strings"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
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
	s.Phase, s.Isolation, s.Recovery = d.phase, d.isolation, recoveryOf(d.recovery)
	s.Problems = append([]string{}, d.problems...)
	for _, c := range d.capsules {
		if c.Loaded {
			s.Capsules++
		}
	}
	d.mu.Unlock()
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
	select {
	case <-log.Failed():
		s.Ledger.Failed = "a commit failed; the daemon reopens the ledger, and nothing starts until then"
		s.Problems = append(s.Problems, "ledger: "+s.Ledger.Failed)
	default:
	}
	live.View(func(st *projector.State) {
		s.Live = int(st.LiveAll().Total())
		s.Retained = int(st.HeldAll().Total()) - s.Live
		s.Usage = append(s.Usage, control.UsageOf(st)...)
	})
	for i := range s.Usage {
		d.setCaps(&s.Usage[i])
	}
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

func recoveryOf(r *event.RecoveryFinished) *control.Recovery {
	if r == nil {
		return nil
	}
	return &control.Recovery{
		Adopted: r.Adopted, Exited: r.Exited, Lost: r.Lost, Aborted: r.Aborted, Failed: r.Failed,
		Ended: r.Ended, Orphans: r.Orphans, Resumed: r.Resumed, TookNano: r.TookNano,
	}
}

// Live implements serve.Backend.
func (d *Daemon) Live() *projector.Live { return d.live.Load() }
