package segment

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockTimeout bounds the wait for bbolt's own lock on a segment file. The
// holder is never a writer of another process (the ledger's lock keeps those
// out) but at most somebody who copies or scans it for a moment.
const lockTimeout = 5 * time.Second

// allocSize is the step by which the newest segment's file grows: bbolt's own
// default. Each step costs one more flush.
const allocSize = 16 << 20

// minSize is less than any bbolt file has: two pages for its own meta data.
const minSize = 2 * 4096

// Segment is an open segment file. Its methods may be called from several
// goroutines, but Append and Seal from one at a time.
type Segment struct {
	path     string
	db       *bolt.DB
	file     *os.File // bbolt's own
	meta     Meta     // Invariant: never changed after the opening, so readers need no lock
	sealed   bool     // by Seal, since then; the writer's own
	readOnly bool
	used     atomic.Int64 // bytes in use as the last write transaction saw it
	faulted  atomic.Bool  // bbolt may hold its locks for ever: see touch
	size     int64        // of the file, as far as Reserve has made it; the writer's own
	held     int64        // to where Hold has taken blocks of the disk; the writer's own
	holdless bool         // the file system cannot do that
}

// OpenNewest opens the ledger's newest segment for appending. sizeCap is the
// size in bytes at which the ledger rolls over: the mapping is made larger
// than that at once, because a later remap has to wait for every reader.
func OpenNewest(path string, sizeCap int64) (*Segment, error) {
	s, err := open(path, false, &bolt.Options{
		Timeout:         lockTimeout,
		InitialMmapSize: mapSize(sizeCap),
		FreelistType:    bolt.FreelistMapType,
		NoStatistics:    true,
	})
	if err != nil {
		return nil, err
	}
	if s.meta.Sealed {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrSealed), s.Close())
	}
	s.db.AllocSize = allocSize
	return s, nil
}

// Access says how a segment will be read.
type Access int

// The ways of reading.
const (
	// Random is for single events: pages are read from disk when needed.
	Random Access = iota

	// Scan is for ranges: the whole file is read into the mapping at once,
	// where the system can (bbolt's mapping switches read-ahead off, and a
	// cold scan takes thirty times as long without this).
	Scan
)

// OpenRead opens a segment for reading. It never writes to the file and takes
// a shared lock on it.
func OpenRead(path string, a Access) (*Segment, error) {
	o := &bolt.Options{Timeout: lockTimeout, ReadOnly: true, NoStatistics: true}
	if a == Scan {
		o.MmapFlags = mapPopulate
	}
	return open(path, true, o)
}

func open(path string, readOnly bool, o *bolt.Options) (*Segment, error) {
	// bbolt would make a file that is not there, and write to an empty one.
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Size() < minSize {
		return nil, &CorruptError{Path: path, Err: fmt.Errorf("%d bytes are too few for a segment", fi.Size())}
	}
	s := &Segment{path: path, readOnly: readOnly, size: fi.Size()}
	o.OpenFile = func(name string, flag int, perm os.FileMode) (f *os.File, err error) {
		s.file, err = os.OpenFile(name, flag, perm)
		return s.file, err
	}
	err = guard(path, 0, func() (err error) {
		s.db, err = bolt.Open(path, 0o600, o)
		return err
	})
	if errors.Is(err, errPage) {
		err = errors.Join(err, s.letGo())
	}
	if err != nil {
		return nil, openError(path, err)
	}
	if err := s.loops(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.readMeta(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openError tells damage from other trouble.
func openError(path string, err error) error {
	for _, damage := range []error{bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum} {
		if errors.Is(err, damage) {
			return &CorruptError{Path: path, Err: err}
		}
	}
	return fmt.Errorf("open %s: %w", path, err)
}

func (s *Segment) readMeta() error {
	return s.view(0, func(tx *bolt.Tx) error {
		m, err := metaOf(tx)
		if errors.Is(err, ErrNewerLayout) {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		if err == nil && (tx.Bucket(bucketEvents) == nil || tx.Bucket(bucketState) == nil) {
			err = errors.New("a bucket is missing")
		}
		if err != nil {
			return &CorruptError{Path: s.path, Err: err}
		}
		s.meta = m
		s.used.Store(tx.Size())
		return nil
	})
}

// Meta tells what the segment is. On the newest it is as of the opening.
func (s *Segment) Meta() Meta { return s.meta }

// Path returns the file's path.
func (s *Segment) Path() string { return s.path }

// Close closes the file. It waits for reads that run. Closing twice is fine.
//
// After a fault that may have left bbolt's locks held, only the file is closed,
// which gives the lock on it back. The mapping stays for as long as the process
// lives: bbolt could not be asked to take it away without waiting for ever.
func (s *Segment) Close() error {
	if !s.faulted.Load() {
		return s.db.Close()
	}
	if err := s.letGo(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// letGo closes the file behind bbolt's back.
func (s *Segment) letGo() error { return errors.Join(unlock(s.file), s.file.Close()) }

// touch runs fn, which uses bbolt, and makes its faults errors. locks tells
// afterwards whether a fault may have left locks of bbolt's held: then the
// segment is not touched again by anybody, since whoever did would hang.
//
// A file that was cut short by somebody else is found by its size first, so
// that nobody meets the missing pages. Only a cut in the very moment between
// the two is met as a fault.
func (s *Segment) touch(seq uint64, locks func() bool, fn func() error) error {
	if s.faulted.Load() {
		return &CorruptError{Path: s.path, Seq: seq, Err: fmt.Errorf("%w: it was given up after a fault", errPage)}
	}
	switch info, err := s.file.Stat(); {
	case errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%s: %w", s.path, bolterrors.ErrDatabaseNotOpen)
	case err != nil:
		return err
	case info.Size() < s.used.Load():
		return &CorruptError{Path: s.path, Seq: seq, Err: fmt.Errorf("the file has %d bytes, and %d are in use: it was cut short", info.Size(), s.used.Load())}
	}
	err := guard(s.path, seq, fn)
	if errors.Is(err, errPage) && locks() {
		s.faulted.Store(true)
	}
	return err
}

// mapSize returns the size of the mapping for a file that is to grow to
// sizeCap: room for the last batch and the last growth step, and some.
func mapSize(sizeCap int64) int {
	if !mapAhead {
		return 0
	}
	return int(sizeCap + sizeCap/8 + 4*allocSize)
}
