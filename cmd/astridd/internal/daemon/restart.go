package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
)

// An orderly restart, step by step, and what a crash leaves:
//
//	the program is tried         nothing has changed
//	calls under way may end      a daemon that was killed while it served
//	processes end, the last      what an orderly stop leaves at that place
//	  event is daemon.stopped
//	ledger and shims are let go  an orderly stop
//	exec, with lock and socket   the same: both go with the process
//	the next daemon starts       what any start leaves
//
// There is no state of the restart on disk, and so nothing to clean up: whoever
// starts next recovers as after any other end.

// restarting is a restart under way.
type restarting struct {
	by        event.Actor
	binary    string
	tried     identity
	fit       *Fitness
	requested time.Time
	drained   time.Duration
}

// Restart implements serve.Backend: it tries the program that is to go on and
// has the restart begin.
func (d *Daemon) Restart(ctx context.Context, by event.Actor, r *control.RestartRequest) (*control.RestartAnswer, error) {
	if err := d.mayChoose(by, r); err != nil {
		return nil, err
	}
	if !d.restartMu.TryLock() {
		return nil, errRestarting()
	}
	defer d.restartMu.Unlock()
	if err := d.mayRestart(); err != nil {
		return nil, err
	}
	job, err := d.prepare(ctx, by, r)
	if err != nil {
		return nil, control.Errorf(control.CodeFailed, "nothing was restarted: %v", err)
	}
	if !d.advance(control.PhaseReady, control.PhaseRestarting) {
		return nil, d.mayRestart()
	}
	d.log.Info("restarting", "binary", job.binary, "to", job.fit.Version, "uid", by.UID)
	d.restarts <- job // never blocks: only one can come this far
	return &control.RestartAnswer{From: d.version, To: job.fit.Version, Binary: job.binary, Started: d.started}, nil
}

// mayChoose tells why an operator may not have the daemon go on with a program.
// Others than root and the daemon's user do not choose it: neither by its path nor
// by what lies at the daemon's own.
func (d *Daemon) mayChoose(by event.Actor, r *control.RestartRequest) error {
	if by.UID == 0 || by.UID == uint32(os.Geteuid()) {
		return nil
	}
	if r.Binary != "" {
		return control.Errorf(control.CodeDenied, "uid %d may restart the daemon, and not choose its program", by.UID).
			WithHint("leave --binary out, or ask as root or as the daemon's user")
	}
	if err := outOfReach(d.program); err != nil {
		return control.Errorf(control.CodeDenied, "uid %d may restart the daemon only with a program that nobody but root and the daemon's user can change: %v", by.UID, err).
			WithHint("ask as root or as the daemon's user, or correct that")
	}
	return nil
}

func errRestarting() error {
	return control.Errorf(control.CodeUnavailable, "the daemon is being restarted already").WithHint("see its status")
}

// mayRestart tells why the daemon cannot be restarted now.
func (d *Daemon) mayRestart() error {
	switch phase := d.currentPhase(); phase {
	case control.PhaseReady:
	case control.PhaseRestarting:
		return errRestarting()
	default:
		return control.Errorf(control.CodeUnavailable, "the daemon is %s", phase).WithHint("restart it once status says ready")
	}
	select {
	case <-d.live.Load().Ledger().Failed():
		return control.Errorf(control.CodeLedger, "nothing was restarted: the ledger cannot commit, and the next daemon could not start").
			WithHint("see what astridctl status says of the ledger")
	default:
		return nil
	}
}

func (d *Daemon) prepare(ctx context.Context, by event.Actor, r *control.RestartRequest) (*restarting, error) {
	job := &restarting{by: by, binary: r.Binary, requested: time.Now()}
	if job.binary == "" {
		job.binary = d.program
	}
	if !filepath.IsAbs(job.binary) {
		return nil, fmt.Errorf("%q is no absolute path", job.binary)
	}
	var err error
	if job.tried, err = identify(job.binary); err == nil {
		job.fit, err = try(ctx, job.binary, d.cfg)
	}
	return job, err
}

// makeWay lets calls end, ends what ends with the daemon, and lets go of ledger
// and shims. It returns false if a signal has made a stop of it meanwhile, and
// then has ended nothing.
func (d *Daemon) makeWay(w *watcher, job *restarting) bool {
	began := time.Now()
	crashpoint.Here("daemon.restart.draining")
	e := d.engine.Load()
	drain, cancel := context.WithTimeout(w.first, d.cfg.Shutdown)
	left := e.runner.Drain(drain)
	cancel()
	job.drained = time.Since(began)
	if w.first.Err() != nil {
		d.log.Info("stopping in place of the restart", "reason", w.reason(nil))
		return false
	}
	d.log.Info("making way", "drained", job.drained.Round(time.Millisecond), "calls_cancelled", left)
	d.server.MakeWay()
	// A signal now hurries the end, and then nobody goes on.
	ctx, cancel := context.WithTimeout(w.first, d.cfg.Shutdown)
	defer cancel()
	err := e.host.MakeWay(ctx, job.by, host.Successor{Version: job.fit.Version, Binary: job.binary})
	err = errors.Join(err, e.close(context.WithoutCancel(ctx)), d.live.Load().Close())
	if err != nil {
		// The next start recovers, as after a crash.
		d.log.Error("not everything ended as it should before the restart", "error", err)
	}
	return true
}

// handOver makes this process the next daemon. It returns only where even this
// one's own program cannot be run any more.
func (d *Daemon) handOver(job *restarting, lock *os.File, s *socket) error {
	h := &handover{
		Format: handoverFormat, PID: os.Getpid(), Lock: int(lock.Fd()), Socket: s.fd, Managed: s.managed,
		From: d.version, Binary: job.binary, Requested: job.requested, UID: job.by.UID, Drained: job.drained, LetGo: boottime(),
	}
	err := d.stillFit(job)
	if err == nil {
		err = h.pass(job.binary, job.binary)
	}
	d.log.Error("the program that was to go on cannot; this one goes on", "error", err)
	h.Problem = err.Error()
	return errors.Join(err, h.pass("/proc/self/exe", d.program))
}

// stillFit tries the program again if it is not the file that was tried.
func (d *Daemon) stillFit(job *restarting) error {
	if job.tried.same(job.binary) {
		return nil
	}
	_, err := try(context.Background(), job.binary, d.cfg)
	return err
}
