package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// events checks every record.
func (c *segmentCheck) events(buckets map[string]bucket) error {
	b, ok := buckets["events"]
	if !ok {
		return nil
	}
	start := c.report.Events
	c.pages.each(b, "events", func(e entry) {
		if c.ctx.Err() == nil {
			c.entry(e)
		}
	})
	if start == c.report.Events && c.ctx.Err() == nil {
		c.found(ClassGap, c.next, "the segment holds no event that can be read")
	}
	return c.ctx.Err()
}

// progressEvery is how many events lie between two lines of progress.
const progressEvery = 1 << 16

// entry checks one entry of the bucket of events.
func (c *segmentCheck) entry(e entry) {
	if len(e.key) != 8 || e.flags != 0 {
		c.found(ClassRecord, 0, "the key %x is not that of an event", e.key)
		return
	}
	seq := binary.BigEndian.Uint64(e.key)
	switch {
	case seq < c.next:
		c.found(ClassOrder, seq, "it stands after event %d", c.next-1)
		return
	case seq > c.next:
		c.missing(c.next, seq-1)
	}
	c.next = seq + 1
	ev, ok := c.decode(seq, e.value)
	if !ok {
		c.blind()
		return
	}
	c.report.Events++
	c.event(ev)
	if c.report.Events%progressEvery == 0 {
		c.at.Events = c.report.Events
		c.out.write(line{Progress: &c.at})
	}
}

// decode reads the record of an event.
func (c *segmentCheck) decode(seq uint64, frame []byte) (*event.Event, bool) {
	r, err := segment.OpenFrame(seq, frame)
	if err != nil {
		c.found(ClassRecord, seq, "%v", err)
		return nil, false
	}
	e, err := event.Decode(r.Bytes)
	if err != nil {
		c.found(ClassDecode, seq, "%v", err)
		return nil, false
	}
	if e.Seq != seq {
		c.found(ClassOrder, seq, "it says that it is event %d", e.Seq)
		return nil, false
	}
	e.Prev = r.Prev
	return e, true
}

// event checks an event against those before it.
func (c *segmentCheck) event(e *event.Event) {
	if e.ID.Compare(c.lastID) <= 0 {
		c.found(ClassOrder, e.Seq, "its id %s does not come after %s, the id before", e.ID, c.lastID)
	}
	c.lastID = e.ID
	if wrong := c.links.follow(e); wrong != "" {
		c.found(ClassLink, e.Seq, "%s", wrong)
	}
	b, opened := e.Body.(*event.SegmentOpened)
	switch {
	case opened:
		c.opened(e.Seq, b)
	case e.Seq == c.first:
		c.found(ClassMeta, e.Seq, "a segment begins with segment.opened, this is %s", e.Kind())
	}
	if c.replayed {
		if err := guard(func() error { return c.state.Apply(e) }); err != nil {
			c.found(ClassTransition, e.Seq, "%v", err)
			c.replayed = false
		}
	}
}

// opened checks the hashes in a segment.opened event.
func (c *segmentCheck) opened(seq uint64, b *event.SegmentOpened) {
	if c.opening != nil {
		if sum := sha256.Sum256(c.opening); !bytes.Equal(sum[:], b.StateSHA256) {
			c.found(ClassHash, seq, "the opening state has the hash %x, segment.opened says %x", sum, b.StateSHA256)
		}
	}
	if c.metaOK && (b.Ordinal != c.meta.Ordinal || b.Layout != c.meta.Layout) {
		c.found(ClassMeta, seq, "segment.opened is of segment %d in layout %d, the file of %d in %d", b.Ordinal, b.Layout, c.meta.Ordinal, c.meta.Layout)
	}
	switch {
	case seq != c.first:
		c.salvaged(seq, b)
	case len(b.PreviousSHA256) > 0 && c.before != nil:
		c.previous(seq, b)
	case len(b.PreviousSHA256) == 0 && seq > 1:
		c.found(ClassHash, seq, "segment.opened has no hash of the segment before")
	}
}

// salvaged checks a segment.opened inside a segment: after a failed commit.
func (c *segmentCheck) salvaged(seq uint64, b *event.SegmentOpened) {
	if b.Reason != "salvaged" || b.SalvagedThrough != seq-1 || b.PreviousFirst != c.first {
		c.found(ClassMeta, seq, "segment.opened (%q, through event %d) inside of a segment", b.Reason, b.SalvagedThrough)
	}
}

// previous checks the hash of the file before.
func (c *segmentCheck) previous(seq uint64, b *event.SegmentOpened) {
	before := c.before
	if b.PreviousFirst != before.first {
		if b.PreviousFirst > c.links.blind { // else it is among what is missing
			c.found(ClassHash, seq, "segment.opened follows the segment of event %d, the file before begins with event %d", b.PreviousFirst, before.first)
		}
		return
	}
	sum, err := segment.FileSHA256(before.path)
	if err != nil {
		c.note("%s: its hash was not compared: %v", before.name, err)
		return
	}
	if !bytes.Equal(sum[:], b.PreviousSHA256) {
		c.fault(Fault{Class: ClassHash, Segment: before.name, Detail: fmt.Sprintf("the file has the hash %x, %s says %x", sum, c.name, b.PreviousSHA256)})
	}
}
