package ledger

import (
	"errors"

	"github.com/astrid-os/processledger/ledger/segment"
)

// take returns an open handle of the segment that holds seq, for single reads;
// give gives it back.
func (s *shelf) take(seq uint64) (*slot, *segment.Segment, error) {
	for {
		o, _, err := s.at(seq)
		if err != nil {
			return nil, nil, err
		}
		seg, err := s.takeSlot(o)
		if seg != nil || err != nil {
			return o, seg, err
		}
		// Another slot has taken the place of o in between.
	}
}

// takeSlot returns nil if the slot is gone.
func (s *shelf) takeSlot(o *slot) (*segment.Segment, error) {
	if seg, err := s.takeOpen(o); seg != nil || err != nil {
		return seg, err
	}
	o.opening.Lock()
	defer o.opening.Unlock()
	if seg, err := s.takeOpen(o); seg != nil || err != nil || o.gone {
		return seg, err
	}
	seg, err := s.open(o, segment.Random)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(ErrClosed, seg.Close())
	}
	o.seg = seg
	return s.use(o), nil
}

// takeOpen is takeSlot for a handle that is open, nil otherwise.
func (s *shelf) takeOpen(o *slot) (*segment.Segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if o.seg == nil || o.gone {
		return nil, nil
	}
	return s.use(o), nil
}

// use counts a user of an open handle. The caller holds mu.
func (s *shelf) use(o *slot) *segment.Segment {
	s.uses++
	o.refs, o.used = o.refs+1, s.uses
	return o.seg
}

// give gives back a handle that take returned, and closes the one that was
// idle for the longest if too many are.
func (s *shelf) give(o *slot) error {
	s.mu.Lock()
	o.refs--
	var toClose *segment.Segment
	if o.gone || s.closed {
		o.pinned = false
		toClose = o.takeIfUnused()
	} else {
		toClose = s.evict()
	}
	s.mu.Unlock()
	return closeSegment(toClose)
}

// evict picks a handle to close. The caller holds mu.
func (s *shelf) evict() *segment.Segment {
	var oldest *slot
	idle := 0
	for _, o := range s.slots {
		if o.seg == nil || o.refs > 0 || o.pinned {
			continue
		}
		if idle++; oldest == nil || o.used < oldest.used {
			oldest = o
		}
	}
	if idle <= maxIdle {
		return nil
	}
	return oldest.takeIfUnused()
}
