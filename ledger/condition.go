package ledger

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

// State says whether a ledger can commit.
type State string

// The states.
const (
	StateOK     State = "ok"
	StateFull   State = "full"   // Submit is refused; SubmitEnding uses what is kept for it
	StateFailed State = "failed" // nothing can be committed
)

// Condition is how a ledger stands, for whoever has to see to it.
type Condition struct {
	State State
	Since time.Time // when that state was first seen; zero if ok
	Err   error     // why; nil if ok
}

// Remedy says what to do about the condition, in one sentence; empty if ok.
func (c Condition) Remedy() string {
	switch {
	case c.State == StateOK:
		return ""
	case c.State == StateFull, errors.Is(c.Err, ErrNoSpace), isFull(c.Err):
		return "free space on the disk of the data directory; the ledger goes on by itself"
	case errors.Is(c.Err, os.ErrNotExist), errors.Is(c.Err, errReplaced):
		return "put the data directory back to where it was (mount its disk); if it was deleted, end what runs, stop the daemon and restore a backup"
	case errors.Is(c.Err, errReadOnly), errors.Is(c.Err, syscall.EROFS):
		return "see why the file system is read-only (kernel log), and mount it writable again, with the daemon stopped where it has to be unmounted; the ledger goes on by itself"
	case errors.Is(c.Err, ErrCorrupt):
		return "the disk has lost events: stop the daemon, keep a copy of the data directory, and restore a backup, or keep what is whole with astridctl ledger salvage"
	}
	return "see to the disk of the data directory (kernel log); the ledger tries again every second"
}

// probePause is how long after a refusal the ledger looks by itself whether it
// can go on, so that its condition is true also while nobody asks for anything.
const probePause = time.Second

// condition is where it is noted how the ledger got on. A change is logged,
// what goes on is not.
type condition struct {
	mu      sync.Mutex // held for moments
	is      Condition
	probing bool // a probe is on its way
}

// Condition tells whether the ledger can commit. Where nothing has said
// otherwise it looks at the disk, which takes microseconds.
func (l *Ledger) Condition() Condition {
	l.condition.mu.Lock()
	is := l.condition.is
	l.condition.mu.Unlock()
	if is.State != StateOK {
		return is
	}
	if err := l.fits(0); err != nil {
		l.note(err)
		return l.Condition()
	}
	return is
}

// note takes in why the ledger could not have committed just now, nil if it
// could.
func (l *Ledger) note(err error) {
	is := Condition{State: stateOf(err), Err: err}
	c := &l.condition
	c.mu.Lock()
	changed := c.is.State != is.State
	switch {
	case is.State == StateOK:
	case changed:
		is.Since = time.Now()
	default:
		is.Since = c.is.Since
	}
	c.is = is
	// After a failed commit somebody calls Reopen, and is told by that.
	probe := is.State != StateOK && !errors.Is(err, ErrFailed) && !c.probing
	c.probing = c.probing || probe
	c.mu.Unlock()
	switch {
	case changed && is.State == StateOK:
		l.o.Log.Info("the ledger takes everything again")
	case changed:
		l.o.Log.Error("the ledger cannot take everything", "state", is.State, "error", err, "remedy", is.Remedy())
	}
	if probe {
		time.AfterFunc(probePause, l.probe)
	}
}

// probe has the committer look again, which notes what it finds.
func (l *Ledger) probe() {
	l.condition.mu.Lock()
	l.condition.probing = false
	l.condition.mu.Unlock()
	_, _ = l.Submit(context.Background(), func(Header) ([]*event.Event, error) { return nil, nil })
}

func stateOf(err error) State {
	switch {
	case err == nil:
		return StateOK
	case errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrFailed):
		return StateFull
	}
	return StateFailed
}
