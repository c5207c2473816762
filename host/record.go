package host

import (
	"context"
	"errors"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// decide is Live.Decide with the trace of tests around it.
func (h *Host) decide(ctx context.Context, fn func(*projector.State, ledger.Header) ([]*event.Event, error)) (*ledger.Commit, error) {
	return h.live.Decide(ctx, func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
		es, err := fn(tip, next)
		if h.trace != nil && err == nil && len(es) > 0 {
			h.traceEvents("append", es)
		}
		return es, err
	})
}

// record commits what fn returns, however long the ledger cannot: it is for
// what has happened, which no failure may unmake. After a commit whose outcome
// is unknown fn runs again on the reopened ledger, so it must return nothing
// where its events stand there already. The error is that of a host or ledger
// that was closed, or a transition that is a bug.
func (h *Host) record(fn func(*projector.State, ledger.Header) ([]*event.Event, error)) (*ledger.Commit, error) {
	return h.recordMeanwhile(fn, func(retry <-chan time.Time, again <-chan struct{}) {
		select {
		case <-again:
		case <-retry:
		case <-h.ctx.Done():
		}
	})
}

// recordMeanwhile is record with something else to do while the ledger cannot
// commit: wait is called after each attempt that failed, with what ends it.
func (h *Host) recordMeanwhile(fn func(*projector.State, ledger.Header) ([]*event.Event, error),
	wait func(retry <-chan time.Time, again <-chan struct{})) (*ledger.Commit, error) {
	const most = time.Second // between attempts on a full disk
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, most) {
		again := h.reopenedSoon()
		c, err := h.decide(h.ctx, fn)
		if !unavailable(err) || h.ctx.Err() != nil {
			return c, err
		}
		retry := time.NewTimer(pause)
		wait(retry.C, again)
		retry.Stop()
	}
}

// unavailable tells the errors after which the same request may succeed later.
func unavailable(err error) bool {
	return errors.Is(err, ledger.ErrFailed) || errors.Is(err, ledger.ErrNoSpace)
}

func (h *Host) reopenedSoon() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reopened
}
