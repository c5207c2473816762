package ledger

import (
	"fmt"
	"runtime/debug"

	"github.com/astrid-os/processledger/ledger/event"
)

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
