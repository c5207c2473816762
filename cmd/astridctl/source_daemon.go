package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path/filepath"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// daemonSource asks a daemon.
type daemonSource struct {
	client  *control.Client
	archive *ledger.Archive // made by reader
	read    uint64
}

func newDaemonSource(socket string) *daemonSource {
	return &daemonSource{client: control.NewClient(socket)}
}

func (d *daemonSource) where() string { return "the daemon at " + d.client.Socket() }

func (d *daemonSource) bounds(ctx context.Context) (first, last uint64, err error) {
	s, err := d.client.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	return s.Ledger.First, s.Ledger.Last, nil
}

func (d *daemonSource) through() uint64 { return d.read }

func (d *daemonSource) ps(ctx context.Context, all bool) (*control.Ps, error) {
	return d.client.Ps(ctx, all)
}

// events goes on with the next daemon when one makes way for it, after the last
// event that the caller has had.
func (d *daemonSource) events(ctx context.Context, q *control.EventsQuery) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		from := *q
		var began uint64 // where the tail ends, if one is asked for; 0: not known
		if from.Follow && from.Limit > 0 {
			_, began, _ = d.bounds(ctx) // whoever is not there is told of by pass
		}
		for d.pass(ctx, &from, yield) {
			if from.Limit > 0 && began > 0 && !d.tail(ctx, &from, began, yield) {
				return
			}
		}
	}
}

// tail yields the last of what there was up to seq, of which nothing was told
// before the restart. From then on all that came is wanted: the next daemon would
// take what came during the restart for part of a tail, and leave some of it out.
func (d *daemonSource) tail(ctx context.Context, from *control.EventsQuery, seq uint64, yield func(*event.Event, error) bool) bool {
	before := *from
	before.Follow = false
	if before.Filter.ToSeq == 0 || before.Filter.ToSeq > seq {
		before.Filter.ToSeq = seq
	}
	if before.Filter.FromSeq <= before.Filter.ToSeq {
		for e, err := range inOrder(ctx, d, &before) {
			if !yield(e, err) || err != nil {
				return false
			}
		}
	}
	from.Filter.FromSeq, from.Limit = max(from.Filter.FromSeq, seq+1), 0
	return true
}

// pass yields what one daemon sends, and tells whether to ask the next one. from
// is what is left to be asked for.
func (d *daemonSource) pass(ctx context.Context, from *control.EventsQuery, yield func(*event.Event, error) bool) (again bool) {
	stream, err := d.client.Events(ctx, from)
	if err != nil {
		yield(nil, err)
		return false
	}
	defer stream.Close()
	defer func() { d.read = max(d.read, stream.Through()) }()
	for e, err := range stream.All() {
		if from.Follow && control.IsRestarting(err) {
			return true
		}
		if !yield(e, err) || err != nil {
			return false
		}
		if from.Follow { // the last of those before are told once
			from.Filter.FromSeq, from.Limit = e.Seq+1, 0
		}
	}
	return false
}

func (d *daemonSource) get(ctx context.Context, seq uint64) (*event.Event, error) {
	q := &control.EventsQuery{Filter: query.Filter{FromSeq: seq, ToSeq: seq}, Limit: 1}
	for e, err := range d.events(ctx, q) {
		return e, err
	}
	return nil, fmt.Errorf("event %d: %w", seq, ledger.ErrNotFound)
}

// reader joins the sealed segments, which lie on this machine as the socket
// does, and a copy of the newest, which only the daemon can give.
func (d *daemonSource) reader(ctx context.Context) (ledger.Reader, error) {
	if d.archive != nil {
		return d.archive, nil
	}
	s, err := d.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	newest, pipe := io.Pipe()
	go func() {
		_, err := d.client.Newest(ctx, pipe)
		pipe.CloseWithError(err) // nil is the end; a damaged copy fails the reader
	}()
	dir := filepath.Join(s.Data, "ledger")
	archive, err := ledger.OpenArchiveWith(dir, newest)
	newest.Close() // lets the copier go if the reader gave up early
	if err != nil {
		return nil, ui.Hint(err, "besides the daemon this needs the sealed segments in %s", filepath.Join(dir, "segments"))
	}
	d.archive = archive
	return archive, nil
}

func (d *daemonSource) close() error {
	d.client.Close()
	if d.archive == nil {
		return nil
	}
	return d.archive.Close()
}
