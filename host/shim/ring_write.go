//go:build linux

package shim

import (
	"golang.org/x/sys/unix"
)

// ringWriter is the shim's end. It keeps its counts itself: what stands in the
// header is for readers, and a program of the same user may write there.
type ringWriter struct {
	*ringFile
	total   uint64 // bytes written
	past    uint64 // bytes that have left the window, drained or not
	evicted uint64 // bytes that had left it before anybody had drained them
	lost    uint64 // bytes that were never written
}

func openRingWriter(dirfd int, name string) (*ringWriter, error) {
	r, err := openRing(dirfd, name)
	if err != nil {
		return nil, err
	}
	return &ringWriter{ringFile: r}, nil
}

// write appends b, at most maxChunk bytes, over the oldest, and tells whether a
// reader had asked to be told of output. What the file does not take is lost
// for readers and counted.
func (w *ringWriter) write(b []byte) (asked bool) {
	if len(b) == 0 {
		return false
	}
	err := guarded(func() error {
		if err := w.whole(); err != nil {
			return err
		}
		next := w.total + uint64(len(b))
		w.evict(next) // before anything is overwritten
		if next > w.capacity {
			w.word(offGuard).Store(next - w.capacity)
		}
		if err := w.copyIn(b, w.total); err != nil {
			return err
		}
		w.total = next
		w.word(offTotal).Store(next)
		// After total: a reader asks first and looks for output after.
		asked = w.word(offAsked).Load() != 0 && w.word(offAsked).CompareAndSwap(1, 0)
		return nil
	})
	if err != nil {
		w.lose(uint64(len(b)))
	}
	return asked
}

// copyIn writes b as the bytes of the stream from number p on.
func (w *ringWriter) copyIn(b []byte, p uint64) error {
	for len(b) > 0 {
		at := p % w.capacity
		n, err := unix.Pwrite(w.fd, b[:min(uint64(len(b)), w.capacity-at)], int64(headerBytes+at))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, p = b[n:], p+uint64(n)
	}
	return nil
}

// claims is how often either end tries to move the read position before it gives
// up: each loses to the other once in a while, and to a program that writes
// there without end.
const claims = 1000

// evict takes from the readers what leaves the window undrained once the stream
// has next bytes, and counts it. Both ends move the read position by comparing
// and swapping, so each byte is drained or counted as dropped, and never both.
func (w *ringWriter) evict(next uint64) {
	to := oldest(next, w.window)
	if to <= w.past {
		return
	}
	for range claims {
		read := w.word(offRead).Load()
		if read >= to {
			break
		}
		if w.word(offRead).CompareAndSwap(read, to) {
			w.evicted += to - max(read, w.past)
			w.word(offDropped).Store(w.evicted + w.lost)
			break
		}
	}
	w.past = to
}

// drained is the readers' position, within what was written.
func (w *ringWriter) drained() uint64 { return min(w.word(offRead).Load(), w.total) }

// lose counts n bytes that will not be written.
func (w *ringWriter) lose(n uint64) {
	if n == 0 {
		return
	}
	w.lost += n
	_ = guarded(func() error { w.word(offDropped).Store(w.evicted + w.lost); return nil })
}

// room is how many bytes can be written, up to a chunk, before more than limit
// are undrained. Of a ring that is damaged nothing is read, so nobody need wait
// for room in it.
func (w *ringWriter) room(limit uint64) int {
	room := uint64(maxChunk)
	_ = guarded(func() error {
		if err := w.whole(); err != nil {
			return err
		}
		held := w.total - w.drained()
		room = min(limit-min(held, limit), maxChunk)
		return nil
	})
	return int(room)
}

// markBlocked asks the reader to say so when it has made room.
func (w *ringWriter) markBlocked() {
	_ = guarded(func() error { w.word(offBlocked).Store(1); return nil })
}
