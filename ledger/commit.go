package ledger

import (
	"errors"
	"fmt"
	"sync"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// A batch takes what has queued, up to these: a commit of a mebibyte takes a
// few milliseconds, and more would only make others wait longer.
const (
	maxBatchEvents = 4096
	maxBatchBytes  = 1 << 20
)

// maxRequestBytes bounds the events of one closure, which are never split. A
// full batch with one more request stays far below segment.GrowthStep, which
// the check for free space counts on.
const maxRequestBytes = 4 << 20

// committer is the one goroutine that runs closures and writes. Nothing in it
// is shared, except as noted.
type committer struct {
	l      *Ledger
	newest newest
	head   Header   // of the last committed event
	timed  Header   // the event that a step of the clock is measured from: see passed
	acked  uint64   // seq of the last event that was acknowledged before the newest failure
	ids    idSource // ids.last is ahead of head by the batch in flight
	batch  segment.Batch
	stream *segment.Stream // of a large batch; nil: it is written in one go
	events []*event.Event  // of the batch
	snaps  snapshots
	ran    []outcome // of the batch

	// writing is held while a commit is on its way to the disk and until its
	// failure is known, so that a copy never begins on pages that are visible
	// and not durable.
	writing sync.Mutex
}

// outcome is what became of a request whose closure ran; its answer waits for
// the commit.
type outcome struct {
	r      *request
	events []*event.Event
	err    error
}

// run is the committer goroutine. It ends when the queue is closed and empty.
func (c *committer) run() {
	defer close(c.l.done)
	var spare []*request
	for {
		all := c.l.queue.get(spare)
		if all == nil {
			return
		}
		for rest := all; len(rest) > 0; {
			rest = c.round(rest)
		}
		spare = all
		c.l.queue.gather()
	}
}

// round serves some of the requests, at least one, and returns the others.
func (c *committer) round(rs []*request) []*request {
	if rs[0].fn == nil {
		if rs[0].take() {
			rs[0].answer(nil, c.reopen())
		}
		return rs[1:]
	}
	err := c.ready()
	c.l.note(err)
	switch {
	case err == nil:
	case c.takesEndings(err):
		if rs = refuseStarts(rs, err); len(rs) == 0 {
			return nil
		}
	default:
		return refuse(rs, err)
	}
	c.batch.Reset(c.head.Seq + 1)
	if err := c.recordStep(); err != nil {
		return refuse(rs, err)
	}
	rest, cut := c.runClosures(rs)
	c.finish(c.commit(), cut)
	c.snapshotIfDue()
	return rest
}

// refuse answers Submits with err, up to the next Reopen.
func refuse(rs []*request, err error) []*request {
	for i, r := range rs {
		if r.fn == nil {
			return rs[i:]
		}
		if r.take() {
			r.answer(nil, err)
		}
	}
	return nil
}

// refuseStarts answers Submits with err, up to the next Reopen, and returns the
// other requests.
func refuseStarts(rs []*request, err error) []*request {
	left := rs[:0]
	for i, r := range rs {
		if r.fn == nil {
			return append(left, rs[i:]...)
		}
		if r.ending {
			left = append(left, r)
		} else if r.take() {
			r.answer(nil, err)
		}
	}
	return left
}

// ready makes sure that a batch of anything can be written: that there is a
// newest segment with room, in its place, and space on the disk.
func (c *committer) ready() error {
	if err := c.l.queue.failure(); err != nil {
		return err
	}
	if err := c.room(); err != nil {
		return err
	}
	return unwritable(noSpace(c.rollIfDue()))
}

// takesEndings tells whether endings can be written although ready failed with
// err. They go into the newest segment, also one that is due to be sealed.
func (c *committer) takesEndings(err error) bool {
	return c.newest.seg != nil && errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrFailed)
}

// commit makes the batch durable.
func (c *committer) commit() error {
	if c.batch.Len() == 0 {
		return nil
	}
	if err := c.reserve(); err != nil {
		return err
	}
	// A crash here leaves nothing of the batch. Nobody was told anything.
	crashpoint.Here("ledger.commit.begin")
	c.writing.Lock()
	defer c.writing.Unlock()
	defer c.endStream()
	err := c.l.o.Around("append", c.write)
	if err != nil {
		return c.fail(fmt.Errorf("commit of events %d to %d: %w", c.head.Seq+1, c.batch.Last(), err))
	}
	// A crash here leaves the batch in the ledger, complete, and nobody was
	// told: replay takes it in, and recovery deals with decisions that were
	// not acted upon.
	crashpoint.Here("ledger.commit.durable")
	return nil
}

// finish tells the fold, then readers, then those who wait.
func (c *committer) finish(err error, cut bool) {
	if err == nil && len(c.events) > 0 {
		c.publish(c.events)
	}
	if err == nil && cut {
		c.l.o.Fold.Discard()
	}
	for _, out := range c.ran {
		out.r.answer(c.result(out, err))
	}
	clear(c.ran)
	c.ran = c.ran[:0]
}

func (c *committer) result(out outcome, err error) (*Commit, error) {
	if err != nil {
		return nil, err
	}
	if out.err != nil {
		return nil, out.err
	}
	return c.l.commitOf(out.events), nil
}

// publish makes durable events known: to the fold first, so that nobody who
// hears of an event finds a state without it.
func (c *committer) publish(es []*event.Event) {
	last := es[len(es)-1]
	c.l.o.Fold.Committed(es)
	c.passed(last)
	c.show()
	// A crash here is one after the commit, for everybody outside.
	crashpoint.Here("ledger.commit.published")
}

// fail gives the newest file up and returns the error for those who wait.
func (c *committer) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	c.l.o.Log.Error("a commit failed; the segment is given up", "segment", c.newest.path, "error", cause)
	// The mark keeps a later process, too, from appending to this file. On a
	// failing disk it may not get there; then the file is opened as what it
	// looks like then, which every process after a crash has to do anyway.
	if _, markErr := segment.SetAside(c.newest.path); markErr != nil {
		c.l.o.Log.Error("the segment could not be marked", "segment", c.newest.path, "error", markErr)
	}
	// A crash here leaves the marked file as the newest: the next opening
	// salvages it, as Reopen would have.
	crashpoint.Here("ledger.fail.marked")
	c.newest.salvaged = false
	c.acked = c.l.durable.Load()
	c.l.queue.fail(err)
	c.l.note(err)
	c.l.o.Fold.Discard()
	c.ids.takeOver(c.head.ID)
	return err
}
