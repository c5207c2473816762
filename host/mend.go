package host

import (
	"errors"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/projector"
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
	for _, o := range h.ownersOf(func(o *owner) bool { return o.kept != nil }) {
		o.catchUp()
	}
}

// catchUp takes in what a commit left that failed and persisted: whoever asked
// was told that it is not known, and nobody has carried it out.
func (o *owner) catchUp() {
	closed := false
	o.h.live.View(func(s *projector.State) {
		h, ok := s.Handle(o.id)
		if !ok {
			return
		}
		closed = h.StdinClosed
		// In here no newer state can have come to the owner: what is set is
		// never older than what it has.
		o.rearm(h.Watch)
	})
	if child := o.reachable(); closed && child != nil && child.StdinHeld() {
		scope := o.scope
		scope.Actor = hostActor
		o.noteStdin(o.endStdin(o.h.record, scope, "guest", child))
	}
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
