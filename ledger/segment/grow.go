package segment

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// A file grows ahead of what is written to it, by a quarter of its size,
// within these bounds: small ledgers stay small, and nobody waits for long.
const (
	minGrowth = 256 << 10
	maxGrowth = 4 << 20
)

// roomFor returns the most bytes that the pages of a batch may take: a record
// may fill half a page only, and each commit writes the path to the root, the
// freelist and the meta page anew.
func roomFor(b *Batch) int64 { return 2*int64(b.Size()) + 128<<10 }

// Reserve makes sure that the batch finds blocks on the disk: where the file
// is too short it is extended with zeros, and these are flushed. So a full
// disk shows here, where nothing has been tried yet, and a flush of the batch
// finds blocks that are there instead of having to allocate them, which would
// make it half as long again.
//
// The error tells by [errors.Is] what the system said. If damaged is true,
// writing failed in a way that leaves unknown what the disk holds, as after a
// failed Append.
//
// A crash in here leaves a longer file whose tail nobody looks at.
func (s *Segment) Reserve(b *Batch) (damaged bool, err error) {
	used, err := s.inUse()
	if err != nil {
		return errors.Is(err, ErrCorrupt), err
	}
	want := used + roomFor(b)
	if want <= s.size {
		return false, nil
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return false, fmt.Errorf("grow: %w", err)
	}
	damaged, err = s.extend(f, want)
	if err := errors.Join(err, f.Close()); err != nil {
		return damaged, fmt.Errorf("grow %s: %w", s.path, err)
	}
	return false, nil
}

// Hold gives the file at least n bytes of the disk behind its end: what it grows
// into while the disk is full. The file is no longer for it, and nothing is
// written. held is false where the file system cannot do that, or on an error,
// which tells by [errors.Is] what the system said.
//
// A crash leaves the blocks with the file, or some of them; nobody misses them.
func (s *Segment) Hold(n int64) (held bool, err error) {
	if s.holdless || s.held >= s.size+n {
		return !s.holdless, nil
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return false, fmt.Errorf("hold: %w", err)
	}
	err = errors.Join(allocate(f, s.size+n), f.Close())
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.holdless = true
		return false, nil
	case err != nil:
		return false, fmt.Errorf("hold %s: %w", s.path, err)
	}
	s.held = s.size + n
	return true, nil
}

// GiveBack gives back what Hold took for the file at path and it did not need. What
// is in the file stays as it is.
func GiveBack(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, fi.Size())
}

// inUse returns the bytes of the file that the last commit left in use.
func (s *Segment) inUse() (n int64, err error) {
	err = s.view(0, func(tx *bolt.Tx) error {
		n = tx.Size()
		return nil
	})
	return n, err
}

// extend writes zeros behind the end of the file, where bbolt has written
// nothing and will not while this runs: it is the writer that calls.
func (s *Segment) extend(f *os.File, want int64) (damaged bool, err error) {
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	end := max(want, fi.Size()+min(max(fi.Size()/4, minGrowth), maxGrowth))
	zeros := make([]byte, minGrowth)
	for off := fi.Size(); off < end; off += minGrowth {
		if _, err := f.WriteAt(zeros, off); err != nil && s.size < want {
			return false, err
		} else if err != nil {
			break // enough for this batch; a larger one will tell
		}
		s.size = off + minGrowth
	}
	if err := f.Sync(); err != nil {
		return true, err
	}
	crashpoint.Here("ledger.grow.extended")
	return false, nil
}
