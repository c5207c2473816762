//go:build linux

package shim

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrPosition means that a position lies beyond what the stream has.
var ErrPosition = errors.New("position beyond the output")

// RingReader is the daemon's end of a ring. Its methods may be called
// concurrently but for Drain and Close; Drain excludes another Drain, and Close
// all.
type RingReader struct{ *ringFile }

// OpenRingReader opens a ring for reading.
func OpenRingReader(dirfd int, name string) (*RingReader, error) {
	r, err := openRing(dirfd, name)
	if err != nil {
		return nil, err
	}
	return &RingReader{r}, nil
}

// Close releases the ring.
func (r *RingReader) Close() { r.close() }

// span is what the ring holds: bytes from to total of the stream, of which those
// from drained on are not drained yet.
func (r *RingReader) span() (from, drained, total uint64) {
	total = r.word(offTotal).Load()
	from = oldest(total, r.window)
	return from, max(from, min(r.word(offRead).Load(), total)), total
}

// Buffered returns how many bytes a Drain would return, and how many bytes the
// program has written.
func (r *RingReader) Buffered() (n, total uint64, err error) {
	err = guarded(func() error {
		var drained uint64
		_, drained, total = r.span()
		n = total - drained
		return nil
	})
	return n, total, err
}

// Dropped returns how many bytes nobody will drain, as the writer tells.
func (r *RingReader) Dropped() (n uint64, err error) {
	err = guarded(func() error { n = r.word(offDropped).Load(); return nil })
	return n, err
}

// Ask has the writer tell, once, when it writes next. Whoever asks looks for
// output after.
func (r *RingReader) Ask() error {
	return guarded(func() error { r.word(offAsked).Store(1); return nil })
}

// Drain returns the bytes that were not drained before, at most the newest that
// the ring keeps, and the number of the first of them. keep says how many of the
// bytes, counted from the end, are to be left for the next time. The position
// lives in the file, so a later daemon goes on where this one stopped. A writer
// that waits for room is to be told after it: see WasBlocked.
func (r *RingReader) Drain(keep func(b []byte) int) (b []byte, from uint64, err error) {
	err = guarded(func() error {
		if err := r.whole(); err != nil {
			return err
		}
		_, drained, total := r.span()
		if b, from, err = r.copyOut(drained, total-drained); err != nil {
			return err
		}
		b, from, err = r.claim(b, from, keep(b))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return b, from, nil
}

// claim moves the read position behind the bytes b, of which the first is number
// from, but for the last left of them, and returns those that are the reader's:
// the writer may have evicted the first of them meanwhile.
func (r *RingReader) claim(b []byte, from uint64, left int) ([]byte, uint64, error) {
	for range claims {
		read := r.word(offRead).Load()
		if read > from {
			cut := min(read-from, uint64(len(b)))
			b, from = b[cut:], from+cut
		}
		mine := b[:len(b)-min(left, len(b))]
		if r.word(offRead).CompareAndSwap(read, max(read, from+uint64(len(mine)))) {
			return mine, from, nil
		}
	}
	return nil, 0, ErrRing
}

// WasBlocked tells, once, that the writer waits for room. It is asked after the
// read position has moved.
func (r *RingReader) WasBlocked() (blocked bool) {
	_ = guarded(func() error {
		blocked = r.word(offBlocked).Load() != 0 && r.word(offBlocked).CompareAndSwap(1, 0)
		return nil
	})
	return blocked
}

// StillBlocked takes a WasBlocked back that could not be acted on.
func (r *RingReader) StillBlocked() {
	_ = guarded(func() error { r.word(offBlocked).Store(1); return nil })
}

// ReadAt returns at most most bytes of the stream from number pos on, or from
// the oldest that is still there, whose number it returns, and how many bytes
// the stream has. It drains nothing. ErrPosition says that the stream has not
// come to pos.
func (r *RingReader) ReadAt(pos uint64, most int) (b []byte, from, total uint64, err error) {
	err = guarded(func() error {
		if err := r.whole(); err != nil {
			return err
		}
		from, _, total = r.span()
		if pos > total {
			return ErrPosition
		}
		from = max(from, pos)
		b, from, err = r.copyOut(from, min(total-from, uint64(most)))
		return err
	})
	if err != nil {
		return nil, 0, 0, err
	}
	return b, from, total, nil
}

// copyOut returns n bytes of the stream from number p on. Whatever the writer
// has begun to overwrite meanwhile is torn, and left out: from is the number of
// the first byte returned.
func (r *RingReader) copyOut(p, n uint64) (b []byte, from uint64, err error) {
	b = make([]byte, n)
	for rest, at := b, p; len(rest) > 0; {
		off := at % r.capacity
		n, err := unix.Pread(r.fd, rest[:min(uint64(len(rest)), r.capacity-off)], int64(headerBytes+off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if n == 0 {
			return nil, 0, ErrRing
		}
		rest, at = rest[n:], at+uint64(n)
	}
	if torn := r.word(offGuard).Load(); torn > p {
		cut := min(torn-p, n)
		b, p = b[cut:], p+cut
	}
	return b, p, nil
}

// BeginInput notes that a write to the program's standard input begins: if the
// daemon dies before EndInput, the next one knows that the input may be cut
// inside of it.
func (r *RingReader) BeginInput() error {
	return guarded(func() error { r.word(offInputBusy).Store(1); return nil })
}

// TookInput adds what the program's standard input took.
func (r *RingReader) TookInput(n int) error {
	return guarded(func() error { r.word(offInput).Add(uint64(n)); return nil })
}

// EndInput notes that the write is whole.
func (r *RingReader) EndInput() error {
	return guarded(func() error { r.word(offInputBusy).Store(0); return nil })
}

// Input returns how many bytes daemons have written to the program's standard
// input, and whether the last write was cut short.
func (r *RingReader) Input() (n uint64, cut bool, err error) {
	err = guarded(func() error {
		n, cut = r.word(offInput).Load(), r.word(offInputBusy).Load() != 0
		return nil
	})
	return n, cut, err
}

// Drained returns the number of the byte that a Drain would begin with, but for
// what is overwritten.
func (r *RingReader) Drained() (n uint64) {
	_ = guarded(func() error { _, n, _ = r.span(); return nil })
	return n
}
