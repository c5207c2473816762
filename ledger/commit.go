package ledger

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
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
	ids    idSource // ids.last is ahead of head by the batch in flight
	batch  segment.Batch
	stream *segment.Stream // of a large batch; nil: it is written in one go
	events []*event.Event  // of the batch
	ran    []outcome       // of the batch

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
		// Those who were answered run first and queue their next request, so
		// that it shares the next commit instead of waiting for it.
		runtime.Gosched()
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
	if err := c.ready(); err != nil {
		return refuse(rs, err)
	}
	rest, cut := c.runClosures(rs)
	c.finish(c.commit(), cut)
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

// ready makes sure that a batch can be written: that there is a newest segment
// with room, space on the disk, and that a step of the clock is on record.
func (c *committer) ready() error {
	if err := c.l.queue.failure(); err != nil {
		return err
	}
	if err := c.checkSpace(0); err != nil {
		return err
	}
	before := c.head
	if err := c.rollIfDue(); err != nil {
		return err
	}
	c.batch.Reset(c.head.Seq + 1)
	return c.recordStep(before)
}

// runClosures runs the closures of a batch and collects their events. cut is
// true if the last one left the fold's tip in a state that is not ours.
func (c *committer) runClosures(rs []*request) (rest []*request, cut bool) {
	now := c.now()
	c.events = make([]*event.Event, 0, min(len(rs), maxBatchEvents)) // the fold keeps it
	for i, r := range rs {
		if r.fn == nil || c.batch.Len() >= maxBatchEvents || c.batch.Size() >= maxBatchBytes {
			return rs[i:], false
		}
		if !r.take() {
			continue
		}
		next := now
		next.Seq, next.ID = c.batch.Last()+1, c.ids.next(now.Wall)
		out := outcome{r: r}
		out.events, out.err = call(r.fn, next)
		panicked := isPanic(out.err)
		if out.err == nil {
			out.err = c.collect(next, out.events)
			cut = out.err != nil
		}
		c.ran = append(c.ran, out)
		if cut || panicked {
			return rs[i+1:], true
		}
		c.sendAhead(len(rs) - i - 1)
	}
	return nil, false
}

// streamPart is how many records, made and to come, make it worth while to have
// another core put them into pages meanwhile. A lone writer never sees it.
const streamPart = 64

// sendAhead hands finished records over for writing if enough requests wait
// behind them.
func (c *committer) sendAhead(waiting int) {
	switch {
	case c.stream != nil:
		if c.batch.Len()-c.stream.Sent() >= streamPart {
			c.stream.Send(&c.batch)
		}
	case c.batch.Len() >= streamPart && waiting >= streamPart:
		c.stream = c.newest.seg.Stream()
		c.stream.Send(&c.batch)
	}
}

// write appends the batch to the newest segment.
func (c *committer) write() error {
	if c.stream == nil {
		return c.newest.seg.Append(&c.batch)
	}
	return c.stream.Commit(&c.batch)
}

// endStream throws away a stream that was not committed.
func (c *committer) endStream() {
	if c.stream != nil {
		c.stream.Abort()
		c.stream = nil
	}
}

// call runs a closure and turns its panic into a PanicError.
func call(fn func(Header) ([]*event.Event, error), next Header) (es []*event.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			es, err = nil, &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fn(next)
}

func isPanic(err error) bool {
	p, ok := err.(*PanicError)
	return ok && p != nil
}

// collect gives the events of one closure their headers and puts them into the
// batch, all or none.
func (c *committer) collect(next Header, es []*event.Event) error {
	before, size := c.batch.Len(), c.batch.Size()
	h := next
	for i, e := range es {
		if i > 0 {
			h = Following(h, 1)
		}
		err := c.put(h, e)
		if n := c.batch.Size() - size; err == nil && n > maxRequestBytes {
			err = fmt.Errorf("%d events of %d bytes, at most %d: %w", i+1, n, maxRequestBytes, ErrTooLarge)
		}
		if err != nil {
			c.batch.Truncate(before)
			return err
		}
	}
	if len(es) > 0 {
		c.ids.last = h.ID
		c.events = append(c.events, es...)
	}
	return nil
}

// put encodes one event into the batch.
func (c *committer) put(h Header, e *event.Event) error {
	if e == nil || e.Kind() == 0 || e.HeaderOnly() {
		return ErrMalformed
	}
	e.Header = h
	n, err := c.batch.Add(e.Prev, func(b []byte) ([]byte, error) { return event.AppendChecked(b, e) })
	if err != nil {
		return fmt.Errorf("%v: %w: %w", e.Kind(), ErrMalformed, err)
	}
	if n > event.MaxEncoded {
		return fmt.Errorf("%v of %d bytes, at most %d: %w", e.Kind(), n, event.MaxEncoded, ErrTooLarge)
	}
	return nil
}

// commit makes the batch durable.
func (c *committer) commit() error {
	if c.batch.Len() == 0 {
		return nil
	}
	// A crash here leaves nothing of the batch. Nobody was told anything.
	crashpoint.Here("ledger.commit.begin")
	c.writing.Lock()
	defer c.writing.Unlock()
	defer c.endStream()
	err := c.l.o.around("append", c.write)
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
	c.head = last.Header
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
	c.l.queue.fail(err)
	c.l.o.Fold.Discard()
	c.ids.last = c.head.ID
	return err
}

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
// event before, which is the last one ahead of a segment.opened that this batch
// has brought about: that one has the stepped clock already. It goes ahead of
// the batch in a commit of its own, so that every closure finds it in the
// fold's tip.
func (c *committer) recordStep(before Header) error {
	now := c.now()
	if before.Seq == 0 || now.BootID != before.BootID {
		return nil
	}
	delta := (now.Wall - before.Wall) - (now.Boottime - before.Boottime)
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

// checkSpace refuses to write while the disk has less free than the reserve,
// what the file may grow by, and more bytes besides.
func (c *committer) checkSpace(more int64) error {
	if c.l.o.Reserve == 0 {
		return nil
	}
	free, err := c.l.o.freeBytes(c.l.dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", c.l.dir, err)
	}
	if want := c.l.o.Reserve + segment.GrowthStep + more; free < want {
		return fmt.Errorf("%d bytes free, %d wanted: %w", free, want, ErrNoSpace)
	}
	return nil
}

// noSpace makes an error of a full disk an ErrNoSpace.
func noSpace(err error) error {
	if err != nil && isFull(err) {
		return errors.Join(ErrNoSpace, err)
	}
	return err
}
