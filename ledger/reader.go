package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// RawEvent is an event as it is stored: Bytes is what event.Decode takes.
type RawEvent = segment.Record

// Reader reads events. A live [Ledger] and an offline [Archive] are Readers.
//
// What it returns is durable. No transaction is held while the caller works,
// so a slow caller delays nobody. A sequence that ends in an error ends there:
// the last pair has a zero event and the error.
type Reader interface {
	// Bounds returns the seq of the first and the last event, 0, 0 if there
	// is none.
	Bounds() (first, last uint64)

	// Get returns the event seq, or ErrNotFound.
	Get(ctx context.Context, seq uint64) (*event.Event, error)

	// Events yields the events from seq from to seq to, both included, in
	// order. A to of 0, or one beyond it, is the last event as of the first
	// step; a from before the first event is the first.
	Events(ctx context.Context, from, to uint64) iter.Seq2[*event.Event, error]

	// Reverse yields the same events, last first.
	Reverse(ctx context.Context, from, to uint64) iter.Seq2[*event.Event, error]

	// Raw yields the same events as Events, undecoded: for a reader that looks
	// at few of them, with event.DecodeHeader. Their Bytes are good until the
	// next step; a caller who keeps them copies them.
	Raw(ctx context.Context, from, to uint64) iter.Seq2[RawEvent, error]

	// SeqAt returns the seq of the first event whose order time (the
	// milliseconds since 1970 in its id) is ms or later; one more than the
	// last event's if there is none. It searches, without an index: some
	// twenty single reads in a ledger of millions.
	SeqAt(ctx context.Context, ms uint64) (uint64, error)

	// Opening returns the state before the segment that holds seq, as the
	// fold encoded it, and the seq of the segment's first event: the state at
	// seq is that, with the events from first to seq applied.
	Opening(ctx context.Context, seq uint64) (first uint64, state []byte, err error)
}

// reader reads what is on a shelf, up to the event that last returns.
type reader struct {
	shelf *shelf
	last  func() uint64
}

var (
	_ Reader = (*Ledger)(nil)
	_ Reader = (*Archive)(nil)
)

// Bounds implements Reader.
func (r *reader) Bounds() (first, last uint64) {
	last = r.last()
	if last == 0 {
		return 0, 0
	}
	return r.shelf.firstSeq(), last
}

// Get implements Reader.
func (r *reader) Get(ctx context.Context, seq uint64) (*event.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := r.get(seq)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// get returns the stored form of the event seq.
func (r *reader) get(seq uint64) (raw RawEvent, err error) {
	if seq == 0 || seq > r.last() {
		return raw, fmt.Errorf("event %d: %w", seq, ErrNotFound)
	}
	err = r.with(seq, func(seg *segment.Segment) error {
		raw, err = seg.Get(seq)
		return err
	})
	return raw, err
}

// with calls fn with the segment that holds seq.
func (r *reader) with(seq uint64, fn func(*segment.Segment) error) error {
	o, seg, err := r.shelf.take(seq)
	if err != nil {
		return err
	}
	err = fn(seg)
	return errors.Join(err, r.shelf.give(o))
}

// decode decodes a stored event and checks that it is the one its place says.
func decode(raw RawEvent) (*event.Event, error) {
	e, err := event.Decode(raw.Bytes)
	if err == nil && e.Seq != raw.Seq {
		err = fmt.Errorf("it says that it is event %d", e.Seq)
	}
	if err != nil {
		return nil, &CorruptError{Path: "ledger", Seq: raw.Seq, Err: err}
	}
	e.Prev = raw.Prev
	return e, nil
}

// clamp cuts a range to what there is.
func (r *reader) clamp(from, to uint64) (uint64, uint64) {
	first, last := r.Bounds()
	if to == 0 || to > last {
		to = last
	}
	return max(from, first, 1), to
}

// Opening implements Reader.
func (r *reader) Opening(ctx context.Context, seq uint64) (first uint64, state []byte, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	if seq == 0 || seq > r.last() {
		return 0, nil, fmt.Errorf("event %d: %w", seq, ErrNotFound)
	}
	err = r.with(seq, func(seg *segment.Segment) error {
		first = seg.Meta().First
		state, err = seg.State()
		return err
	})
	return first, state, err
}

// SeqAt implements Reader.
func (r *reader) SeqAt(ctx context.Context, ms uint64) (uint64, error) {
	first, last := r.Bounds()
	if last == 0 {
		return 1, nil
	}
	// The segments first, by their first events, then inside the last one
	// that begins before ms: single reads inside one file are cheaper than
	// the opening of many.
	firsts := r.shelf.firsts()
	i, err := search(ctx, 0, uint64(len(firsts)), func(i uint64) (bool, error) { return r.isAt(firsts[i], ms) })
	if err != nil || i == 0 {
		return first, err
	}
	end := last + 1
	if i < uint64(len(firsts)) {
		end = firsts[i]
	}
	return search(ctx, firsts[i-1]+1, end, func(seq uint64) (bool, error) { return r.isAt(seq, ms) })
}

// isAt tells whether the event seq is of the order time ms or later.
func (r *reader) isAt(seq, ms uint64) (bool, error) {
	if seq > r.last() {
		return true, nil // a segment begun after the caller looked
	}
	raw, err := r.get(seq)
	if err != nil {
		return false, err
	}
	h, err := event.DecodeHeader(raw.Bytes)
	if err != nil {
		return false, &CorruptError{Path: "ledger", Seq: seq, Err: err}
	}
	return h.ID.Time() >= ms, nil
}

// search returns the least n of [low, high) for which is holds, high if none:
// a binary search whose steps can fail.
func search(ctx context.Context, low, high uint64, is func(uint64) (bool, error)) (uint64, error) {
	for low < high {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		mid := low + (high-low)/2
		yes, err := is(mid)
		if err != nil {
			return 0, err
		}
		if yes {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low, nil
}
