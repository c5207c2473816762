package segment

import (
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// GrowthStep is the most, in bytes, by which a file grows for one batch of up
// to a mebibyte: bbolt's growth step. Whoever checks for free space leaves
// room for it.
const GrowthStep = allocSize

// Append writes the batch in one transaction and returns when it is durable:
// two flushes, whatever the batch holds. The batch must start one after the
// segment's last record.
//
// After an error nobody knows what the disk holds: the caller must never write
// to this file again.
func (s *Segment) Append(b *Batch) error {
	return s.update(func(tx *bolt.Tx) error {
		s.used.Store(tx.Size())
		return putAll(tx.Bucket(bucketEvents), b.from(0))
	})
}

// Seal marks the segment, whose last record is last, as complete and returns
// when that is durable. The same holds after an error as for Append.
func (s *Segment) Seal(last uint64) error {
	err := s.update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(keySealed, []byte(strconv.FormatUint(last, 10)))
	})
	if err == nil {
		s.sealed = true
		// What is held is of no use any more. A crash before it, or an error,
		// leaves a file that takes more of the disk than it needs.
		_ = GiveBack(s.path)
	}
	return err
}

// Size returns the bytes in use in the file, as of the last append.
func (s *Segment) Size() int64 { return s.used.Load() }

// putAll puts the records where the keys grow at the right end only, so every
// page is filled to the brim before the next.
func putAll(events *bolt.Bucket, p part) error {
	events.FillPercent = 1
	return p.each(func(key [8]byte, frame []byte) error {
		return events.Put(key[:], frame)
	})
}

// update runs fn in a write transaction. A panic of bbolt is an error like any
// other: after it the file is given up.
func (s *Segment) update(fn func(*bolt.Tx) error) error {
	switch {
	case s.readOnly:
		return fmt.Errorf("%s: %w", s.path, ErrReadOnly)
	case s.meta.Sealed || s.sealed:
		return fmt.Errorf("%s: %w", s.path, ErrSealed)
	}
	return s.touch(0, func() bool { return true }, func() error { return s.db.Update(fn) })
}
