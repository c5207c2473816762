package segment

import (
	"errors"

	bolt "go.etcd.io/bbolt"
)

var errAborted = errors.New("aborted")

// Stream appends a batch while it is still being filled: on another core,
// records go into their pages beside the making of the next ones. It ends with
// Commit or Abort.
type Stream struct {
	s       *Segment
	sent    int // records handed over
	parts   chan part
	result  chan error
	ended   bool
	aborted bool // read after parts is closed
}

// Stream begins a transaction for the batch that the caller is filling. No
// other write to the segment may run until it has ended.
func (s *Segment) Stream() *Stream {
	st := &Stream{s: s, parts: make(chan part, 16), result: make(chan error, 1)}
	go func() { st.result <- s.update(st.put) }()
	return st
}

func (st *Stream) put(tx *bolt.Tx) (err error) {
	st.s.used.Store(tx.Size())
	events := tx.Bucket(bucketEvents)
	for p := range st.parts {
		if err == nil {
			err = putAll(events, p)
		}
	}
	if err == nil && st.aborted {
		err = errAborted
	}
	return err
}

// Send hands over the records that the batch got since the last Send. They
// must not be truncated any more.
func (st *Stream) Send(b *Batch) {
	if b.Len() > st.sent {
		st.parts <- b.from(st.sent)
		st.sent = b.Len()
	}
}

// Sent returns how many records were handed over.
func (st *Stream) Sent() int { return st.sent }

// Commit hands the rest over and returns when all of the batch is durable. It
// is as [Segment.Append], also after an error.
func (st *Stream) Commit(b *Batch) error {
	st.Send(b)
	return st.end()
}

// Abort ends a stream that was not committed. Nothing of it is written.
func (st *Stream) Abort() {
	if !st.ended {
		st.aborted = true
		_ = st.end() // errAborted, or what went wrong with what is thrown away
	}
}

func (st *Stream) end() error {
	st.ended = true
	close(st.parts)
	return <-st.result
}
