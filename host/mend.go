package host

import (
	"errors"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// mendPause is the pause between two attempts to reopen a failed ledger: the
// cause is the disk, and somebody has to see to it.
const mendPause = time.Second

// mendLedger has the ledger go on after a failed commit: it salvages what
// verifies, and what the host still holds is matched against it by the table of
// recovery, in process. It runs until the host closes.
func (h *Host) mendLedger() {
	for {
		select {
		case <-h.live.Ledger().Failed():
		case <-h.ctx.Done():
			return
		}
		h.log.Error("a commit failed; nothing starts until the ledger goes on")
		if !h.reopen() {
			return
		}
		h.log.Info("the ledger goes on")
		// Not here: if the ledger fails again, this goroutine is the one to
		// mend it.
		h.work.Go(h.resumeRecording)
	}
}

// resumeRecording records what was done in an emergency before anything else,
// has those who wait try again, and matches what nobody owns.
func (h *Host) resumeRecording() {
	h.recordLate()
	h.announceReopened()
	if _, err := h.recover(h.ctx, true); err != nil && h.ctx.Err() == nil {
		h.log.Error("the handles could not be matched after the ledger was reopened", "error", err)
	}
	// After the recovery: only then may the end of an input be recorded again.
	h.mu.Lock()
	unclosed := h.unclosed
	h.unclosed = nil
	h.mu.Unlock()
	for _, o := range unclosed {
		o.closeSurvived()
	}
}

// onSurvived takes in what a commit left that failed and persisted, before
// anything else is decided: whoever asked was told that it is not known, and
// nobody has carried it out. What the host records for itself looks for its own
// events: see persisted. A decision about a spawn is aborted by whoever asked
// for it. The committer calls it.
func (h *Host) onSurvived(es []*event.Event) {
	for _, e := range es {
		o := h.owner(e.Handle)
		if o == nil {
			continue
		}
		switch b := e.Body.(type) {
		case *event.SignalRequested:
			if !b.Late {
				o.disown(e.Seq)
			}
		case *event.WatchArmed:
			o.arm(b.Suffix)
		case *event.WatchDisarmed:
			o.disarm(b)
		case *event.StdinClosed:
			h.mu.Lock()
			h.unclosed = append(h.unclosed, o)
			h.mu.Unlock()
		}
	}
}

// disown says that a signal stands in the ledger whose commit failed: it is not
// sent, since whoever asked was told that it is not, and that is recorded.
func (o *owner) disown(seq uint64) {
	o.mu.Lock()
	o.disowned = append(o.disowned, seq)
	o.mu.Unlock()
	o.poke()
}

// takeDisowned moves what disown left to where it is recorded from, and tells
// whether there was any.
func (o *owner) takeDisowned() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, seq := range o.disowned {
		if o.acted[seq] == nil {
			o.acted[seq] = &order{seq: seq, detail: "its commit failed, so it was not sent"}
		}
	}
	any := len(o.disowned) > 0
	o.disowned = nil
	return any
}

// closeSurvived closes an input whose end stands in the ledger.
func (o *owner) closeSurvived() {
	child := o.reachable()
	if child == nil || !child.StdinHeld() {
		return
	}
	scope := o.scope
	scope.Actor = hostActor
	o.noteStdin(o.endStdin(o.h.record, scope, "guest", child))
}

// reopen tries until it works; false means that the host or the ledger closes.
// What it finds is logged when it is another thing than before.
func (h *Host) reopen() bool {
	for said := ""; ; {
		err := h.live.Ledger().Reopen(h.ctx)
		switch {
		case err == nil:
			return true
		case h.ctx.Err() != nil, errors.Is(err, ledger.ErrClosed):
			return false
		}
		if said != err.Error() {
			said = err.Error()
			h.log.Error("the ledger cannot go on yet; it is tried again every second", "error", err)
		}
		select {
		case <-time.After(mendPause):
		case <-h.ctx.Done():
			return false
		}
	}
}

// announceReopened wakes whoever waits to record something.
func (h *Host) announceReopened() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.reopened)
	h.reopened = make(chan struct{})
}
