package host

import (
	"context"
	"errors"
	"time"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Spawn runs a program to its end and returns what it wrote. It blocks until
// the exit is durable, ctx is done (the soft cancel of the invocation) or the
// principal's max_timeout has passed; in the last two cases the program is
// ended, and its slot stays taken until its exit.
//
// The error is an *Error: the refusal, Cancelled, WaitTimeout, or Unknown with
// a detail.
func (h *Host) Spawn(ctx context.Context, c Caller, r Request) (*Result, error) {
	o, err := h.spawn(ctx, c, &r, event.TierSync)
	if err != nil {
		h.told("%v", CodeOf(err))
		return nil, err
	}
	defer closeOnce(o.heard)
	result, err := o.result(ctx)
	if err != nil {
		h.told("%v", CodeOf(err))
		return nil, err
	}
	h.told("result")
	return result, nil
}

// SpawnBackground starts a program and returns its handle once process.started
// is durable. The handle belongs to the caller's principal; Drop it. ctx counts
// until the program is let run.
func (h *Host) SpawnBackground(ctx context.Context, c Caller, r Request) (*Process, error) {
	o, err := h.spawn(ctx, c, &r, event.TierBackground)
	if err == nil {
		defer closeOnce(o.heard)
		err = o.startedOr()
	}
	if err != nil {
		h.told("%v", CodeOf(err))
		return nil, err
	}
	h.told("handle")
	return &Process{o: o}, nil
}

// spawn takes a request to its decision and, if that grants it, hands it to an
// owner.
func (h *Host) spawn(ctx context.Context, c Caller, r *Request, tier event.Tier) (*owner, error) {
	if err := h.hopeless(ctx); err != nil {
		return nil, answer(err)
	}
	p := h.plan(c, r, tier)
	o := h.newOwner(p.id, p.scope, tier, p.orders)
	o.kept = h.keep(p)
	if p.refusal == nil {
		if err := h.register(o); err != nil {
			p.refuse("daemon: stopping", errorf(Unknown, "%v", err))
		}
	}
	ready := h.prepareEarly(p)
	commit, err := h.decide(ctx, p.decide)
	switch {
	case errors.Is(err, ledger.ErrFailed) && p.refusal == nil:
		o.takeBack(ready)
		h.work.Go(o.runUndecided)
		return nil, answer(err)
	case err != nil:
		h.unregister(o)
		o.takeBack(ready)
		return nil, answer(err)
	case refused(commit):
		h.unregister(o)
		o.takeBack(ready)
		// The refusal is durable: only now is it told.
		d := commit.Events[1].Body.(*event.SpawnDecided)
		return nil, &Error{Code: codeNamed(d.Code), Detail: d.Detail}
	}
	// A crash here leaves a decision, perhaps a directory, and no go: recovery
	// aborts the spawn.
	crashpoint.Here("daemon.spawn.decided")
	if ready == nil {
		ready = h.prepare(p)
	}
	h.work.Go(func() { o.run(ctx, commit.Receipts[1], ready) })
	return o, nil
}

// hopeless says why a spawn cannot be decided, whatever it is: its caller has
// left, or the ledger cannot commit. Nothing is begun for it: a guest that goes
// on asking is not to keep the machine busy with shims that are taken back.
func (h *Host) hopeless(ctx context.Context) error {
	if c := h.live.Ledger().Condition(); c.State != ledger.StateOK {
		return c.Err
	}
	return ctx.Err()
}

func refused(c *ledger.Commit) bool {
	return c.Events[1].Body.(*event.SpawnDecided).Outcome != event.OutcomeGranted
}

// prepareEarly starts the shim while the decision commits: no act, since the
// program runs only after go. Not for a request that is refused anyway, as far
// as the committed state can tell: those are to cost nothing.
func (h *Host) prepareEarly(p *plan) <-chan prepared {
	hopeless := p.refusal != nil
	h.live.View(func(s *projector.State) {
		if _, refusal := p.seen(s); refusal != nil {
			hopeless = true
		}
	})
	if hopeless {
		return nil
	}
	return h.prepare(p)
}

func (h *Host) prepare(p *plan) <-chan prepared {
	ready := make(chan prepared, 1)
	h.work.Go(func() {
		select {
		case h.preparing <- struct{}{}:
			defer func() { <-h.preparing }()
		case <-h.ctx.Done():
			ready <- prepared{nil, h.ctx.Err()}
			return
		}
		child, err := h.hands.Prepare(h.ctx, p.spec)
		// A crash here leaves a shim without go, which leaves by itself, and a
		// decision that is durable or not: recovery aborts it, or deletes a
		// directory that no decision stands behind.
		crashpoint.Here("daemon.spawn.prepared")
		ready <- prepared{child, err}
	})
	return ready
}

// runUndecided is for a decision whose commit failed: nobody knows whether it
// is in the ledger, and the caller was told that it is not. If the reopened
// ledger holds it, the spawn is aborted.
func (o *owner) runUndecided() {
	defer o.finish()
	closeOnce(o.heard)
	o.abort("commit-failed", "whether the decision was recorded was unknown")
}

// takeBack dismisses what prepareEarly began for a request that is not granted,
// nil if nothing. It blocks until the shim is there and gone again: a guest
// cannot have more shims on their way than calls.
func (o *owner) takeBack(ready <-chan prepared) {
	if ready == nil {
		return
	}
	o.child = (<-ready).child
	o.abandon()
}

// abandon dismisses a shim without go. It is no act: nothing ran, and what is
// taken back is what Prepare made.
func (o *owner) abandon() {
	if o.child == nil || o.takenBack {
		return
	}
	o.h.acted("abandon")
	if err := o.child.Abandon(); err != nil {
		o.h.log.Warn("a shim could not be dismissed", "handle", o.id, "error", err)
		return
	}
	o.takenBack = true
}

// startedOr waits until the start is durable, or says why there was none. Where
// it says so nobody gets the handle: what has ended is released.
func (o *owner) startedOr() error {
	err := o.awaitStarted()
	if err != nil && o.over() {
		o.letGo("refused", "")
	}
	return err
}

func (o *owner) awaitStarted() error {
	select {
	case <-o.running:
	case <-o.gone:
	case <-o.h.ctx.Done():
	}
	select {
	case <-o.ended:
		if o.outcome.exit == nil {
			return o.outcome.err
		}
	default:
	}
	select {
	case <-o.running:
		return nil
	default:
		return o.h.stopped()
	}
}

// result waits for the end of a sync spawn.
func (o *owner) result(ctx context.Context) (*Result, error) {
	select {
	case <-o.ended:
	case <-o.gone:
	case <-o.h.ctx.Done():
	case <-o.timedOut:
		return nil, errorf(WaitTimeout, "it ran longer than the principal's max_timeout")
	case <-ctx.Done():
		if o.over() {
			break // an end that is there wins over a cancel
		}
		if o.forbidGo("caller-gone") {
			return nil, o.awaitAbort()
		}
		o.abandoned()
		return nil, errorf(Cancelled, "the call was cancelled")
	}
	select {
	case <-o.ended:
	default:
		return nil, o.h.stopped()
	}
	switch {
	case o.outcome.exit == nil:
		return nil, o.outcome.err
	case o.outcome.cause == "lifetime":
		return nil, errorf(WaitTimeout, "it ran longer than the principal's max_timeout")
	}
	return &Result{Stdout: o.outcome.stdout, Stderr: o.outcome.stderr, Exit: *o.outcome.exit}, nil
}

// abortBound is how long awaitAbort waits.
const abortBound = 2 * time.Second

// awaitAbort waits until it is recorded that nothing ran, for a bounded time: a
// caller who was cancelled is not to wait for a full disk. It returns the
// answer, which says that nothing ran only if that is recorded.
func (o *owner) awaitAbort() *Error {
	bound := time.NewTimer(abortBound)
	defer bound.Stop()
	select {
	case <-o.ended:
		return errorf(Cancelled, "the call was cancelled; nothing ran")
	case <-o.gone:
	case <-o.h.ctx.Done():
	case <-bound.C:
	}
	return errorf(Cancelled, "the call was cancelled")
}

// abandoned is for a sync spawn that nobody waits for any more. Where a cancel
// is the reason, that ends it, INT first; otherwise it is killed now.
func (o *owner) abandoned() {
	o.mu.Lock()
	cancelled := o.cancelled
	o.mu.Unlock()
	o.h.live.View(func(s *projector.State) {
		if h, ok := s.Handle(o.id); ok {
			_, recorded := h.Obligation("cancel")
			cancelled = cancelled || recorded
		}
	})
	if !cancelled {
		o.letGo("sync-finished", "released")
	}
}

// answer is what a caller is told of an error of the ledger: a caller who left
// before the decision was taken is answered as cancelled.
func answer(err error) error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errorf(Cancelled, "the caller left")
	case ledger.CannotCommit(err):
		return cannotRecord(err)
	default:
		return errorf(Unknown, "the ledger cannot record it: %v", err)
	}
}

// cannotRecord is the answer while the ledger cannot commit. Its text names no
// path: guests see it.
func cannotRecord(err error) *Error {
	why := "the ledger cannot be written"
	switch {
	case errors.Is(err, ledger.ErrFailed):
		why = "a write of the ledger failed, and it is being mended"
	case errors.Is(err, ledger.ErrNoSpace):
		why = "the ledger's disk is full"
	}
	e := errorf(Unknown, "it cannot be recorded, and so it is not done: %s; what runs can be ended, and an operator finds the remedy in astridctl status", why)
	e.cause = err
	return e
}

// codeNamed is the inverse of Code.String.
func codeNamed(name string) Code {
	for c, n := range codeNames {
		if n == name {
			return Code(c)
		}
	}
	return Unknown
}
