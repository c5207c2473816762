package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// reopen goes on after a failed commit. Each step may be done again: an error
// leaves the ledger failed, and the next call begins where it helps.
func (c *committer) reopen() error {
	if c.l.queue.failure() == nil {
		return nil
	}
	if err := c.goOn(); err != nil {
		err = fmt.Errorf("reopen: %w", err)
		c.l.note(fmt.Errorf("%w: %w", ErrFailed, err)) // what is in the way now
		return err
	}
	c.l.o.Log.Info("the ledger goes on in a new segment", "segment", c.newest.path, "last", c.head.Seq)
	return nil
}

func (c *committer) goOn() error {
	// The handle that failed goes. Readers get one for reading, which stays
	// with the old file, and see no more of that than was acknowledged. A
	// segment that failed while it was made is not known to readers yet.
	known := c.l.shelf.endsWith(c.newest.first)
	if known {
		err := c.l.shelf.replace(func() (*segment.Segment, error) {
			return segment.OpenRead(c.newest.path, segment.Random)
		})
		if err != nil {
			return err
		}
	} else if err := closeSegment(c.newest.seg); err != nil {
		return err
	}
	c.newest.seg = nil
	if !c.newest.salvaged {
		if err := c.salvage(); err != nil {
			return err
		}
	}
	if err := c.load(); err != nil {
		return err
	}
	if err := c.attach(known); err != nil {
		return err
	}
	c.show()
	if err := c.tellSurvivors(c.acked); err != nil {
		return err
	}
	c.l.queue.mend()
	c.l.note(nil)
	return nil
}

// tellSurvivors tells the fold which events of the commit that failed are in the
// ledger all the same, before anybody can submit again.
func (c *committer) tellSurvivors(before uint64) error {
	fold, ok := c.l.o.Fold.(Survivors)
	if !ok || before == c.head.Seq {
		return nil
	}
	var es []*event.Event
	for e, err := range c.l.Events(context.Background(), before+1, c.head.Seq) {
		if err != nil {
			return err
		}
		if e.Kind() != event.KindSegmentOpened {
			es = append(es, e)
		}
	}
	if len(es) > 0 {
		fold.Survived(es)
	}
	return nil
}

// salvage copies what verifies of the newest segment into a new file of the
// same first seq, ordinal and opening state, adds a segment.opened that says
// so, and puts the file in the old one's place. Stored bytes are copied as they
// are. The old file stays, under another name.
//
// A crash anywhere in here leaves either the old file, marked as abandoned, or
// the new one, complete, under the segment's name. Open salvages the first
// and goes on in the second.
func (c *committer) salvage() error {
	old, err := segment.OpenRead(c.newest.path, segment.Scan)
	if err != nil {
		return err
	}
	defer old.Close() // of a file for reading: nothing is lost
	// The reserve is for the copy now: until that stands not even an ending can
	// be recorded.
	if err := segment.GiveBack(c.newest.path); err != nil {
		return unwritable(err)
	}
	if err := c.spaceFor(old.Size()); err != nil {
		return err
	}
	state, err := old.State()
	if err != nil {
		return err
	}
	b, err := segment.Build(segmentsDir(c.l.dir), old.Meta(), state)
	if err != nil {
		return noSpace(err)
	}
	err = c.fill(b, old, state)
	if err == nil {
		err = b.Finish()
	}
	named := false
	if err == nil {
		named, err = c.takePlace(b)
	}
	if err != nil && !named {
		err = errors.Join(err, b.Discard())
	}
	if err == nil {
		c.newest.sealed, c.newest.salvaged = false, true
	}
	return noSpace(err)
}

// takePlace keeps the old file under another name and gives its own to the new
// one.
func (c *committer) takePlace(b *segment.Builder) (named bool, err error) {
	aside, err := segment.SetAside(c.newest.path)
	if err != nil {
		return false, err
	}
	c.l.o.Log.Warn("an abandoned segment is kept", "segment", aside)
	// A crash here leaves the old file under both names, which marks it, and
	// the new one under a temporary name: open removes that and salvages
	// again.
	crashpoint.Here("ledger.salvage.set-aside")
	return b.Commit()
}

// fill copies what verifies and appends the segment.opened event.
func (c *committer) fill(b *segment.Builder, old *segment.Segment, state []byte) error {
	last, damage, err := c.copyVerified(b, old)
	if err != nil {
		return err
	}
	if last.Seq < c.mustHold() {
		// Acknowledged events are gone. No program may decide to go on
		// without them.
		return fmt.Errorf("event %d was acknowledged and does not verify: %w", last.Seq+1, damage)
	}
	if damage != nil {
		c.l.o.Log.Warn("left out what does not verify", "after", last.Seq, "error", damage)
	}
	c.ids.takeOver(last.ID)
	h := c.now()
	h.Seq, h.ID = last.Seq+1, c.ids.next(h.Wall)
	c.batch.Reset(h.Seq)
	e := c.opened(state, c.newest.ordinal, &event.SegmentOpened{
		PreviousFirst:   c.newest.first,
		Reason:          reasonSalvaged,
		SalvagedThrough: last.Seq,
	})
	if err := c.put(h, e); err != nil {
		return err
	}
	return b.Add(&c.batch)
}

// mustHold returns the last seq that the newest segment holds for certain: of
// the last event that was acknowledged, as far as this process knows, and of
// the event that the segment was made with.
func (c *committer) mustHold() uint64 { return max(c.l.durable.Load(), c.newest.first) }

// copyVerified copies records until one does not verify. It returns the header
// of the last one copied, and what was wrong with the one after it: nil at the
// end of the file.
func (c *committer) copyVerified(b *segment.Builder, old *segment.Segment) (last Header, damage, err error) {
	last.Seq = c.newest.first - 1
	end, err := old.Last()
	if err != nil {
		return last, nil, err
	}
	var buf segment.Buffer
	for damage == nil && last.Seq < end {
		var records []RawEvent
		records, damage = old.Read(last.Seq+1, end, &buf)
		c.batch.Reset(last.Seq + 1)
		for _, raw := range records {
			e, err := decode(raw)
			if err != nil {
				damage = err
				break
			}
			if err := c.batch.AddRecord(raw); err != nil {
				return last, nil, err
			}
			last = e.Header
		}
		if err := b.Add(&c.batch); err != nil {
			return last, damage, err
		}
	}
	if damage == nil && last.Seq < c.mustHold() {
		damage = &GapError{Path: old.Path(), Want: last.Seq + 1}
	}
	return last, damage, nil
}
