package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// start brings the daemon up. A crash at any line of it leaves a ledger that
// the next start opens, and processes that the next recovery settles; nothing
// here acts on a process before recovery.started is durable.
func (d *Daemon) start(ctx context.Context) error {
	keys, err := loadKeys(d.cfg.Data)
	if err != nil {
		return err
	}
	compiled := d.loadCapsules(ctx)
	// Side by side: both take a few milliseconds, whatever the history.
	probed := make(chan error, 1)
	go func() { probed <- d.probe() }()
	err = d.openLedger(ctx)
	if perr := <-probed; perr != nil {
		return errors.Join(err, perr)
	}
	if m := d.damageOf(err); m != nil {
		return d.stay(m)
	}
	if err != nil {
		return err
	}
	if err := keys.loadProcessIDs(d.cfg.Data, d.live.Load().Snapshot()); err != nil {
		return err
	}
	if err := d.recordStart(ctx); err != nil {
		return err
	}
	e, err := d.newEngine(d.live.Load(), keys)
	if err != nil {
		return err
	}
	d.engine.Store(e)
	if err := d.recover(ctx, e.host); err != nil {
		return err
	}
	select {
	case l := <-compiled:
		return d.serveCapsules(ctx, e, l)
	case <-ctx.Done():
		// Nothing breaks off a compilation. It uses nothing of what the
		// stopping daemon gives back, and ends with the process.
		return ctx.Err()
	}
}

// serveCapsules records the capsules and takes invocations from then on.
func (d *Daemon) serveCapsules(ctx context.Context, e *engine, l loaded) error {
	if l.err != nil {
		return l.err
	}
	e.set = l.set
	e.runner = capsule.NewRunner(l.set, capsule.On(e.host), capsule.RunOptions{
		Deadline: d.cfg.Deadline, Log: d.log, Bus: e.bus, SystemPrincipal: d.cfg.SystemPrincipal,
		InstanceMemory: d.cfg.InstanceMemory, Config: d.cfg.CapsuleConfig,
	})
	return d.takeCapsules(ctx, e)
}

// openLedger opens the ledger and replays its newest segment.
func (d *Daemon) openLedger(ctx context.Context) error {
	if d.layout != nil {
		return d.layout
	}
	if err := d.missing(); err != nil {
		return err
	}
	done, err := d.trying(ctx)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	live, err := projector.Open(d.ledgerDir(), ledger.Options{
		SegmentEvents: d.cfg.Ledger.SegmentEvents,
		SegmentBytes:  d.cfg.Ledger.SegmentBytes,
		Reserve:       d.cfg.Ledger.Reserve,
		Log:           d.log,
	})
	done()
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	d.live.Store(live)
	first, last := live.Ledger().Bounds()
	d.log.Info("ledger is open", "id", live.Ledger().ID(), "first_seq", first, "last_seq", last)
	return nil
}

// recordStart records this run and, where it is another than the one in force,
// the policy. Both are one commit, so no decision can fall between them. It may
// use the reserve: without a daemon nothing is ended.
func (d *Daemon) recordStart(ctx context.Context) error {
	host := event.Scope{Actor: event.Actor{Kind: event.ActorHost}}
	digest := sha256.Sum256([]byte(d.cfg.Text))
	from, gap := d.tookOver()
	_, err := d.live.Load().DecideEnding(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		es := []*event.Event{{Scope: host, Body: &event.DaemonStarted{
			Version: d.version, PID: uint32(os.Getpid()), UID: uint32(os.Geteuid()), Kernel: d.kernel,
			Isolation: d.cfg.Isolation, ConfigSHA256: digest[:], Replaces: from, GapNano: gap.Nanoseconds(),
		}}}
		if !inForce(tip, configSubject, digest[:]) {
			es = append(es, &event.Event{Scope: host, Body: &event.PolicyChanged{
				Subject: configSubject, Text: d.cfg.Text, SHA256: digest[:],
			}})
		}
		for _, m := range d.migrated {
			es = append(es, &event.Event{Scope: host, Body: m})
		}
		return es, nil
	})
	if err != nil {
		return fmt.Errorf("record the start: %w", err)
	}
	return nil
}

// tookOver tells from which version this daemon took over in a restart, and how
// long none was in charge; both are empty at any other start.
func (d *Daemon) tookOver() (from string, gap time.Duration) {
	if d.before == nil {
		return "", 0
	}
	gap = max(0, boottime()-d.before.LetGo)
	d.mu.Lock()
	d.gap = gap
	d.mu.Unlock()
	if d.before.Problem != "" {
		d.problem("the daemon was to be restarted with " + d.before.Binary + ", and this build went on: " + d.before.Problem)
	}
	return d.before.From, gap
}

// configSubject is what the configuration's text is called in the ledger.
const configSubject = "config"

// inForce tells whether the subject's policy has that digest.
func inForce(s *projector.State, subject string, digest []byte) bool {
	for _, p := range s.Policies() {
		if p.Subject == subject {
			return bytes.Equal(p.SHA256, digest)
		}
	}
	return false
}

// kernelRelease is uname's release, for the ledger.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
