package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// An id on the command line is one of:
//
//	01KKNTQ2CN0000000000000068   a process's handle, or an event
//	01KKNTQ2                     the beginning of one handle
//	#12                          the event with that seq

// found is what an id turned out to be: a process's story, or an event that
// belongs to no process.
type found struct {
	story *report.Story
	event *event.Event
}

// find looks an id up.
func find(ctx context.Context, src source, id string) (*found, error) {
	if text, ok := strings.CutPrefix(id, "#"); ok {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, usagef("%q is no event; after # comes a seq", id)
		}
		e, err := src.get(ctx, seq)
		if err != nil {
			return nil, err
		}
		return whole(ctx, src, e)
	}
	last, err := lastOfHandle(ctx, src, id)
	if err == nil && last == nil && len(id) == ulid.EncodedSize {
		last, err = eventByID(ctx, src, id)
	}
	if err != nil {
		return nil, err
	}
	if last == nil {
		return nil, ui.Hint(nothingf("no process and no event %s is in %s", id, src.where()), "list processes with: astridctl ps -a, and events with: astridctl log")
	}
	return whole(ctx, src, last)
}

// lastOfHandle returns the newest event of the one handle that is id or begins
// with it; nil if there is none. A whole id is found from the end of the
// ledger; a beginning needs a look at everything, since it must be unique.
func lastOfHandle(ctx context.Context, src source, id string) (*event.Event, error) {
	q := &control.EventsQuery{Filter: query.Filter{Handles: []string{id}}, Reverse: true}
	if len(id) == ulid.EncodedSize {
		q.Limit = 1
	}
	if err := q.Filter.Check(); err != nil {
		return nil, usagef("%v", err)
	}
	var last *event.Event
	for e, err := range src.events(ctx, q) {
		if err != nil {
			return nil, err
		}
		if last == nil {
			last = e
		}
	}
	return last, nil
}

// eventByID finds an event by its public id: its time part says where to look.
// Order times are those of ids, so events of one millisecond are all there is
// to read.
func eventByID(ctx context.Context, src source, id string) (*event.Event, error) {
	want, err := ulid.ParseStrict(strings.ToUpper(id))
	if err != nil {
		return nil, usagef("%q is no id: %v", id, err)
	}
	at := ulid.Time(want.Time())
	q := &control.EventsQuery{Filter: query.Filter{Since: at, Until: at}}
	for e, err := range src.events(ctx, q) {
		if err != nil {
			return nil, err
		}
		if e.ID == want {
			return e, nil
		}
	}
	return nil, nil
}

// whole returns the whole story that e is part of, or e alone.
func whole(ctx context.Context, src source, e *event.Event) (*found, error) {
	if e.Handle.IsZero() {
		return &found{event: e}, nil
	}
	events, err := chain(ctx, src, e)
	if err != nil {
		return nil, err
	}
	later, err := laterOfHandle(ctx, src, e)
	if err != nil {
		return nil, err
	}
	return &found{story: report.NewStory(append(events, later...))}, nil
}

// chain walks the back-pointers from e to the first event of its handle, and
// returns them in order. Events in segments that were dropped are left out.
func chain(ctx context.Context, src source, e *event.Event) ([]*event.Event, error) {
	events := []*event.Event{e}
	for e.Prev != 0 {
		prev, err := src.get(ctx, e.Prev)
		if errors.Is(err, ledger.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		events = append(events, prev)
		e = prev
	}
	slices.Reverse(events)
	return events, nil
}

// laterOfHandle returns the events of e's handle after e. Nothing points
// forward, so they are read.
func laterOfHandle(ctx context.Context, src source, e *event.Event) ([]*event.Event, error) {
	q := &control.EventsQuery{Filter: query.Filter{Handles: []string{e.Handle.String()}, FromSeq: e.Seq + 1}}
	if _, last, err := src.bounds(ctx); err != nil || last <= e.Seq {
		return nil, err
	}
	var events []*event.Event
	for e, err := range src.events(ctx, q) {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
