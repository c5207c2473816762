package ledger

import (
	"fmt"
	"sync/atomic"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Commit is what Submit returns once the events of a closure are durable.
type Commit struct {
	// Events are those that the closure returned, with their headers.
	Events []*event.Event

	// Receipts are one for each event, in the same order.
	Receipts []*Receipt
}

// Receipt is proof that one event is durable, and the right to act on it once.
// Only a commit makes one that Redeem accepts: the zero Receipt is worthless,
// and a copy is the same receipt, not a second one.
type Receipt struct{ *proof }

// proof is what the copies of a receipt share.
type proof struct {
	ledger *Ledger
	event  *event.Event
	used   atomic.Bool
}

// Event returns the committed event, nil for a zero Receipt.
func (r *Receipt) Event() *event.Event {
	if r == nil || r.proof == nil {
		return nil
	}
	return r.proof.event
}

// Seq returns the event's seq, 0 for a zero Receipt.
func (r *Receipt) Seq() uint64 {
	if e := r.Event(); e != nil {
		return e.Seq
	}
	return 0
}

// Kind returns the event's kind, 0 for a zero Receipt.
func (r *Receipt) Kind() event.Kind {
	if e := r.Event(); e != nil {
		return e.Kind()
	}
	return 0
}

// Handle returns the process handle that the event concerns, zero if none.
func (r *Receipt) Handle() ulid.ULID {
	if e := r.Event(); e != nil {
		return e.Handle
	}
	return ulid.ULID{}
}

// Redeem marks the receipt as used, if it is of this ledger, of kind k and of
// the given handle, and unused. Of several callers with one receipt exactly
// one gets nil.
//
// The errors are ErrReceiptForeign, ErrReceiptMismatch (the receipt stays
// good) and ErrReceiptUsed.
func (l *Ledger) Redeem(r *Receipt, k event.Kind, handle ulid.ULID) error {
	if r == nil || r.proof == nil || r.ledger != l {
		return ErrReceiptForeign
	}
	if r.Kind() != k || r.Handle() != handle {
		return fmt.Errorf("event %d is %v of %s, not %v of %s: %w",
			r.Seq(), r.Kind(), r.Handle(), k, handle, ErrReceiptMismatch)
	}
	if !r.used.CompareAndSwap(false, true) {
		return fmt.Errorf("event %d: %w", r.Seq(), ErrReceiptUsed)
	}
	return nil
}

// commitOf makes the receipts of events that are durable. Nothing else makes
// any.
func (l *Ledger) commitOf(events []*event.Event) *Commit {
	if len(events) == 1 {
		return l.commitOfOne(events)
	}
	proofs := make([]proof, len(events))
	receipts := make([]Receipt, len(events))
	c := &Commit{Events: events, Receipts: make([]*Receipt, len(events))}
	for i, e := range events {
		proofs[i].ledger, proofs[i].event = l, e
		receipts[i].proof = &proofs[i]
		c.Receipts[i] = &receipts[i]
	}
	return c
}

// commitOfOne is commitOf for the most frequent case, in one allocation.
func (l *Ledger) commitOfOne(events []*event.Event) *Commit {
	var all struct {
		commit  Commit
		list    [1]*Receipt
		receipt Receipt
		proof   proof
	}
	one := &all
	one.proof.ledger, one.proof.event = l, events[0]
	one.receipt.proof = &one.proof
	one.list[0] = &one.receipt
	one.commit = Commit{Events: events, Receipts: one.list[:]}
	return &one.commit
}
