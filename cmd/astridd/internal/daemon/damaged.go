package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/migrations"
	"github.com/astrid-os/processledger/projector"
)

// A daemon that finds its ledger damaged does not leave: then nobody could see
// or end what runs, and a service manager would start it again for ever. It
// stays, starts nothing, and tells the way out.
//
// It holds no process. What is ephemeral has lost its instance with the daemon
// before, and its shim ends it by the standing order that it was granted with
// (30 s): that decision stands in the ledger, damaged or not, and a daemon that
// cannot read it is in no place to prolong it. A persistent process runs on, with
// the lifetime that its shim keeps; nobody counts its idle time. So shims are
// connected to only for as long as it takes to end one.

// errNoLedger: processes were run here, and their ledger is gone.
var errNoLedger = errors.New("the ledger is missing, and there are processes that it knew")

// damage is why there is no ledger.
type damage struct {
	since  time.Time
	err    error
	remedy string
	hands  *act.Hands
	lock   io.Closer // nil: there is no directory to lock
	stops  sync.Map  // by handle: the mutex that a stop holds
}

// damageOf tells whether an error of the start means that the ledger is damaged,
// and what to do then. Other errors end the start: another build, another user
// or another configuration is wanted, and it says which.
func (d *Daemon) damageOf(err error) *damage {
	const salvage = "; stop the daemon, then run: astridctl ledger salvage --data "
	m := &damage{since: time.Now(), err: err}
	switch {
	case err == nil, errors.Is(err, ledger.ErrNewerLayout), errors.Is(err, projector.ErrNewerState), errors.Is(err, migrations.ErrNewer):
		return nil
	case errors.Is(err, errNoLedger):
		m.remedy = "put the directory back, or restore a backup with astridctl ledger restore; to begin a new ledger and end what runs" + salvage + d.cfg.Data
	case errors.Is(err, migrations.ErrDamaged), errors.Is(err, migrations.ErrForeign) && d.ranHere():
		m.remedy = fmt.Sprintf("restore the file %s, which says which layout the directory has (that of this build is %d), and start the daemon again",
			filepath.Join(d.cfg.Data, "layout"), migrations.Current)
	case errors.Is(err, ledger.ErrCorrupt), errors.Is(err, ledger.ErrGap), errors.Is(err, projector.ErrGap), errors.Is(err, projector.ErrTransition),
		errors.Is(err, projector.ErrMalformed), errors.Is(err, projector.ErrCorruptState), errors.Is(err, unix.EIO), errors.Is(err, errCannotBeRead):
		m.remedy = "find all faults with astridctl verify; restore a backup with astridctl ledger restore, or keep what is whole" + salvage + d.cfg.Data
	default:
		return nil
	}
	return m
}

// ranHere tells whether there are process directories: a sign that this data
// directory was used, whatever else is missing in it.
func (d *Daemon) ranHere() bool {
	entries, err := os.ReadDir(filepath.Join(d.cfg.Data, "processes"))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil {
			return true
		}
	}
	return false
}

// missing is errNoLedger where a ledger was and is not: opening it would make a
// new one, by which everything that runs would be a stranger's.
func (d *Daemon) missing() error {
	files, err := ledger.Segments(d.ledgerDir())
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case len(files) == 0 && d.ranHere():
		return fmt.Errorf("%s: %w", d.ledgerDir(), errNoLedger)
	}
	return nil
}

func (d *Daemon) ledgerDir() string { return filepath.Join(d.cfg.Data, "ledger") }

// stay makes the daemon one without a ledger.
func (d *Daemon) stay(m *damage) error {
	d.log.Error("the ledger is damaged: nothing is started; what runs can be listed and ended", "error", m.err, "remedy", m.remedy)
	hands, err := act.New(nil, act.Options{Dir: d.cfg.Data, Shim: d.cfg.Shim, Isolation: d.cfg.Isolation, KeepLate: true, Log: d.log})
	if err != nil {
		return errors.Join(m.err, err)
	}
	m.hands = hands
	if lock, err := ledger.Lock(d.ledgerDir()); err == nil {
		m.lock = lock // nobody works on the files under a daemon
	}
	d.damage.Store(m)
	d.setPhase(control.PhaseDamaged)
	return nil
}

// refusal is the answer to whatever needs a ledger.
func (m *damage) refusal() *control.Error {
	return control.Errorf(control.CodeCorrupt, "the ledger is damaged and nothing is started: %v", m.err).WithHint("%s", m.remedy)
}

// status fills in what a daemon without a ledger knows.
func (m *damage) status(s *control.Status) {
	s.Ledger.State, s.Ledger.Error, s.Ledger.Remedy, s.Ledger.Since = control.LedgerDamaged, m.err.Error(), m.remedy, &m.since
	s.Ledger.Failed = m.err.Error()
	s.Problems = append(s.Problems, "the ledger is damaged: "+m.err.Error(), m.remedy)
	if list, err := m.hands.Scan(); err == nil {
		for i := range list {
			if livesOn(&list[i]) {
				s.Live++
			}
		}
	}
}

// close lets go of everything. It ends no process: see above.
func (m *damage) close() error {
	err := m.hands.Close()
	if m.lock != nil {
		err = errors.Join(err, m.lock.Close())
	}
	return err
}
