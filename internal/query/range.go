package query

import (
	"context"
	"time"
)

// Log is what [Filter.Range] asks a ledger; ledger.Reader has it.
type Log interface {
	// Bounds returns the first and the last seq, 0 and 0 if there is none.
	Bounds() (first, last uint64)

	// SeqAt returns the first seq of order time ms or later, the last seq and
	// one if there is none.
	SeqAt(ctx context.Context, ms uint64) (uint64, error)
}

// Range turns the filter's bounds of time and seq into a range of seqs, both
// inclusive, by binary search and not by reading. The order time never
// decreases, so what lies outside cannot match. from is at least 1, and greater
// than to if nothing can match. An error is the ledger's.
func (f *Filter) Range(ctx context.Context, log Log) (from, to uint64, err error) {
	from, to = log.Bounds()
	from = max(from, f.FromSeq, 1)
	if f.ToSeq != 0 {
		to = min(to, f.ToSeq)
	}
	if !f.Since.IsZero() {
		at, err := log.SeqAt(ctx, millis(f.Since))
		if err != nil {
			return 0, 0, err
		}
		from = max(from, at)
	}
	if !f.Until.IsZero() {
		after, err := log.SeqAt(ctx, millis(f.Until)+1)
		if err != nil {
			return 0, 0, err
		}
		to = min(to, max(after, 1)-1)
	}
	return from, to, nil
}

// millis is a moment as order times count it; what lies before 1970 is before
// every event.
func millis(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
