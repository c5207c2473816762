package main

import (
	"context"
	"errors"
	"iter"

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
	f.read = 0
	from, to, err := q.Filter.Range(ctx, f.archive)
	if err != nil || from > to {
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
