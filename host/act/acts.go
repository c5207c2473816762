//go:build linux

package act

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// SignalResult is what became of a signal.
type SignalResult struct {
	Delivered bool
	Detail    string // why not; empty if delivered
}

// Go runs the program: the authority is spawn.decided of this handle, granted.
// It does not wait; what comes of it is a Notice. ErrShimGone says that the shim
// was gone already: then nothing ran.
func (c *Child) Go(r *ledger.Receipt) error {
	d, ok := body(r).(*event.SpawnDecided)
	if !ok || d.Outcome != event.OutcomeGranted {
		return fmt.Errorf("go %s: %w", c.id, ErrRefused)
	}
	if err := c.h.redeem(r, event.KindSpawnDecided, c.id); err != nil {
		return fmt.Errorf("go %s: %w", c.id, err)
	}
	return c.sendGo()
}

// Signal sends the signal that signal.requested names to what it names. The
// errors ErrShimGone and ErrNoAnswer mean that nobody knows whether it arrived.
//
// A KILL of the tree does not depend on the shim's answer: one that is silent is
// killed itself, under the same receipt. Then the result is not delivered, with
// the reason, and the end comes as a Notice. It blocks for some seconds then.
func (c *Child) Signal(r *ledger.Receipt) (SignalResult, error) {
	if err := c.h.redeem(r, event.KindSignalRequested, c.id); err != nil {
		return SignalResult{}, fmt.Errorf("signal %s: %w", c.id, err)
	}
	q, ok := body(r).(*event.SignalRequested)
	if !ok {
		return SignalResult{}, fmt.Errorf("signal %s: %w", c.id, ledger.ErrReceiptMismatch)
	}
	return c.sendSignal(q.Signal, q.Target, q.Cause)
}

// Kill ends a found shim and its tree, by identity: first by asking it, so that
// the exit is recorded, then by SIGKILL of the shim. The authority is
// orphan.ended of the handle, or a signal.requested that asks for just that:
// KILL to the tree. It blocks until the shim is proven dead, for some seconds at
// most (ErrAlive).
func (h *Hands) Kill(r *ledger.Receipt, f Found) error {
	cause := "kill"
	if q, ok := body(r).(*event.SignalRequested); ok {
		if !killsTree(q.Signal, q.Target) {
			return fmt.Errorf("kill %s: %w: it asks for signal %d, not for KILL of the tree", f.ID, ledger.ErrReceiptMismatch, q.Signal)
		}
		cause = q.Cause
	}
	if err := h.redeemEither(r, event.KindOrphanEnded, event.KindSignalRequested, f.ID); err != nil {
		return fmt.Errorf("kill %s: %w", f.ID, err)
	}
	return h.kill(f, cause)
}

// killsTree tells whether a request is the end of everything below a shim.
func killsTree(sig uint32, target event.SignalTarget) bool {
	return sig == uint32(unix.SIGKILL) && target == event.TargetTree
}

// Trash deletes a process directory: the authority is handle.released or
// orphan.ended of the handle. The child, if it is held here, is closed.
func (h *Hands) Trash(r *ledger.Receipt, id ulid.ULID) error {
	if err := h.redeemEither(r, event.KindHandleReleased, event.KindOrphanEnded, id); err != nil {
		return fmt.Errorf("trash %s: %w", id, err)
	}
	h.forget(id).Close()
	return h.remove(id.String())
}

// TrashStray deletes something in processes/ that has no handle's name: the
// authority is an orphan.ended without a handle that names it as Directory.
func (h *Hands) TrashStray(r *ledger.Receipt, name string) error {
	o, ok := body(r).(*event.OrphanEnded)
	if !ok || o.Directory != name || filepath.Base(name) != name {
		return fmt.Errorf("trash %q: %w", name, ledger.ErrReceiptMismatch)
	}
	if err := h.redeem(r, event.KindOrphanEnded, ulid.ULID{}); err != nil {
		return fmt.Errorf("trash %q: %w", name, err)
	}
	return h.remove(name)
}

// body returns what the receipt's event says happened, nil for no receipt.
func body(r *ledger.Receipt) event.Body {
	if e := r.Event(); e != nil {
		return e.Body
	}
	return nil
}

// redeem has the ledger check the receipt and mark it as used.
func (h *Hands) redeem(r *ledger.Receipt, kind event.Kind, id ulid.ULID) error {
	if h.ledger == nil {
		return ErrNoLedger
	}
	return h.ledger.Redeem(r, kind, id)
}

func (h *Hands) redeemEither(r *ledger.Receipt, a, b event.Kind, id ulid.ULID) error {
	if r.Kind() == b {
		a = b
	}
	return h.redeem(r, a, id)
}

// sendGo is the act of Go.
func (c *Child) sendGo() error {
	c.mu.Lock()
	refused := c.ended || c.abandoned || c.released
	c.went = c.went || !refused
	c.mu.Unlock()
	if refused {
		return fmt.Errorf("go %s: %w", c.id, ErrShimGone)
	}
	if err := c.conn.Send(&shim.Message{Type: shim.TypeGo}); err != nil {
		return fmt.Errorf("go %s: %w: %w", c.id, ErrShimGone, err)
	}
	return nil
}

// sendSignal is the act of Signal and Emergency.
func (c *Child) sendSignal(sig uint32, target event.SignalTarget, cause string) (SignalResult, error) {
	bound := answerBound
	if killsTree(sig, target) {
		bound = askBound
	}
	a, err := c.ask(&shim.Message{Type: shim.TypeSignal, Signal: sig, Target: uint32(target), Cause: cause}, bound)
	switch {
	case !killsTree(sig, target):
	case errors.Is(err, ErrNoAnswer):
		return c.killSilent()
	case errors.Is(err, ErrShimGone) && c.staysBehind():
		return c.killLeft(cause)
	}
	switch {
	case err != nil:
		return SignalResult{Detail: err.Error()}, fmt.Errorf("signal %s: %w", c.id, err)
	case a.Type == shim.TypeUndefined:
		return SignalResult{Detail: "the shim is older than this request"}, nil
	case a.Errno == uint32(unix.ESRCH):
		return SignalResult{Detail: "no such process"}, nil
	case a.Errno != 0:
		return SignalResult{Detail: syscall.Errno(a.Errno).Error()}, nil
	}
	return SignalResult{Delivered: true}, nil
}

// remove renames a directory out of the way and deletes it. A crash in between
// leaves it in trash/, which New empties.
func (h *Hands) remove(name string) error {
	trashed := filepath.Join(h.trash(), name)
	err := os.Rename(filepath.Join(h.processes(), name), trashed)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("trash %s: %w", name, err)
	}
	if err := os.RemoveAll(trashed); err != nil {
		return fmt.Errorf("trash %s: %w", name, err)
	}
	return nil
}

// emptyTrash finishes deletions that a crash interrupted. Their authority was
// redeemed when they were renamed.
func (h *Hands) emptyTrash() {
	names, err := os.ReadDir(h.trash())
	if err != nil {
		h.log.Warn("cannot read the trash", "error", err)
		return
	}
	h.emptied = len(names)
	for _, e := range names {
		if err := os.RemoveAll(filepath.Join(h.trash(), e.Name())); err != nil {
			h.log.Warn("cannot empty the trash", "error", err)
		}
	}
}
