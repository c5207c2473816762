package projector

import (
	"context"
	"fmt"

	"github.com/astrid-os/processledger/ledger"
)

// At returns the state after event seq; 0 is the state before the first. It
// starts from the opening state of the segment that holds seq and replays from
// there, so it reads at most one segment. Where that event is not there any
// more, the error has ErrNotFound of the ledger in its chain.
func At(ctx context.Context, r ledger.Reader, seq uint64) (*State, error) {
	s, err := openingBefore(ctx, r, seq)
	if err != nil {
		return nil, fmt.Errorf("state at %d: %w", seq, err)
	}
	if s.seq == seq {
		return s, nil
	}
	for e, err := range r.Events(ctx, s.seq+1, seq) {
		if err != nil {
			return nil, fmt.Errorf("state at %d: %w", seq, err)
		}
		if err := s.Apply(e); err != nil {
			return nil, fmt.Errorf("state at %d: %w", seq, err)
		}
	}
	if s.seq != seq {
		return nil, fmt.Errorf("state at %d: the ledger ends at %d: %w", seq, s.seq, ledger.ErrNotFound)
	}
	return s, nil
}

// openingBefore returns the newest opening state at or before seq.
func openingBefore(ctx context.Context, r ledger.Reader, seq uint64) (*State, error) {
	first, last := r.Bounds()
	if seq == 0 && first <= 1 {
		return New(), nil
	}
	if seq > last {
		return nil, fmt.Errorf("the ledger ends at %d: %w", last, ledger.ErrNotFound)
	}
	// The state before the oldest segment still kept is its opening state.
	if seq+1 == first {
		seq = first
	}
	_, opening, err := r.Opening(ctx, seq)
	if err != nil {
		return nil, err
	}
	if len(opening) == 0 {
		return New(), nil
	}
	return Decode(opening)
}
