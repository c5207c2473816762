//go:build linux

package act

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger"
)

// Isolation of a program, in Options and Spec.
const (
	IsolationPIDNS = shim.IsolationPIDNS // a PID namespace of its own
	IsolationNone  = shim.IsolationNone  // the weaker mode, by explicit configuration only
)

// Errors of preparing a child. Nothing ran.
var (
	// ErrNoSpace: the disk cannot hold the output rings.
	ErrNoSpace = errors.New("no space for the output of another process; free some on the disk of the data directory")

	// ErrIsolation: the kernel refused the namespaces that were asked for.
	ErrIsolation = errors.New("this machine allows no namespaces to isolate a process in; run as root, allow user namespaces, or configure isolation = \"none\"")

	// ErrLauncher: the launcher died while it made the shim. The next
	// Prepare starts another one.
	ErrLauncher = errors.New("the launcher of shims died")

	// ErrFiles: a file cannot be laid where it was asked for.
	ErrFiles = errors.New("a file cannot be laid there")

	// ErrShim: the shim did not become ready.
	ErrShim = errors.New("the shim did not become ready")
)

// Errors of a child.
var (
	// ErrRefused: the decision that the receipt proves did not grant the
	// spawn.
	ErrRefused = errors.New("the decision refused this spawn")

	// ErrShimGone: the shim is gone, or was told to leave. What happened to
	// the program comes as a Notice.
	ErrShimGone = errors.New("the shim is gone")

	// ErrNoAnswer: the shim has the request and did not answer in time.
	// Whether it was carried out is unknown.
	ErrNoAnswer = errors.New("the shim does not answer")

	// ErrAlive: the shim was killed and is still there: something of its
	// tree is in uninterruptible sleep.
	ErrAlive = errors.New("the process does not die")
)

// Options say where the hands work and with what.
type Options struct {
	// Dir is the data directory: processes/ and trash/ are made in it.
	Dir string

	// Shim is the path of the astrid-shim binary.
	Shim string

	// Isolation is what Spec.Isolation means when it is empty:
	// IsolationPIDNS (also if this is empty) or IsolationNone.
	Isolation string

	// BootID is that of the machine; zero: it is read. Only tests of a machine
	// that was started again give one.
	BootID [16]byte

	// KeepLate has Emergency write what it is to do into late/ first: for a
	// daemon that has no ledger, whose memory ends with it.
	KeepLate bool

	// Log gets what happens to launcher and shims; nil discards it.
	Log *slog.Logger
}

// Hands act on the world. All methods may be called concurrently.
type Hands struct {
	ledger *ledger.Ledger
	o      Options
	log    *slog.Logger
	launch *launcher
	procfd int      // /proc, for identities
	bootID [16]byte // of this boot

	// oldKernel has the hands do without what came after Linux 6.1, for tests:
	// pidfs handles, the peer's pidfd, the exit that a pidfd remembers.
	oldKernel bool

	mu       sync.Mutex // held for map and slice operations only
	children map[ulid.ULID]*Child
	late     []Intent
	closed   bool

	emptied int // what New found in trash/
}

// New makes the directories, finishes deletions that a crash interrupted, takes
// in the endings that an earlier daemon kept, and starts the launcher. l is the
// ledger whose receipts are taken; nil: there is none, and no act but Emergency
// is possible (ErrNoLedger).
func New(l *ledger.Ledger, o Options) (*Hands, error) {
	if o.Isolation == "" {
		o.Isolation = IsolationPIDNS
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hands{ledger: l, o: o, log: o.Log, procfd: -1, children: map[ulid.ULID]*Child{}}
	if err := h.open(); err != nil {
		closeFD(h.procfd)
		return nil, err
	}
	h.emptyTrash()
	h.loadLate()
	return h, nil
}

// open does what New may fail at.
func (h *Hands) open() (err error) {
	for _, dir := range []string{h.processes(), h.trash()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	if h.procfd, err = shim.OpenProc(); err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	if h.bootID = h.o.BootID; h.bootID == [16]byte{} {
		if h.bootID, err = shim.BootID(h.procfd); err != nil {
			return fmt.Errorf("read the boot id: %w", err)
		}
	}
	if h.o.Shim, err = filepath.Abs(h.o.Shim); err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	h.launch, err = startLauncher(h.o.Shim, h.log)
	return err
}

func (h *Hands) processes() string         { return filepath.Join(h.o.Dir, "processes") }
func (h *Hands) trash() string             { return filepath.Join(h.o.Dir, "trash") }
func (h *Hands) path(id ulid.ULID) string  { return filepath.Join(h.processes(), id.String()) }
func (h *Hands) isolation(s string) string { return firstOf(s, h.o.Isolation) }

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Close lets go of everything, as the death of the daemon would: the launcher
// leaves, the shims stay with their programs and go by their standing orders.
// Notices of all children are closed without a terminal one.
func (h *Hands) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	children := h.children
	h.children = map[ulid.ULID]*Child{}
	h.mu.Unlock()
	for _, c := range children {
		c.Close()
	}
	h.launch.stop()
	return closeFD(h.procfd)
}

// Emptied is how many deletions New found that a crash had interrupted.
func (h *Hands) Emptied() int { return h.emptied }

// remember holds a child, unless Close was called.
func (h *Hands) remember(c *Child) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.children[c.id] = c
	}
	return !h.closed
}

// Child returns the child of id that is held here.
func (h *Hands) Child(id ulid.ULID) (*Child, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.children[id]
	return c, ok
}

// forget returns the child of id that is held here, nil if none is, and holds it
// no longer.
func (h *Hands) forget(id ulid.ULID) *Child {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.children[id]
	delete(h.children, id)
	return c
}
