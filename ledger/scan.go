package ledger

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// scanFrom is the number of events in a sealed segment from which on a read of
// a range opens the file for scanning instead of faulting page after page.
const scanFrom = 4096

// Raw implements Reader.
func (r *reader) Raw(ctx context.Context, from, to uint64) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		from, to := r.clamp(from, to)
		s := scan{reader: r}
		err := s.run(ctx, from, to, func(raw RawEvent) (bool, error) { return yield(raw, nil), nil })
		if err != nil {
			yield(RawEvent{}, err)
		}
	}
}

// Events implements Reader.
func (r *reader) Events(ctx context.Context, from, to uint64) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		from, to := r.clamp(from, to)
		if err := r.decoded(ctx, from, to, func(e *event.Event) bool { return yield(e, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// decoded calls step with every event of a range until it returns false.
func (r *reader) decoded(ctx context.Context, from, to uint64, step func(*event.Event) bool) error {
	s := scan{reader: r}
	return s.run(ctx, from, to, func(raw RawEvent) (bool, error) {
		e, err := decode(raw)
		return err == nil && step(e), err
	})
}

// scan reads a range chunk by chunk. It holds at most one handle of its own.
type scan struct {
	*reader
	slot *slot            // that own was opened for
	own  *segment.Segment // nil: the shelf's handle is used
	buf  segment.Buffer
}

// run calls step with every record of the range, between chunks, until step
// returns false or an error.
func (s *scan) run(ctx context.Context, from, to uint64, step func(RawEvent) (more bool, err error)) (err error) {
	stopped := false
	defer func() {
		if closeErr := s.leave(); !stopped {
			err = errors.Join(err, closeErr)
		}
	}()
	for from <= to {
		if err := ctx.Err(); err != nil {
			return err
		}
		records, readErr := s.chunk(from, to)
		for _, raw := range records {
			more, err := step(raw)
			if err != nil || !more {
				stopped = !more && err == nil
				return err
			}
		}
		if readErr != nil {
			return readErr
		}
		from += uint64(len(records))
	}
	return nil
}

// chunk reads some records from seq from on, at least one.
func (s *scan) chunk(from, to uint64) ([]RawEvent, error) {
	o, next, err := s.shelf.at(from)
	if err != nil {
		return nil, err
	}
	if next != 0 {
		to = min(to, next-1)
	}
	if err := s.enter(o, to-from+1); err != nil {
		return nil, err
	}
	if s.own != nil {
		return s.own.Read(from, to, &s.buf)
	}
	o, seg, err := s.shelf.take(from)
	if err != nil {
		return nil, err
	}
	records, err := seg.Read(from, to, &s.buf)
	return records, errors.Join(err, s.shelf.give(o))
}

// enter makes o the segment that is read, of which n events are wanted.
func (s *scan) enter(o *slot, n uint64) error {
	if o == s.slot {
		return nil
	}
	if err := s.leave(); err != nil {
		return err
	}
	s.slot = o
	if n < scanFrom {
		return nil
	}
	own, err := s.shelf.scanner(o)
	s.own = own
	return err
}

// leave closes the scan's own handle.
func (s *scan) leave() error {
	own := s.own
	s.slot, s.own = nil, nil
	return closeSegment(own)
}

// reverseChunk is how many events Reverse reads at a time.
const reverseChunk = 512

// Reverse implements Reader.
func (r *reader) Reverse(ctx context.Context, from, to uint64) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		from, to := r.clamp(from, to)
		for from <= to {
			low := max(from, to-min(to, reverseChunk)+1)
			chunk, err := r.collect(ctx, low, to)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range slices.Backward(chunk) {
				if !yield(e, nil) {
					return
				}
			}
			to = low - 1
		}
	}
}

// collect returns all events of a short range.
func (r *reader) collect(ctx context.Context, from, to uint64) ([]*event.Event, error) {
	all := make([]*event.Event, 0, to-from+1)
	err := r.decoded(ctx, from, to, func(e *event.Event) bool {
		all = append(all, e)
		return true
	})
	return all, err
}
