package ledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/snapshot"
)

// snapshots is the committer's part in keeping states between the openings of
// segments. They are a cache: nothing here may fail a commit or an opening.
type snapshots struct {
	fold    Snapshotter // nil: none are kept
	dir     string
	every   uint64
	at      uint64 // seq of the newest one that was begun, or of where a replay would start
	skipped uint64 // seq up to which the opening of the ledger read nothing; 0: it read all
	busy    atomic.Bool
	writing sync.WaitGroup // Close waits for it
}

func (s *snapshots) init(dir string, o Options) {
	s.dir = snapshotsDir(dir)
	if fold, ok := o.Fold.(Snapshotter); ok && o.SnapshotEvents > 0 {
		s.fold, s.every = fold, uint64(o.SnapshotEvents)
	}
}

func snapshotsDir(dir string) string { return filepath.Join(dir, "snapshots") }

// snapshotIfDue has the committed state written if enough was committed since
// the last time, unless that is still being written. It runs with nothing in
// flight and after everybody was answered. The newest event must be one that a
// step of the clock is measured from, because the opening reads no other.
func (c *committer) snapshotIfDue() {
	s := &c.snaps
	if s.fold == nil || c.head.Seq-s.at < s.every || c.timed.Seq != c.head.Seq || c.l.queue.failure() != nil {
		return
	}
	if !s.busy.CompareAndSwap(false, true) {
		return
	}
	s.at = c.head.Seq
	m := snapshot.Mark{Ledger: c.l.id, First: c.newest.first, Seq: c.head.Seq, Rules: s.fold.Rules()}
	encode := s.fold.Freeze()
	s.writing.Go(func() {
		defer s.busy.Store(false)
		if err := c.l.keepSnapshot(m, encode()); err != nil {
			c.l.o.Log.Warn("a snapshot was not written; the next start takes longer", "seq", m.Seq, "error", err)
		}
	})
}

// keepSnapshot writes a snapshot and removes older ones. It runs beside the
// committer, and never in the last bytes of a disk.
func (l *Ledger) keepSnapshot(m snapshot.Mark, state []byte) error {
	raw, err := l.get(m.Seq)
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Event = snapshot.EventHash(raw.Prev, raw.Bytes)
	if err := l.checkSpace(int64(len(state))); err != nil {
		return err
	}
	dir := snapshotsDir(l.dir)
	if err := snapshot.Write(dir, m, state); err != nil {
		return err
	}
	return snapshot.Prune(dir)
}

// fromSnapshot restores the fold from the newest snapshot that is proven to be
// of this segment's own past, removes every other that it comes by, and
// returns the event that the replay goes on after; false if there is none.
func (c *committer) fromSnapshot(seg *segment.Segment, last uint64) (*event.Event, bool) {
	if c.snaps.fold == nil {
		return nil, false
	}
	files, err := snapshot.List(c.snaps.dir)
	if err != nil {
		c.l.o.Log.Warn("the snapshots cannot be listed", "error", err)
		return nil, false
	}
	for _, f := range files {
		e, err := c.restoreFrom(f, seg, last)
		if err == nil {
			return e, true
		}
		c.dropSnapshot(f, err)
	}
	return nil, false
}

// dropSnapshot removes one that was not used.
func (c *committer) dropSnapshot(f snapshot.File, why error) {
	c.l.o.Log.Info("a snapshot is not used, and removed", "snapshot", f.Path, "because", why)
	if err := snapshot.Remove(f); err != nil {
		c.l.o.Log.Warn("the snapshot could not be removed", "error", err)
	}
}

// restoreFrom restores the fold from one snapshot, if that is what it must be.
func (c *committer) restoreFrom(f snapshot.File, seg *segment.Segment, last uint64) (*event.Event, error) {
	if f.Seq < c.newest.first || f.Seq > last {
		return nil, fmt.Errorf("the segment has the events %d to %d", c.newest.first, last)
	}
	m, state, err := snapshot.Read(f.Path)
	if err != nil {
		return nil, err
	}
	raw, err := seg.Get(f.Seq)
	if err != nil {
		return nil, err
	}
	want := snapshot.Mark{
		Ledger: c.l.id, First: c.newest.first, Seq: f.Seq,
		Event: snapshot.EventHash(raw.Prev, raw.Bytes), Rules: c.snaps.fold.Rules(),
	}
	if m != want {
		return nil, errors.New("it is of another history, or of another build")
	}
	e, err := decode(raw)
	if err != nil {
		return nil, err
	}
	return e, c.snaps.fold.RestoreAt(state, f.Seq)
}
