package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// Reasons of segment.opened.
const (
	reasonFirst    = "first"
	reasonFull     = "full"
	reasonSalvaged = "salvaged"
)

// Modes of segment files: the auditors' group may read what is never written
// again.
const (
	newestMode = 0o600
	sealedMode = 0o640
)

// rollIfDue begins the next segment if the newest is full, or was sealed
// before. It runs with nothing in flight.
func (c *committer) rollIfDue() error {
	if !c.newest.sealed && !c.full() {
		return nil
	}
	state := c.l.o.Fold.Encode()
	// Space first: once the newest is sealed, nothing can be appended until
	// the next one stands.
	if err := c.l.checkSpace(int64(len(state)) + segment.GrowthStep); err != nil {
		return err
	}
	if err := c.seal(); err != nil {
		return err
	}
	return c.beginNext(state)
}

func (c *committer) full() bool {
	return c.head.Seq-c.newest.first+1 >= c.l.o.SegmentEvents || c.newest.seg.Size() >= c.l.o.SegmentBytes
}

// seal seals the newest segment and lets go of it. It does nothing if that was
// done before.
func (c *committer) seal() error {
	if c.newest.sealed {
		return nil
	}
	if err := c.writeSeal(); err != nil {
		return err
	}
	c.newest.sealed, c.newest.seg = true, nil
	c.l.place.Store(nil)
	// A crash here leaves a sealed newest segment without a successor: open
	// replays it and begins the next, as would have come here.
	crashpoint.Here("ledger.roll.sealed")
	return c.l.shelf.replace(nil) // readers open it for reading from now on
}

func (c *committer) writeSeal() error {
	c.batch.Reset(c.head.Seq + 1)
	if err := c.reserve(); err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.l.o.Around("seal", func() error { return c.newest.seg.Seal(c.head.Seq) })
	if err != nil {
		return c.fail(fmt.Errorf("seal after event %d: %w", c.head.Seq, err))
	}
	return nil
}

// beginNext makes the segment after the sealed newest one, with the first
// event in it, and makes it the newest. An error before the new file has its
// name leaves everything as it was: the next batch tries again.
func (c *committer) beginNext(state []byte) error {
	if err := os.Chmod(c.newest.path, sealedMode); err != nil {
		return fmt.Errorf("next segment: %w", err)
	}
	// A crash here leaves the same as one after the sealing; the mode is set
	// again.
	crashpoint.Here("ledger.roll.opened-to-auditors")
	previous, err := segment.FileSHA256(c.newest.path)
	if err != nil {
		return fmt.Errorf("next segment: hash of %s: %w", c.newest.path, err)
	}
	return c.begin(state, c.newest.ordinal+1, &event.SegmentOpened{
		PreviousSHA256: previous[:],
		PreviousFirst:  c.newest.first,
		Reason:         reasonFull,
	})
}

// begin makes a segment that starts with the given event, after the committed
// ones, and makes it the newest.
func (c *committer) begin(state []byte, ordinal uint64, opened *event.SegmentOpened) error {
	e := c.opened(state, ordinal, opened)
	h := c.now()
	h.Seq, h.ID = c.head.Seq+1, c.ids.next(h.Wall)
	c.batch.Reset(h.Seq)
	if err := c.put(h, e); err != nil {
		return err
	}
	path, named, err := c.build(segment.Meta{Ledger: c.l.id, Ordinal: ordinal, First: h.Seq}, state)
	if err != nil && !named {
		return noSpace(fmt.Errorf("next segment: %w", err))
	}
	c.newest = newest{path: path, ordinal: ordinal, first: h.Seq}
	c.snaps.at = h.Seq
	if err == nil {
		err = c.attach(false)
	}
	if err != nil {
		// Whether the name is on disk is unknown, and a crash could take
		// whatever would be appended to this file.
		return c.fail(fmt.Errorf("new segment %s: %w", path, err))
	}
	c.ids.last = h.ID
	c.publish([]*event.Event{e})
	return nil
}

// opened returns the segment.opened event, without a header.
func (c *committer) opened(state []byte, ordinal uint64, body *event.SegmentOpened) *event.Event {
	sum := sha256.Sum256(state)
	body.Ordinal, body.Layout, body.StateSHA256 = ordinal, segment.Layout, sum[:]
	return &event.Event{Scope: event.Scope{Actor: event.Actor{Kind: event.ActorHost}}, Body: body}
}

// build writes a file that holds the batch. named is true if it may have its
// name already in spite of an error.
func (c *committer) build(m segment.Meta, state []byte) (path string, named bool, err error) {
	b, err := segment.Build(segmentsDir(c.l.dir), m, state)
	if err != nil {
		return "", false, err
	}
	err = b.Add(&c.batch)
	if err == nil {
		err = b.Finish()
	}
	if err == nil {
		err = c.l.o.Around("create", func() (err error) {
			named, err = b.Commit()
			return err
		})
	}
	if err != nil && !named {
		err = errors.Join(err, b.Discard())
	}
	return b.Path(), named, err
}
