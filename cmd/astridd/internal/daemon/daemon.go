// Package daemon is astridd between its command line and its rooms: it takes
// the data directory, opens the ledger, has an earlier run's processes settled,
// serves the control socket, and stops in order.
//
// What happens at a start, and why in this order, stands in start.go; the
// orderly end in stop.go; the way from one build to the next in restart.go, with
// what is tried of the next one in fitness.go, whose it may be in reach.go, and
// what it is left in handover.go; what a service manager is told in manager.go;
// what the control socket asks for in backend.go and status.go.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

	// Signals stop the daemon: the first in order, a second in haste. Release
	// ends their delivery: from its return on they do to the process what they do
	// by default, and what was delivered before stands in Signals.
	Signals <-chan os.Signal
	Release func()
}

// Daemon is one run of astridd.
type Daemon struct {
	cfg     *config.Config
	version string
	log     *slog.Logger
	started time.Time
	kernel  string
	program string // path by which it was started
	manager *manager

	// before is what the daemon left that this one took over from, nil at any
	// other start.
	before *handover

	// restartMu is held while a restart is prepared; restarts holds the one that
	// has begun.
	restartMu sync.Mutex
	restarts  chan *restarting

	server *serve.Server

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
	gap       time.Duration // of the restart in which it took over
}

// Run runs a daemon until a signal stops it. It returns nil after an orderly
// stop, and an error if it could not start; then nothing runs any more. After a
// restart it does not return: the next daemon goes on in this process.
func Run(o Options) error {
	d := &Daemon{
		cfg: o.Config, version: o.Version, log: o.Log, started: time.Now(), kernel: kernelRelease(), phase: control.PhaseStarting,
		manager: newManager(o.Log), restarts: make(chan *restarting, 1),
	}
	spread()
	var err error
	if d.program, err = ownProgram(); err != nil {
		return err
	}
	if d.before, err = takeHandover(); err != nil {
		return err
	}
	lock, err := d.lock()
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
	s, err := d.openSocket()
	if err != nil {
		return err
	}
	w := watch(o.Signals)
	job, err := d.serve(w, s)
	o.Release()
	w.close()
	if job == nil || w.stopped() {
		s.discard()
		return err
	}
	return errors.Join(err, d.handOver(job, lock, s))
}

// serve is the daemon's life between the opening of its socket and its end. What
// it returns is the restart after which another one goes on, nil for none.
func (d *Daemon) serve(w *watcher, s *socket) (*restarting, error) {
	d.server = serve.New(serve.Options{Backend: d, Operators: d.operators(), Log: d.log})
	served := make(chan error, 1)
	go func() { served <- d.server.Serve(s) }()
	d.log.Info("control socket is open", "socket", d.cfg.Socket, "data", d.cfg.Data, "pid", os.Getpid(), "version", d.version)
	telling, quiet := context.WithCancel(context.Background())
	told := make(chan struct{})
	go func() { defer close(told); d.keepTelling(telling) }()
	job, err := d.run(w, served)
	quiet()
	<-told
	d.closeServer()
	return job, err
}

// run starts the daemon, waits for its end, and ends it.
func (d *Daemon) run(w *watcher, served <-chan error) (*restarting, error) {
	err := d.start(w.first)
	if err == nil {
		if d.damage.Load() == nil {
			d.setPhase(control.PhaseReady)
			d.log.Info("ready", "took", time.Since(d.started).Round(time.Millisecond))
		}
		select {
		case <-w.first.Done():
		case job := <-d.restarts:
			if d.makeWay(w, job) {
				return job, nil
			}
		case err = <-served:
			err = fmt.Errorf("control socket: %w", err)
		}
	}
	return nil, errors.Join(d.interrupted(w, err), d.stop(w, err))
}

// interrupted drops the error of a start that a signal broke off.
func (d *Daemon) interrupted(w *watcher, err error) error {
	if w.first.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closeServer ends the server, and with it all that clients wait for.
func (d *Daemon) closeServer() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.server.Shutdown(ctx); err != nil {
		d.log.Warn("requests were cut off", "error", err)
	}
}

// operators are the uids that may use the socket: always root and the daemon's
// own, and those of the configuration.
func (d *Daemon) operators() []uint32 {
	return append([]uint32{0, uint32(os.Geteuid())}, d.cfg.Operators...)
}

// setPhase goes on to another phase and tells the service manager.
func (d *Daemon) setPhase(p control.Phase) {
	d.mu.Lock()
	d.phase = p
	d.mu.Unlock()
	d.tellPhase(p)
}

// advance goes on from one phase to another, and tells whether the daemon was in
// the former.
func (d *Daemon) advance(from, to control.Phase) bool {
	d.mu.Lock()
	was := d.phase
	if was == from {
		d.phase = to
	}
	d.mu.Unlock()
	if was == from {
		d.tellPhase(to)
	}
	return was == from
}

func (d *Daemon) currentPhase() control.Phase {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.phase
}

// tellPhase tells the service manager, in a line for people.
func (d *Daemon) tellPhase(p control.Phase) {
	d.mu.Lock()
	problems := len(d.problems)
	d.mu.Unlock()
	status := string(p)
	if live := d.live.Load(); live != nil {
		live.View(func(st *projector.State) { status += fmt.Sprintf(", %d processes live", st.LiveAll().Total()) })
	}
	if problems > 0 {
		status += fmt.Sprintf(", %d problems: see astridctl status", problems)
	}
	d.manager.phase(p, status, d.before != nil)
}

// problem notes something for the status and the log.
func (d *Daemon) problem(text string) {
	d.log.Warn("problem", "what", text)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problems = append(d.problems, text)
}
