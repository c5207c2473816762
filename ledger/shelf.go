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
