package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/astrid-os/processledger/cmd/astridd/internal/config"
	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// engine is what runs programs, there once the ledger is open.
type engine struct {
	policy *policy.Policy
	hands  *act.Hands
	host   *host.Host
	bus    *ipc.Bus

	// set and runner are nil until the capsules are loaded.
	set    *capsule.Set
	runner *capsule.Runner
}

// close lets go of everything without ending a process. The host is stopped
// first: a guest whose call waits for a ledger that cannot commit would never
// be given up. It is waited for after the guests, who call into it.
func (e *engine) close(ctx context.Context) error {
	e.host.Stop()
	var err error
	if e.runner != nil {
		e.runner.Close(ctx)
		err = e.set.Close(ctx)
	}
	e.host.Close()
	e.bus.Close() // last: the host publishes on it
	return errors.Join(err, e.hands.Close())
}

// newEngine puts the host together. Nothing is started or ended yet.
func (d *Daemon) newEngine(live *projector.Live, k keys) (*engine, error) {
	pol, err := policyOf(d.cfg)
	if err != nil {
		return nil, err
	}
	hands, err := act.New(live.Ledger(), act.Options{
		Dir: d.cfg.Data, Shim: d.cfg.Shim, Isolation: d.cfg.Isolation, Log: d.log,
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	unavailable := d.isolation.Reason
	d.mu.Unlock()
	bus := ipc.New(ipc.Options{})
	h, err := host.New(host.Options{
		Live: live, Hands: hands, Policy: pol, Workspaces: filepath.Join(d.cfg.Data, "workspaces"),
		RedactionKey: k.redaction, ProcessIDKey: k.processIDs, Bus: bus, Isolation: d.cfg.Isolation, Unavailable: unavailable, Log: d.log,
	})
	if err != nil {
		return nil, errors.Join(err, hands.Close())
	}
	return &engine{policy: pol, hands: hands, host: h, bus: bus}, nil
}

// policyOf makes the policy that the configuration states. Its gate denies
// everything until a capsule is loaded.
func policyOf(c *config.Config) (*policy.Policy, error) {
	p := policy.Config{Default: quotas(c.Quotas), Principals: map[string]policy.Quotas{}, PerCapsule: c.PerCapsule}
	for id, q := range c.Principals {
		p.Principals[id] = quotas(q)
	}
	return policy.New(p, policy.NewGate())
}

func quotas(q config.Quotas) policy.Quotas {
	return policy.Quotas{Background: q.Background, Sync: q.Sync, MaxTimeout: q.Timeout}
}

// probe tries what this machine allows. That namespaces are not to be had is
// no error: the daemon comes up, refuses every spawn and says why, so that an
// operator finds out from status and not from a crash loop.
func (d *Daemon) probe() error {
	if err := checkShim(d.cfg.Shim); err != nil {
		return err
	}
	r, err := act.Probe(d.cfg.Shim)
	if err != nil {
		return fmt.Errorf("isolation: %w", err)
	}
	iso := control.Isolation{Mode: d.cfg.Isolation, Available: true, Applied: r.Applied, Userns: strings.HasPrefix(r.Applied, "userns")}
	switch {
	case d.cfg.Isolation == config.IsolationNone:
		iso.Applied, iso.Userns = config.IsolationNone, false
		d.log.Warn("programs run without namespaces, as configured", "this_machine_allows", r.Isolation)
	case r.Isolation != config.IsolationPIDNS:
		iso.Available, iso.Applied, iso.Userns, iso.Reason = false, "", false, r.Reason
		d.problem("every spawn is refused: " + r.Reason)
	}
	d.mu.Lock()
	d.isolation = iso
	d.mu.Unlock()
	return nil
}

// checkShim tells early, and with a remedy, that the shim is missing.
func checkShim(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist; build it with: go build -o %s github.com/astrid-os/processledger/host/shim/astrid-shim (or set shim to where it is)", path, path)
	case err != nil:
		return fmt.Errorf("shim: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("shim: %s is no program", path)
	}
	return nil
}

// recover settles what an earlier run left.
func (d *Daemon) recover(ctx context.Context, h *host.Host) error {
	d.setPhase(control.PhaseRecovering)
	r, err := h.Recover(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.recovery = &r
	d.mu.Unlock()
	d.log.Info("recovery has finished", "adopted", r.Adopted, "exited", r.Exited, "lost", r.Lost, "aborted", r.Aborted,
		"failed", r.Failed, "ended", r.Ended, "orphans", r.Orphans, "resumed", r.Resumed, "pending", r.Pending, "silent", r.Silent)
	if r.Foreign > 0 {
		d.problem(fmt.Sprintf("the ledger is older than %s that ran: was it restored from a backup? They were ended; orphan.ended events say what they were", ui.Count(r.Foreign, "program")))
	}
	if r.Missing > 0 {
		d.problem(missingText(r))
	}
	return nil
}

// missingText says what may have become of process directories. What ran when the
// power went off may have lost its directory with it: the name of one is on the
// disk for certain only once its process has ended.
func missingText(r event.RecoveryFinished) string {
	s := ui.Count(r.Missing, "process") + " had lost the directory in processes/: "
	if r.LostReboot == 0 {
		return s + "was that deleted, or the data restored without it?"
	}
	return s + "the machine was started again, and a power cut can take it from what ran; if there was none, was it deleted, or the data restored without it?"
}
