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

// passed takes in that e is the ledger's last event. A segment.opened does not
// count for steps of the clock: it is written ahead of the batch that needs the
// room, with the stepped clock already, and would swallow the step.
func (c *committer) passed(e *event.Event) {
	c.head = e.Header
	if e.Kind() != event.KindSegmentOpened || c.timed.Seq == 0 {
		c.timed = e.Header
	}
}

// recordStep appends a clock.stepped event if the wall clock stepped since the
// event before. It goes ahead of the batch in a commit of its own, so that
// every closure finds it in the fold's tip.
func (c *committer) recordStep() error {
	now := c.now()
	if c.timed.Seq == 0 || now.BootID != c.timed.BootID {
		return nil
	}
	delta := (now.Wall - c.timed.Wall) - (now.Boottime - c.timed.Boottime)
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
