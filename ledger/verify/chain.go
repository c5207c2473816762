package verify

import (
	"bytes"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// chain is what goes on from one segment to the next.
type chain struct {
	ledger ulid.ULID     // of the first segment that told
	before *segmentCheck // the segment before this one, nil for the first
	next   uint64        // seq of the next event, 0: unknown
	lastID ulid.ULID     // of the last event that could be read
	links  links

	state    State // nil: nothing is replayed
	replayed bool  // the state is that after all events so far
}

// start begins at the first file's first event.
func (v *verifier) start(first uint64) {
	v.report.FirstSeq, v.next = first, first
	v.links = links{last: make(map[ulid.ULID]uint64), blind: first - 1}
	if first > 1 {
		v.note("history begins at event %d: what was before is not here", first)
	}
	if v.o.NewState != nil && first == 1 {
		v.state, v.replayed = v.o.NewState(), true
	}
}

// lost goes on after a file of which nothing can be read.
func (v *verifier) lost(c *segmentCheck) {
	v.before, v.next = c, 0
	v.blind()
}

// blind says that events up to next could not be read: what depends on them
// cannot be checked.
func (v *verifier) blind() {
	v.replayed = false
	v.links.blind = v.next - 1 // of an unknown next: all of them
}

// begin starts on a segment: it must go on where the last one ended, and its
// opening state must be what the replay gives.
func (c *segmentCheck) begin() {
	switch {
	case c.next == 0: // of the file before, nobody knows where it ended
		c.next = c.first
		c.blind()
	case c.first > c.next:
		c.missing(c.next, c.first-1)
	case c.first < c.next:
		c.found(ClassOrder, c.first, "the segment begins with an event that the one before holds too: that ends with event %d", c.next-1)
		c.next, c.lastID = c.first, ulid.ULID{}
		c.blind()
	}
	c.compare()
	c.restore()
}

// compare compares the opening state with the replay.
func (c *segmentCheck) compare() {
	switch {
	case c.o.NewState == nil || c.opening == nil:
	case c.replayed:
		got, err := encode(c.state)
		if err != nil {
			c.found(ClassState, c.next, "%v", err)
		} else if !bytes.Equal(got, c.opening) {
			c.found(ClassState, c.next, "the opening state (%d bytes) is not what the events before give (%d bytes): they differ at byte %d", len(c.opening), len(got), difference(got, c.opening))
		}
	case c.before != nil:
		c.note("%s: its opening state was not compared: events before it could not be replayed", c.name)
	}
}

// restore makes the opening state the one that is replayed on.
func (c *segmentCheck) restore() {
	c.state, c.replayed = nil, false
	if c.o.NewState == nil || c.opening == nil {
		return
	}
	c.state = c.o.NewState()
	opening := c.opening
	if len(opening) == 0 {
		opening = nil
	}
	var again []byte
	err := guard(func() error { return c.state.Restore(opening) })
	if err == nil {
		again, err = encode(c.state)
	}
	switch {
	case err != nil:
		c.found(ClassState, c.next, "the opening state cannot be read: %v", err)
	case !bytes.Equal(again, c.opening):
		c.found(ClassState, c.next, "the opening state is not in its canonical form")
	default:
		c.replayed = true
	}
}

func difference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// encode returns the state's bytes.
func encode(s State) (b []byte, err error) {
	err = guard(func() error {
		b = s.Encode()
		return nil
	})
	return b, err
}

// guard makes a panic of the projection an error.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the projection panicked: %v", p)
		}
	}()
	return fn()
}

// end ends a segment.
func (c *segmentCheck) end() {
	if c.metaOK && c.meta.Sealed {
		switch {
		case c.next <= c.meta.Last:
			c.missing(c.next, c.meta.Last)
		case c.next > c.meta.Last+1:
			c.found(ClassOrder, c.next-1, "the segment was sealed after event %d", c.meta.Last)
		}
	}
	c.report.LastSeq = max(c.report.LastSeq, c.next-1)
	c.before = c
	c.opening, c.pages = nil, nil // the next segment asks for neither
}

// missing reports that the events from to to are not there.
func (c *segmentCheck) missing(from, to uint64) {
	c.found(ClassGap, from, "events %d to %d are missing", from, to)
	c.next = to + 1
	c.blind()
}
