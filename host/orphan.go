package host

import (
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// killFound ends a shim that is silent, by identity, for a handle that lives in
// the ledger.
func (r *recovery) killFound(o *owner, f act.Found) {
	receipt := o.requestKill(r.h.record)
	if receipt == nil {
		return
	}
	crashpoint.Here("recovery.kill.requested")
	order := o.handIn(receipt)
	if order == nil || !o.takeOut(order) {
		return
	}
	r.h.acted("kill by identity")
	if err := r.h.hands.Kill(receipt, f); err != nil {
		order.detail = err.Error()
	} else {
		order.delivered = true
	}
	o.acted[order.seq] = order
	close(order.done)
}

// requestKill records a KILL of the tree because nobody holds the process any
// more; nil if the handle has ended, or the host closes.
func (o *owner) requestKill(record committer) *ledger.Receipt {
	want := &event.SignalRequested{Signal: uint32(unix.SIGKILL), Target: event.TargetTree, Cause: "owner-lost"}
	for {
		c, err := record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
			if h, ok := tip.Handle(o.id); !ok || !h.Phase.Live() {
				return nil, nil
			}
			return o.bodies(event.ActorHost, want), nil
		})
		switch {
		case err != nil, len(c.Events) == 0:
			return nil
		case len(c.Receipts) > 0:
			return c.Receipts[0]
		}
		// It stands there from a commit that failed, and nobody has the
		// receipt: it will be recorded as not sent, and is asked for anew.
		seq := c.Events[0].Seq
		o.acted[seq] = &order{seq: seq, detail: "its commit failed"}
	}
}

// orphan ends what no handle of the ledger stands behind: a spawn that was
// prepared and never decided, or the directory of a handle that is released.
func (r *recovery) orphan(j *job, f act.Found) error {
	patience := leaveBound // a shim without go leaves by itself
	if f.Go {
		patience = 0
	}
	f, there := r.awaitDead(f, patience)
	if !there {
		return nil // whoever had it was about to delete it
	}
	counted := !f.Dead
	if !f.Dead {
		f = r.endShim(j, f, "no handle of the ledger")
	}
	if !f.Dead {
		return nil // it was logged; the next start tries again
	}
	receipt, err := r.orphanEnded(f, nil, "a directory without a handle: never decided, or released")
	if err != nil {
		return err
	}
	// A crash here leaves the directory; the next start ends it again.
	crashpoint.Here("recovery.orphan.recorded")
	r.h.acted("trash")
	if err := r.h.hands.Trash(receipt, f.ID); err != nil {
		r.h.log.Warn("a process directory could not be deleted; the next start tries again", "handle", f.ID, "error", err)
	}
	if !counted {
		r.count(&r.n.Orphans)
	}
	return nil
}

// endShim records that a shim has no business, and kills it.
func (r *recovery) endShim(j *job, f act.Found, reason string) act.Found {
	receipt, err := r.orphanEnded(f, &f.Shim, reason)
	if err != nil {
		r.h.log.Error("an orphan could not be recorded", "handle", f.ID, "error", err)
		return f
	}
	// A crash here leaves the shim; the next start ends it again.
	crashpoint.Here("recovery.orphan.found")
	r.count(&r.n.Orphans)
	j.match()
	r.h.acted("kill by identity")
	if err := r.h.hands.Kill(receipt, f); err != nil {
		r.h.log.Error("an orphan could not be ended", "handle", f.ID, "error", err)
		return f
	}
	f, _ = r.awaitDead(f, leaveBound)
	return f
}

// stray deletes something in processes/ that has no handle's name: only the
// host writes there, so it is a leftover of nobody.
func (r *recovery) stray(name string) error {
	if !utf8.ValidString(name) {
		r.h.log.Warn("something in processes/ has a name that no event can hold; delete it by hand", "name", name)
		return nil
	}
	receipt, err := r.orphanEnded(act.Found{Name: name}, nil, "no process directory: its name is no handle's")
	if err != nil {
		return err
	}
	// A crash here leaves it; the next start ends it again.
	crashpoint.Here("recovery.orphan.recorded")
	r.h.acted("trash")
	if err := r.h.hands.TrashStray(receipt, name); err != nil {
		r.h.log.Warn("a stray could not be deleted; the next start tries again", "name", name, "error", err)
	}
	r.count(&r.n.Orphans)
	return nil
}

// orphanEnded records that what f says has no business, with all that its
// directory tells: nothing else may tell of it. Where that stands in the ledger
// from a commit that failed, nobody has the receipt: as after a crash, it is
// recorded once more.
func (r *recovery) orphanEnded(f act.Found, shim *event.Identity, reason string) (*ledger.Receipt, error) {
	body := &event.OrphanEnded{
		Directory: f.Name, Shim: shim, Reason: reason, Go: f.Go, Started: f.Started, Failed: f.Failed,
	}
	if f.Exit != nil {
		body.Exited = &f.Exit.Exited
	}
	for {
		c, err := r.h.record(func(*projector.State, ledger.Header) ([]*event.Event, error) {
			return []*event.Event{{Scope: event.Scope{Handle: f.ID, Actor: hostActor}, Body: body}}, nil
		})
		if err != nil {
			return nil, err
		}
		if len(c.Receipts) > 0 {
			return c.Receipts[0], nil
		}
	}
}
