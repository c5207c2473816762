package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// fileSource reads a ledger that nobody writes.
type fileSource struct {
	dir     string
	archive *ledger.Archive
	read    uint64
}

func (f *fileSource) where() string { return "the files in " + f.dir }

func (f *fileSource) bounds(context.Context) (first, last uint64, err error) {
	first, last = f.archive.Bounds()
	return first, last, nil
}

func (f *fileSource) through() uint64 { return f.read }

func (f *fileSource) get(ctx context.Context, seq uint64) (*event.Event, error) {
	return f.archive.Get(ctx, seq)
}

func (f *fileSource) reader(context.Context) (ledger.Reader, error) { return f.archive, nil }

func (f *fileSource) close() error { return f.archive.Close() }

func (f *fileSource) ps(ctx context.Context, all bool) (*control.Ps, error) {
	_, last := f.archive.Bounds()
	state, err := projector.At(ctx, f.archive, last)
	if err != nil {
		return nil, err
	}
	return control.TableOf(state, all), nil
}

// errNoFollow: only a daemon has something to follow.
var errNoFollow = errors.New("nobody writes this ledger, so there is nothing to follow; start astridd, or leave -f out")

func (f *fileSource) events(ctx context.Context, q *control.EventsQuery) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		if q.Follow {
			yield(nil, &codedError{exitUnreachable, errNoFollow})
			return
		}
		if err := f.scan(ctx, q, yield); err != nil {
			yield(nil, err)
		}
	}
}

// scan yields what q asks for and returns the first error, or nil, also when
// the caller has enough.
func (f *fileSource) scan(ctx context.Context, q *control.EventsQuery, yield func(*event.Event, error) bool) error {
	match, err := query.NewMatcher(q.Filter, f.archive.Get)
	if err != nil {
		return usagef("%v", err)
	}
	from, to, err := f.span(ctx, &q.Filter)
	if err != nil || from > to {
		f.read = to
		return err
	}
	seq := f.archive.Events(ctx, from, to)
	if q.Reverse {
		seq = f.archive.Reverse(ctx, from, to)
	}
	n := 0
	for e, err := range seq {
		if err != nil {
			return err
		}
		f.read = e.Seq
		fits, err := match.Match(ctx, e)
		if err != nil {
			return err
		}
		if !fits {
			continue
		}
		if !yield(e, nil) {
			return nil
		}
		if n++; n == q.Limit {
			return nil
		}
	}
	return nil
}

// span turns the filter's bounds of time and seq into a range of seqs, by
// binary search and not by reading. The order time never decreases, so what
// lies outside cannot match. from is greater than to if nothing can.
func (f *fileSource) span(ctx context.Context, q *query.Filter) (from, to uint64, err error) {
	from, to = f.archive.Bounds()
	if to == 0 {
		return 1, 0, nil
	}
	if !q.Since.IsZero() {
		at, err := f.archive.SeqAt(ctx, millis(q.Since))
		if err != nil {
			return 0, 0, err
		}
		from = max(from, at)
	}
	if !q.Until.IsZero() {
		after, err := f.archive.SeqAt(ctx, millis(q.Until)+1)
		if err != nil {
			return 0, 0, err
		}
		to = min(to, after-1)
	}
	from = max(from, q.FromSeq)
	if q.ToSeq != 0 {
		to = min(to, q.ToSeq)
	}
	return from, to, nil
}

// millis is a moment as order times count it; before 1970 is 0.
func millis(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
