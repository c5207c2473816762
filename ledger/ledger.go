package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/segment"
)

// Ledger is an open ledger, of which this process is the one writer. Its
// methods may be called from several goroutines.
type Ledger struct {
	reader

	dir  string
	o    Options
	lock *dirLock
	id   ulid.ULID

	// durable is the seq of the last event that readers may see. The committer
	// moves it after Fold.Committed.
	durable atomic.Uint64
	news    news // told each time durable moves

	// place and held are set by the committer: where the newest segment is,
	// and whether it holds the blocks of the reserve.
	place     atomic.Pointer[place]
	held      atomic.Bool
	condition condition

	queue queue     // requests on their way to the committer
	c     committer // the committer goroutine's own
	done  chan struct{}
	back  lookBack

	closeOnce sync.Once
	closeErr  error
}

// Open opens the ledger in dir, and makes it if there is none. It takes the
// writer's place, or fails at once with a [LockedError] that names who has it;
// it finishes what a crash left undone, restores the fold, and replays the
// newest segment.
//
// The errors are ErrLocked, ErrNewerLayout, ErrCorrupt, ErrGap, ErrNoSpace,
// those of the fold, and those of the file system.
func Open(dir string, o Options) (*Ledger, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(segmentsDir(dir), 0o750); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lock, err := lockForWriting(dir)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{dir: dir, o: o, lock: lock, done: make(chan struct{})}
	l.reader = reader{shelf: &shelf{}, last: l.durable.Load}
	l.queue.init()
	l.condition.is.State = StateOK
	l.c.l = l
	l.c.snaps.init(dir, o)
	if err := l.c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", dir, err), l.shelf.close(), lock.close())
	}
	l.back.begin(l, l.c.newest.first, l.c.snaps.skipped) // before anything rolls over
	go l.c.run()
	return l, nil
}

func segmentsDir(dir string) string { return filepath.Join(dir, "segments") }

// ID returns the ledger's id, made once with its first segment.
func (l *Ledger) ID() ulid.ULID { return l.id }

// Dir returns the directory that the ledger was opened in.
func (l *Ledger) Dir() string { return l.dir }

// Close commits what was submitted before, and gives the writer's place up.
// Reads that run end with ErrClosed. Closing twice is fine.
func (l *Ledger) Close() error {
	l.closeOnce.Do(func() {
		l.queue.close()
		<-l.done
		l.c.snaps.writing.Wait()
		l.back.end()
		l.news.close()
		l.closeErr = errors.Join(l.shelf.close(), l.lock.close())
	})
	return l.closeErr
}

// Failed returns a channel that closes when a commit fails. After a Reopen
// that succeeded there is a new one.
func (l *Ledger) Failed() <-chan struct{} { return l.queue.failedChan() }

// Reopen goes on after a failed commit: it copies what verifies of the newest
// segment into a new file, puts that in the old one's place, restores the fold
// and replays it. The old file is kept beside it. Events of the commit that
// failed are in the ledger afterwards, or are not; nobody was told either way.
//
// If it fails, the ledger stays as it was and it may be called again. On a
// ledger that has not failed it does nothing. ctx counts until the work
// begins.
//
// The errors are ErrNoSpace, ErrCorrupt if an acknowledged event does not
// verify any more (then a person has to look at the disk), ErrClosed, those of
// the fold, and those of the file system.
func (l *Ledger) Reopen(ctx context.Context) error {
	r := newRequest(nil)
	if err := l.queue.put(r, true); err != nil {
		return err
	}
	_, err := r.wait(ctx)
	return err
}

// CopyInfo describes a copy of the newest segment.
type CopyInfo struct {
	Ledger  ulid.ULID // the ledger's id
	Ordinal uint64    // the segment's
	First   uint64    // seq of its first event
	Last    uint64    // seq of the last event known to be in the copy
	Bytes   int64     // that were written
}

// news tells followers that there are new events.
type news struct {
	mu     sync.Mutex
	ch     chan struct{} // closed at the next event; nil: nobody waits
	closed bool
}

// wait returns a channel that closes at the next tell, nil after close.
func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

func (n *news) close() {
	n.tell()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.ch != nil { // somebody came between the two
		close(n.ch)
		n.ch = nil
	}
}

// newest is the segment that takes appends, as the committer knows it.
type newest struct {
	seg      *segment.Segment // nil: sealed, or failed
	path     string
	ordinal  uint64
	first    uint64
	sealed   bool // the next segment has to be made
	salvaged bool // the file is a salvaged one to which nothing was appended yet
}
