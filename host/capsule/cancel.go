package capsule

import (
	"context"
	"errors"
	"time"
)

// Why a call was given up, as causes of its contexts.
var (
	errDeadline = errors.New("the invocation's deadline has passed")
	errClosing  = errors.New("the daemon is stopping")
	errNoReturn = errors.New("the guest did not return after it was cancelled")
)

// leash holds the two ways of ending a call. The soft one asks: what the guest
// waits for in the host returns cancelled, and it may clean up and answer. The
// hard one interrupts the guest wherever it is, at the price of the instance:
// it comes when the guest has not returned a grace after the soft one.
type leash struct {
	soft, hard context.Context

	ask, cut context.CancelCauseFunc
	done     chan struct{}
}

// hold starts the leash of a call. soft is the invocation's cancel; closing
// ends every call; a deadline of 0 is none.
func hold(soft, closing context.Context, deadline, grace time.Duration) *leash {
	l := &leash{done: make(chan struct{})}
	l.soft, l.ask = context.WithCancelCause(soft)
	// The hard one has to outlive the soft one, whatever that was made from.
	l.hard, l.cut = context.WithCancelCause(context.WithoutCancel(soft))
	go l.watch(closing, deadline, grace)
	return l
}

func (l *leash) watch(closing context.Context, deadline, grace time.Duration) {
	var late <-chan time.Time // nil is never ready
	if deadline > 0 {
		t := time.NewTimer(deadline)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-l.done:
		return
	case <-late:
		l.ask(errDeadline)
	case <-closing.Done():
		l.ask(errClosing)
	case <-l.soft.Done():
	}
	over := time.NewTimer(grace)
	defer over.Stop()
	select {
	case <-l.done:
	case <-over.C:
		l.cut(errNoReturn)
	}
}

// release ends the leash; the guest must have returned.
func (l *leash) release() {
	close(l.done)
	l.ask(nil)
	l.cut(nil)
}

// outcome names how the call ended, as the ledger does: returned tells that the
// guest did return.
func (l *leash) outcome(returned bool) string {
	switch {
	case !returned && l.hard.Err() == nil:
		return OutcomeTrap
	case errors.Is(context.Cause(l.soft), errDeadline):
		return OutcomeDeadline
	case l.soft.Err() != nil:
		return OutcomeCancelled
	}
	return OutcomeOK
}
