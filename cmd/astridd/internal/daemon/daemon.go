// Package daemon is astridd between its command line and its rooms: it takes
// the data directory, opens the ledger, has an earlier run's processes settled,
// serves the control socket, and stops in order.
//
// What happens at a start, and why in this order, stands in start.go; the
// orderly end in stop.go; what the control socket asks for in backend.go and
// status.go.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astrid-os/processledger/cmd/astridd/internal/config"
	"github.com/astrid-os/processledger/cmd/astridd/internal/serve"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Options say what to run.
type Options struct {
	Config  *config.Config
	Version string // of the build
	Log     *slog.Logger

	// Signals stop the daemon: the first in order, a second in haste.
	Signals <-chan os.Signal
}

// Daemon is one run of astridd.
type Daemon struct {
	cfg     *config.Config
	version string
	log     *slog.Logger
	started time.Time
	kernel  string

	// migrated is what migrations did before the ledger was there to tell it.
	migrated []*event.LedgerMigrated

	// live is nil until the ledger is open.
	live atomic.Pointer[projector.Live]

	// engine is nil until the host is there; what runs programs is in it.
	engine atomic.Pointer[engine]

	// damage is why there is no ledger; nil: there is one, or will be.
	damage atomic.Pointer[damage]

	// layout is what was wrong with the layout of the data directory; nil:
	// nothing.
	layout error

	programs programs

	// mu guards what follows; it is held for single reads and writes.
	mu        sync.Mutex
	phase     control.Phase
	problems  []string // that stay for the whole run
	isolation control.Isolation
	capsules  []control.Capsule
	recovery  *event.RecoveryFinished
}

// Run runs a daemon until a signal stops it. It returns nil after an orderly
// stop, and an error if it could not start; then nothing runs any more.
func Run(o Options) error {
	d := &Daemon{
		cfg: o.Config, version: o.Version, log: o.Log, started: time.Now(), kernel: kernelRelease(), phase: control.PhaseStarting,
	}
	spread()
	lock, err := lockData(d.cfg.Data, Holder{PID: os.Getpid(), Version: d.version, Started: d.started})
	if err != nil {
		return err
	}
	// Closed last: as long as anything of this run is left, no other may begin.
	defer lock.Close()
	if err := d.migrate(); d.damageOf(err) != nil {
		d.layout = err
	} else if err != nil {
		return err
	}
	listener, err := listen(d.cfg.Socket, len(d.cfg.Operators) > 0)
	if err != nil {
		return err
	}
	srv := serve.New(serve.Options{Backend: d, Operators: d.operators(), Log: d.log})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	d.log.Info("control socket is open", "socket", d.cfg.Socket, "data", d.cfg.Data, "pid", os.Getpid(), "version", d.version)
	return errors.Join(d.run(o.Signals, served), d.closeServer(srv, listener))
}

// run is the daemon's life between the opening of its socket and its end.
func (d *Daemon) run(signals <-chan os.Signal, served <-chan error) error {
	w := watch(signals)
	defer w.close()
	err := d.start(w.first)
	if err == nil {
		if d.damage.Load() == nil {
			d.setPhase(control.PhaseReady)
			d.log.Info("ready", "took", time.Since(d.started).Round(time.Millisecond))
		}
		select {
		case <-w.first.Done():
		case err = <-served:
			err = fmt.Errorf("control socket: %w", err)
		}
	}
	return errors.Join(d.interrupted(w, err), d.stop(w, err))
}

// interrupted drops the error of a start that a signal broke off.
func (d *Daemon) interrupted(w *watcher, err error) error {
	if w.first.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closeServer ends the server and removes the socket.
func (d *Daemon) closeServer(srv *serve.Server, l net.Listener) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		d.log.Warn("requests were cut off", "error", err)
	}
	_ = l.Close() // Shutdown has closed it, but not if Serve never got to run
	return nil
}

// operators are the uids that may use the socket: always root and the daemon's
// own, and those of the configuration.
func (d *Daemon) operators() []uint32 {
	return append([]uint32{0, uint32(os.Geteuid())}, d.cfg.Operators...)
}

func (d *Daemon) setPhase(p control.Phase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase = p
}

// problem notes something for the status and the log.
func (d *Daemon) problem(text string) {
	d.log.Warn("problem", "what", text)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problems = append(d.problems, text)
}
