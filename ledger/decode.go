package ledger

import (
	"sync"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// decodeAhead is how many chunks of events are read and decoded ahead of the
// fold: enough for every core of a small machine.
const decodeAhead = 4

var buffers = sync.Pool{New: func() any { return new(segment.Buffer) }}

// chunk is a run of events on its way from the file to the fold.
type chunk struct {
	events []*event.Event
	err    error         // after events
	done   chan struct{} // closed when both are set
}

// decodeAll calls fn with the events of a segment in order. Decoding is most
// of the work of a replay, so it runs beside fn on other cores. No goroutine
// outlives the call.
func decodeAll(seg *segment.Segment, from, to uint64, fn func(*event.Event) error) error {
	chunks := make(chan *chunk, decodeAhead)
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { readChunks(seg, from, to, chunks, stop, &running) })
	err := consume(chunks, fn)
	close(stop)
	running.Wait()
	return err
}

// consume hands the chunks' events to fn.
func consume(chunks <-chan *chunk, fn func(*event.Event) error) error {
	for c := range chunks {
		<-c.done
		for _, e := range c.events {
			if err := fn(e); err != nil {
				return err
			}
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// readChunks reads the range and starts the decoding of each part. It closes
// chunks at the end.
func readChunks(seg *segment.Segment, from, to uint64, chunks chan<- *chunk, stop <-chan struct{}, running *sync.WaitGroup) {
	defer close(chunks)
	for from <= to {
		buf := buffers.Get().(*segment.Buffer)
		records, err := seg.Read(from, to, buf)
		n := uint64(len(records)) // before the decoder gives the buffer back
		c := &chunk{done: make(chan struct{})}
		running.Go(func() {
			c.decode(records, err)
			buffers.Put(buf)
		})
		select {
		case chunks <- c:
		case <-stop:
			return
		}
		if err != nil {
			return
		}
		from += n
	}
}

// decode fills the chunk; readErr comes after the records.
func (c *chunk) decode(records []segment.Record, readErr error) {
	defer close(c.done)
	c.events = make([]*event.Event, 0, len(records))
	for _, raw := range records {
		e, err := decode(raw)
		if err != nil {
			c.err = err
			return
		}
		c.events = append(c.events, e)
	}
	c.err = readErr
}
