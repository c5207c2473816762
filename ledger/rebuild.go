package ledger

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// Lock takes the writer's place of the ledger in dir without opening it, for
// work on its files, and fails as [Open] does if somebody has it. Closing the
// result gives the place up.
func Lock(dir string) (io.Closer, error) {
	l, err := lockForWriting(dir)
	if err != nil {
		return nil, err
	}
	return closerOf{l}, nil
}

// closerOf makes a dirLock an io.Closer.
type closerOf struct{ l *dirLock }

// Close implements io.Closer.
func (c closerOf) Close() error { return c.l.close() }

// Rebuild says what a newest segment is made of that takes the place of damaged
// files.
type Rebuild struct {
	Ledger  ulid.ULID // the ledger's id; zero: a new one is made
	Ordinal uint64
	First   uint64 // seq of its first event, kept or new
	State   []byte // before that event

	// Through is the last event that is kept, First-1 if none is. Records
	// calls add with each of them, in order, as they were read.
	Through uint64
	Records func(add func(RawEvent) error) error

	// After is an id that was given before, the largest known: the ids of
	// new events come after it.
	After ulid.ULID

	// Before is the path of the sealed segment before it, empty if there is
	// none, BeforeFirst its first event.
	Before      string
	BeforeFirst uint64

	// Events are appended after what is kept, behind a segment.opened.
	Events []*event.Event

	// Gone are the paths of files that the new one stands for, oldest first.
	// Each has another name already, by which it is kept.
	Gone []string
}

// Replace writes the segment and gives it its name in the ledger in dir, whose
// writer's place the caller holds. Damaged is a ledger before it, and sound
// after it. In between it is as damaged as before:
//
// A crash anywhere in here leaves at least the oldest of the files in Gone, which
// are taken away newest first, or the finished segment: in its place, or, where
// it has another name, beside it. Whoever salvages again begins anew.
func (r *Rebuild) Replace(dir string) error {
	if err := os.MkdirAll(segmentsDir(dir), 0o750); err != nil {
		return err
	}
	if r.Ledger.IsZero() {
		r.Ledger = newLedgerID(machineNow().Wall)
	}
	b, err := segment.Build(segmentsDir(dir), segment.Meta{Ledger: r.Ledger, Ordinal: r.Ordinal, First: r.First}, r.State)
	if err != nil {
		return noSpace(err)
	}
	if err = r.fill(b); err == nil {
		err = b.Finish()
	}
	if err != nil {
		return errors.Join(noSpace(err), b.Discard())
	}
	// A crash here leaves the damaged files as they were, and the new one
	// under a temporary name, which is removed.
	crashpoint.Here("ledger.rebuild.written")
	if err := r.clear(dir, b.Path()); err != nil {
		return errors.Join(err, b.Discard())
	}
	if _, err = b.Commit(); err != nil || len(r.Gone) == 0 || r.Gone[0] == b.Path() {
		return err
	}
	// A crash here leaves a damaged file as the newest.
	return errors.Join(os.Remove(r.Gone[0]), segment.SyncDir(segmentsDir(dir)))
}

// clear takes the names of damaged files away but for that of the new one and of
// the oldest, newest first, so that the ledger is damaged until the new one
// stands. Without any file it would be one that is yet to begin.
func (r *Rebuild) clear(dir, path string) error {
	for i := len(r.Gone) - 1; i > 0; i-- {
		if r.Gone[i] == path {
			continue
		}
		if err := os.Remove(r.Gone[i]); err != nil {
			return err
		}
		if err := segment.SyncDir(segmentsDir(dir)); err != nil {
			return err
		}
		// A crash here leaves a ledger whose newest file is one of the
		// damaged ones.
		crashpoint.Here("ledger.rebuild.cleared")
	}
	return nil
}

// fill puts the records and the new events into the segment.
func (r *Rebuild) fill(b *segment.Builder) error {
	var batch segment.Batch
	batch.Reset(r.First)
	err := r.Records(func(raw RawEvent) error {
		if err := batch.AddRecord(raw); err != nil || batch.Size() < maxBatchBytes {
			return err
		}
		err := b.Add(&batch)
		batch.Reset(raw.Seq + 1)
		return err
	})
	if err != nil {
		return err
	}
	opened, err := r.opened()
	if err != nil {
		return err
	}
	ids := newIDSource(r.After)
	h := machineNow()
	h.Seq, h.ID = r.Through+1, ids.next(h.Wall)
	for i, e := range append([]*event.Event{opened}, r.Events...) {
		e.Header = Following(h, i)
		if _, err := batch.Add(e.Prev, func(to []byte) ([]byte, error) { return event.AppendChecked(to, e) }); err != nil {
			return err
		}
	}
	return b.Add(&batch)
}

// opened is the segment.opened that says what this file is.
func (r *Rebuild) opened() (*event.Event, error) {
	sum := sha256.Sum256(r.State)
	body := &event.SegmentOpened{
		Ordinal: r.Ordinal, Layout: segment.Layout, StateSHA256: sum[:], Reason: reasonSalvaged, SalvagedThrough: r.Through,
	}
	switch {
	case r.Through >= r.First: // it stands inside of the segment
		body.PreviousFirst = r.First
	case r.Before != "":
		previous, err := segment.FileSHA256(r.Before)
		if err != nil {
			return nil, err
		}
		body.PreviousSHA256, body.PreviousFirst = previous[:], r.BeforeFirst
	}
	return &event.Event{Scope: event.Scope{Actor: event.Actor{Kind: event.ActorHost}}, Body: body}, nil
}

// machineNow reads the machine's clocks into a header without a place.
func machineNow() Header {
	c := machineClock{boot: bootID()}
	wall, boot := c.Now()
	return Header{Wall: wall, Boottime: boot, BootID: c.BootID()}
}
