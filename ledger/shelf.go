package ledger

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/segment"
)

// maxIdle is how many sealed segments stay open for single reads when nobody
// uses them: enough for a binary search by time over thousands of segments,
// and few enough to leave file descriptors to others.
const maxIdle = 8

// shelf holds the segments of a ledger in order and opens sealed ones when
// they are asked for. The last one is the newest: the one that a live ledger
// writes to, or an archive's copy of it.
type shelf struct {
	// mu guards the fields below, for moments: no file is read under it. A
	// sealed segment is opened under opening instead.
	mu     sync.Mutex
	ledger ulid.ULID
	slots  []*slot // Invariant: by first, ascending
	uses   uint64  // counts takes, to tell which idle handle is oldest
	closed bool
}

// slot is the place of one segment. Its handle is open while somebody uses it
// (refs > 0), while it is the newest (pinned), and for a while after.
type slot struct {
	first uint64
	path  string

	// opening is held by whoever opens the file; it is taken before shelf.mu.
	opening sync.Mutex

	// Guarded by shelf.mu; gone changes only under opening as well.
	seg    *segment.Segment
	refs   int
	pinned bool
	gone   bool   // another slot has taken its place; the last user closes seg
	used   uint64 // shelf.uses at the last take
}

// firstSeq returns the seq at which the shelf begins, 0 if it is empty.
func (s *shelf) firstSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots) == 0 {
		return 0
	}
	return s.slots[0].first
}

// add puts a segment on the shelf, as its newest. seg is nil for one that is
// opened when asked for.
func (s *shelf) add(first uint64, path string, seg *segment.Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots = append(s.slots, &slot{first: first, path: path, seg: seg, pinned: seg != nil})
}

// replace takes the newest segment's handle away: reads that run keep it, and
// the last of them closes it. Then it calls open and puts what that returns in
// its place; until then, whoever wants to read the segment waits. With a nil
// open, or after an error of it, the file is opened for reading when asked for.
func (s *shelf) replace(open func() (*segment.Segment, error)) error {
	fresh := &slot{}
	fresh.opening.Lock()
	defer fresh.opening.Unlock()
	old, err := s.exchange(fresh)
	if err != nil {
		return err
	}
	var seg *segment.Segment
	if err = closeSegment(old); err == nil && open != nil {
		seg, err = open()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh.seg, fresh.pinned = seg, seg != nil
	return err
}

// exchange puts fresh, whose opening the caller holds, in the place of the
// newest segment's slot. It returns the old handle if nobody uses it.
func (s *shelf) exchange(fresh *slot) (*segment.Segment, error) {
	s.mu.Lock()
	old := s.slots[len(s.slots)-1]
	s.mu.Unlock()
	old.opening.Lock() // nobody is half-way through opening it
	defer old.opening.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	fresh.first, fresh.path, fresh.pinned = old.first, old.path, true
	s.slots[len(s.slots)-1] = fresh
	old.pinned, old.gone = false, true
	return old.takeIfUnused(), nil
}

// endsWith tells whether the newest segment begins at first.
func (s *shelf) endsWith(first uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots) > 0 && s.slots[len(s.slots)-1].first == first
}

// takeIfUnused returns the handle if nobody uses it any more and it is not to
// be kept. The caller holds shelf.mu and closes it after giving that up.
func (o *slot) takeIfUnused() *segment.Segment {
	if o.refs > 0 || o.pinned || o.seg == nil {
		return nil
	}
	seg := o.seg
	o.seg = nil
	return seg
}

func closeSegment(seg *segment.Segment) error {
	if seg == nil {
		return nil
	}
	return seg.Close()
}

// at returns the slot that holds seq, and the seq after its last: the next
// segment's first, 0 if there is none.
func (s *shelf) at(seq uint64) (o *slot, next uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.slots), func(i int) bool { return s.slots[i].first > seq })
	if i == 0 {
		return nil, 0, fmt.Errorf("event %d: %w", seq, ErrNotFound)
	}
	if i < len(s.slots) {
		next = s.slots[i].first
	}
	return s.slots[i-1], next, nil
}

// firsts returns the first seq of every segment, in order.
func (s *shelf) firsts() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []uint64
	for _, o := range s.slots {
		all = append(all, o.first)
	}
	return all
}

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

// open opens a slot's file for reading and checks that it is what its place
// says.
func (s *shelf) open(o *slot, a segment.Access) (*segment.Segment, error) {
	seg, err := segment.OpenRead(o.path, a)
	if err != nil {
		return nil, err
	}
	if err := s.check(o, seg.Meta()); err != nil {
		return nil, errors.Join(&CorruptError{Path: o.path, Err: err}, seg.Close())
	}
	return seg, nil
}

func (s *shelf) check(o *slot, m segment.Meta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.First != o.first {
		return fmt.Errorf("its first event is %d, its name says %d", m.First, o.first)
	}
	if m.Ledger != s.ledger && s.ledger != (ulid.ULID{}) {
		return fmt.Errorf("it is of the ledger %s, not of %s", m.Ledger, s.ledger)
	}
	return nil
}

// scanner returns a handle of o's own for a scan, nil if the segment is the
// newest or about as good read as single events. The caller closes it.
func (s *shelf) scanner(o *slot) (*segment.Segment, error) {
	s.mu.Lock()
	closed, pinned := s.closed, o.pinned
	s.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case pinned:
		return nil, nil
	}
	return s.open(o, segment.Scan)
}

// close closes every handle that nobody uses; the last user closes the others.
func (s *shelf) close() error {
	s.mu.Lock()
	s.closed = true
	var toClose []*segment.Segment
	for _, o := range s.slots {
		o.pinned = false
		if seg := o.takeIfUnused(); seg != nil {
			toClose = append(toClose, seg)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, seg := range slices.Backward(toClose) {
		errs = append(errs, seg.Close())
	}
	return errors.Join(errs...)
}
