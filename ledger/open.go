package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/snapshot"
)

// open brings the directory into order and the fold up to date. It runs before
// the committer goroutine starts.
func (c *committer) open() error {
	dir := segmentsDir(c.l.dir)
	removed, err := segment.RemoveLeftovers(dir)
	if err != nil {
		return err
	}
	if len(removed) > 0 {
		c.l.o.Log.Info("removed what a crash left unfinished", "files", removed)
	}
	files, err := segment.List(dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return c.openFirst()
	}
	for _, f := range files[:len(files)-1] {
		c.l.shelf.add(f.First, f.Path, nil)
	}
	return c.openNewest(files[len(files)-1])
}

// openFirst makes a new ledger.
func (c *committer) openFirst() error {
	// The names of the directories have to be on disk before anything in
	// them is acknowledged.
	for _, dir := range []string{c.l.dir + "/..", c.l.dir, segmentsDir(c.l.dir)} {
		if err := segment.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := c.l.checkSpace(segment.GrowthStep); err != nil {
		return err
	}
	if err := c.l.o.Fold.Restore(nil); err != nil {
		return fmt.Errorf("empty state: %w", err)
	}
	c.ids = newIDSource(ulid.ULID{})
	c.setLedger(newLedgerID(c.now().Wall))
	return c.begin(c.l.o.Fold.Encode(), 1, &event.SegmentOpened{Reason: reasonFirst})
}

func newLedgerID(wall int64) ulid.ULID {
	return ulid.MustNew(uint64(max(wall, 0))/1e6, rand.Reader) // fails only after the year 10889
}

func (c *committer) setLedger(id ulid.ULID) {
	c.l.id = id
	c.l.shelf.ledger = id // before anybody can read
}

// openNewest takes the newest segment up where the last writer left it.
func (c *committer) openNewest(f segment.File) error {
	// Before anybody is shown anything of it. After a failure nobody knows
	// what the disk holds, so nobody goes on.
	if err := segment.Settle(f.Path); err != nil {
		return fmt.Errorf("flush what the last writer left: %w", err)
	}
	m, err := peek(f.Path)
	if err != nil {
		return err
	}
	if m.First != f.First {
		return &CorruptError{Path: f.Path, Err: fmt.Errorf("its first event is %d, its name says %d", m.First, f.First)}
	}
	c.setLedger(m.Ledger)
	c.ids = newIDSource(ulid.ULID{})
	c.newest = newest{path: f.Path, ordinal: m.Ordinal, first: m.First, sealed: m.Sealed}
	abandoned, err := segment.IsAbandoned(f.Path)
	if err != nil {
		return err
	}
	if abandoned {
		// A writer died between a failed commit and its Reopen.
		if err := c.salvage(); err != nil {
			return err
		}
	}
	if err := c.load(); err != nil {
		return err
	}
	c.show()
	if c.newest.sealed {
		// A writer died while it rolled over.
		c.l.shelf.add(f.First, f.Path, nil)
		return c.rollIfDue()
	}
	return c.attach(false)
}

// peek reads what a segment says of itself.
func peek(path string) (segment.Meta, error) {
	s, err := segment.OpenRead(path, segment.Random)
	if err != nil {
		return segment.Meta{}, err
	}
	return s.Meta(), s.Close()
}

// attach opens the newest segment for appending. known tells whether readers
// know it already.
func (c *committer) attach(known bool) (err error) {
	if err := os.Chmod(c.newest.path, newestMode); err != nil {
		return err
	}
	info, err := os.Stat(c.newest.path)
	if err != nil {
		return err
	}
	c.l.place.Store(&place{c.newest.path, info})
	c.l.held.Store(false) // until it is asked to
	if known {
		return c.l.shelf.replace(c.openNewestFile)
	}
	seg, err := c.openNewestFile()
	if err == nil {
		c.l.shelf.add(c.newest.first, c.newest.path, seg)
	}
	return err
}

func (c *committer) openNewestFile() (seg *segment.Segment, err error) {
	seg, err = segment.OpenNewest(c.newest.path, c.l.o.SegmentBytes)
	c.newest.seg = seg
	return seg, err
}

// show makes the events up to head visible to readers.
func (c *committer) show() {
	c.l.durable.Store(c.head.Seq)
	c.l.news.tell()
}

// load brings the fold up to the newest segment's last event and sets head to
// that: from a snapshot where there is one, which takes a few milliseconds
// whatever the segment holds, else from the opening state. Every event that it
// replays is checked.
func (c *committer) load() error {
	seg, err := segment.OpenRead(c.newest.path, segment.Random)
	if err != nil {
		return err
	}
	done, err := c.loadTail(seg)
	if err = errors.Join(err, seg.Close()); err != nil || done {
		return err
	}
	if seg, err = segment.OpenRead(c.newest.path, segment.Scan); err != nil {
		return err
	}
	return errors.Join(c.loadAll(seg), seg.Close())
}

// loadTail loads from a snapshot; false if there is none that leads to the last
// event. An error of the replay may be the snapshot's fault or the segment's:
// the replay of everything will tell.
func (c *committer) loadTail(seg *segment.Segment) (done bool, err error) {
	// The opening state is evidence. That it is whole is checked even where
	// nothing is made of it.
	if _, err := seg.State(); err != nil {
		return false, err
	}
	last, err := lastOf(seg)
	if err != nil {
		return false, err
	}
	e, found := c.fromSnapshot(seg, last)
	if !found {
		return false, nil
	}
	c.passed(e)
	if err := c.replay(seg, e.Seq+1, last); err != nil {
		c.l.o.Log.Warn("the replay goes back to before the newest snapshot", "error", err)
		return false, snapshot.Clear(c.snaps.dir)
	}
	c.snaps.at, c.snaps.skipped = e.Seq, e.Seq
	return true, nil
}

// loadAll replays the whole segment.
func (c *committer) loadAll(seg *segment.Segment) error {
	state, err := seg.State()
	if err != nil {
		return err
	}
	if len(state) == 0 {
		state = nil
	}
	if err := c.l.o.Fold.Restore(state); err != nil {
		return fmt.Errorf("opening state of %s: %w", seg.Path(), err)
	}
	last, err := lastOf(seg)
	if err != nil {
		return err
	}
	c.snaps.at, c.snaps.skipped = c.newest.first, 0
	return c.replay(seg, c.newest.first, last)
}

// replay hands the events of a range to the fold.
func (c *committer) replay(seg *segment.Segment, from, to uint64) error {
	err := decodeAll(seg, from, to, func(e *event.Event) error {
		c.passed(e)
		return c.l.o.Fold.Replay(e)
	})
	if err != nil {
		return fmt.Errorf("replay of %s: %w", seg.Path(), err)
	}
	c.ids.takeOver(c.head.ID)
	return nil
}

// lastOf returns the seq of a segment's last event. There is always one: a
// segment is made with its first.
func lastOf(seg *segment.Segment) (uint64, error) {
	m := seg.Meta()
	last, err := seg.Last()
	switch {
	case err != nil:
		return 0, err
	case last < m.First:
		return 0, &GapError{Path: seg.Path(), Want: m.First}
	case m.Sealed && last < m.Last:
		return 0, &GapError{Path: seg.Path(), Want: last + 1}
	case m.Sealed && last > m.Last:
		return 0, &CorruptError{Path: seg.Path(), Seq: last, Err: fmt.Errorf("sealed after event %d", m.Last)}
	}
	return last, nil
}
