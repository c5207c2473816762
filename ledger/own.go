package ledger

import (
	"github.com/astrid-os/processledger/ledger/event"
)

// appendOwn commits one event of the committer's own, with nothing in flight.
func (c *committer) appendOwn(e *event.Event) error {
	h := c.now()
	h.Seq, h.ID = c.head.Seq+1, c.ids.next(h.Wall)
	c.batch.Reset(h.Seq)
	if err := c.put(h, e); err != nil {
		return err
	}
	c.ids.last = h.ID
	if err := c.commit(); err != nil {
		return err
	}
	c.publish([]*event.Event{e})
	return nil
}

// now reads the clock into a header without a place.
func (c *committer) now() Header {
	wall, boot := c.l.o.Clock.Now()
	return Header{Wall: wall, Boottime: boot, BootID: c.l.o.Clock.BootID()}
}

// maxStep is by how much the wall clock may move against CLOCK_BOOTTIME
// between two events, in nanoseconds, before it counts as a step.
const maxStep = 1e9

// recordStep appends a clock.stepped event if the wall clock stepped since the
// last event. It goes ahead of the batch in a commit of its own, so that every
// closure finds it in the fold's tip.
func (c *committer) recordStep() error {
	now := c.now()
	if c.head.Seq == 0 || now.BootID != c.head.BootID {
		return nil
	}
	delta := (now.Wall - c.head.Wall) - (now.Boottime - c.head.Boottime)
	if -maxStep <= delta && delta <= maxStep {
		return nil
	}
	err := c.appendOwn(&event.Event{
		Scope: event.Scope{Actor: event.Actor{Kind: event.ActorHost}},
		Body:  &event.ClockStepped{DeltaNano: delta},
	})
	c.batch.Reset(c.head.Seq + 1)
	return err
}
