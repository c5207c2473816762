package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// A read transaction keeps bbolt from using the pages it may see again, so a
// long one makes the file grow by 16 KiB an event, for good. These bound one
// read; the next goes on by seq.
const (
	maxReadRecords = 1024
	maxReadBytes   = 256 << 10
)

// view runs fn in a read transaction.
func (s *Segment) view(seq uint64, fn func(*bolt.Tx) error) error {
	began := false
	return s.touch(seq, func() bool { return !began }, func() error {
		tx, err := s.db.Begin(false)
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		began = true
		defer func() { _ = tx.Rollback() }() // of a read: it cannot fail while open
		return fn(tx)
	})
}

// Get returns the record seq. Its bytes are the caller's.
func (s *Segment) Get(seq uint64) (r Record, err error) {
	err = s.view(seq, func(tx *bolt.Tx) error {
		key := seqKey(seq)
		frame := tx.Bucket(bucketEvents).Get(key[:])
		if frame == nil {
			return fmt.Errorf("event %d: %w", seq, ErrNotFound)
		}
		r, err = OpenFrame(seq, bytes.Clone(frame))
		return s.corrupt(seq, err)
	})
	return r, err
}

// Read returns the records from seq from on, at most to seq to, as many as one
// short transaction may take, and at least one. They lie in buf and are good
// until its next use; a nil buf is a new one.
//
// With an error it returns the records before the damage: an ErrCorrupt
// concerns the record after them, an ErrGap says that it is missing.
func (s *Segment) Read(from, to uint64, buf *Buffer) ([]Record, error) {
	if from > to {
		return nil, nil
	}
	if buf == nil {
		buf = &Buffer{}
	}
	buf.reset()
	err := s.view(from, func(tx *bolt.Tx) error {
		return s.read(tx.Bucket(bucketEvents).Cursor(), from, to, buf)
	})
	return buf.records, err
}

func (s *Segment) read(c *bolt.Cursor, from, to uint64, buf *Buffer) error {
	key := seqKey(from)
	k, v := c.Seek(key[:])
	for seq := from; seq-from < maxReadRecords; seq++ {
		if err := s.expect(k, seq); err != nil {
			return err
		}
		if buf.size += len(v); buf.size > maxReadBytes && seq > from {
			break
		}
		r, err := OpenFrame(seq, v)
		if err != nil {
			return s.corrupt(seq, err)
		}
		buf.keep(r)
		if seq == to {
			break
		}
		k, v = c.Next()
	}
	return nil
}

// expect checks that the record that came is the one that should.
func (s *Segment) expect(k []byte, seq uint64) error {
	switch {
	case k == nil:
		return &GapError{Path: s.path, Want: seq}
	case len(k) != 8:
		return s.corrupt(seq, fmt.Errorf("a key of %d bytes, want 8", len(k)))
	}
	if got := binary.BigEndian.Uint64(k); got != seq {
		return &GapError{Path: s.path, Want: seq, Got: got}
	}
	return nil
}

// corrupt names the place of an error of OpenFrame; nil stays nil.
func (s *Segment) corrupt(seq uint64, err error) error {
	if err == nil {
		return nil
	}
	return &CorruptError{Path: s.path, Seq: seq, Err: err}
}

// Last returns the seq of the last record, 0 if there is none.
func (s *Segment) Last() (last uint64, err error) {
	err = s.view(0, func(tx *bolt.Tx) error {
		last, err = s.lastKey(tx)
		return err
	})
	return last, err
}

func (s *Segment) lastKey(tx *bolt.Tx) (uint64, error) {
	switch k, _ := tx.Bucket(bucketEvents).Cursor().Last(); len(k) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(k), nil
	default:
		return 0, s.corrupt(0, fmt.Errorf("a key of %d bytes, want 8", len(k)))
	}
}

// State returns the opening state, after checking it against its hash.
func (s *Segment) State() (state []byte, err error) {
	err = s.view(0, func(tx *bolt.Tx) error {
		state = bytes.Clone(tx.Bucket(bucketState).Get(keyOpening))
		if sha256.Sum256(state) != s.meta.StateSHA256 {
			return s.corrupt(0, errors.New("the opening state does not fit its hash"))
		}
		return nil
	})
	return state, err
}

// Snapshot is a consistent view of a segment, held open for a copy of it.
type Snapshot struct {
	s  *Segment
	tx *bolt.Tx
}

// Snapshot opens a view of what is committed now. The caller closes it soon:
// while it is open, the file cannot use pages again.
func (s *Segment) Snapshot() (v *Snapshot, err error) {
	err = s.touch(0, func() bool { return true }, func() error {
		tx, err := s.db.Begin(false)
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		v = &Snapshot{s: s, tx: tx}
		return nil
	})
	return v, err
}

// Size returns the bytes that WriteTo will write.
func (v *Snapshot) Size() int64 { return v.tx.Size() }

// Last returns the seq of the last record in the view, 0 if there is none.
func (v *Snapshot) Last() (last uint64, err error) {
	err = guard(v.s.path, 0, func() error {
		last, err = v.s.lastKey(v.tx)
		return err
	})
	return last, err
}

// WriteTo writes the whole segment, as a file that can be opened.
func (v *Snapshot) WriteTo(w io.Writer) (n int64, err error) {
	n, err = v.tx.WriteTo(w) // which reads the file and not the mapping
	if errors.Is(err, io.EOF) {
		err = &CorruptError{Path: v.s.path, Err: fmt.Errorf("the file ends after %d bytes: it was cut short", n)}
	}
	return n, err
}

// Close ends the view.
func (v *Snapshot) Close() error { return v.tx.Rollback() }

// FileSHA256 returns the hash of all bytes of the file at path. Of a sealed
// segment it never changes again.
func FileSHA256(path string) (sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}
