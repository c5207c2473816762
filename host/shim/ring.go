//go:build linux

package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring file holds the newest bytes that a program wrote on one stream: a
// header page, then ring+slack bytes used in a circle. Byte number p of the
// stream, counted from 0, stands at headerBytes + p%capacity.
//
// The shim writes and the daemon reads, at the same time and without a lock.
// The writer announces in guard what it is about to overwrite, then writes,
// then publishes total. The reader takes total, copies, and looks at guard
// again: what guard has passed meanwhile is thrown away, so torn bytes are
// never shown.
const (
	headerBytes = 4096
	slackBytes  = 64 << 10 // so that a chunk being written never touches the newest ring bytes
	maxChunk    = slackBytes

	ringMagic = uint64(0x31474e4952545341) // "ASTRING1"

	offMagic    = 0
	offRing     = 8
	offCapacity = 16
	// Each on a cache line of its own. total, guard and dropped belong to
	// the shim, read to the daemon.
	offTotal   = 64
	offGuard   = 128
	offDropped = 192
	offRead    = 256
)

// Bounds of a ring, from the contract: 4 KiB to 8 MiB.
const (
	MinRing = 4 << 10
	MaxRing = 8 << 20
)

// ErrRing means that a ring file is not one, or was cut under its users.
var ErrRing = errors.New("damaged output ring")

// CreateRing makes the ring file name in dirfd with all its space allocated, so
// that a full disk refuses the spawn instead of losing output. The error wraps
// unix.ENOSPC then.
func CreateRing(dirfd int, name string, ring uint32) error {
	ring = min(max(ring, MinRing), MaxRing)
	fd, err := unix.Openat(dirfd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("create "+name, err)
	}
	defer unix.Close(fd)
	capacity := uint64(ring) + slackBytes
	if err := Allocate(fd, headerBytes+int64(capacity)); err != nil {
		return fmt.Errorf("allocate %s: %w", name, err)
	}
	head := binary.NativeEndian.AppendUint64(nil, ringMagic)
	head = binary.NativeEndian.AppendUint64(head, uint64(ring))
	head = binary.NativeEndian.AppendUint64(head, capacity)
	_, err = unix.Pwrite(fd, head, offMagic)
	return os.NewSyscallError("write "+name, err)
}

// Allocate gives fd size bytes of disk. Where the file system cannot allocate
// ahead it writes zeros.
func Allocate(fd int, size int64) error {
	for {
		err := unix.Fallocate(fd, 0, 0, size)
		switch err {
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP, unix.ENOSYS:
			return writeZeros(fd, size)
		}
		return err
	}
}

func writeZeros(fd int, size int64) error {
	zeros := make([]byte, 64<<10)
	for off := int64(0); off < size; {
		n, err := unix.Pwrite(fd, zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// ReserveExit allocates the exit record's file under its temporary name.
func ReserveExit(dirfd int) error {
	fd, err := unix.Openat(dirfd, FileExit+tmpSuffix, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("create exit record", err)
	}
	defer unix.Close(fd)
	if err := Allocate(fd, ReservedExit); err != nil {
		return fmt.Errorf("allocate exit record: %w", err)
	}
	return nil
}

// ringFile is what both ends share.
type ringFile struct {
	fd       int
	page     []byte
	ring     uint64
	capacity uint64
}

func openRing(dirfd int, name string) (*ringFile, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open "+name, err)
	}
	page, err := unix.Mmap(fd, 0, headerBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("mmap "+name, err)
	}
	r := &ringFile{fd: fd, page: page}
	err = guarded(func() error {
		r.ring, r.capacity = r.word(offRing).Load(), r.word(offCapacity).Load()
		if r.word(offMagic).Load() != ringMagic || r.ring < MinRing || r.ring > MaxRing || r.capacity != r.ring+slackBytes {
			return ErrRing
		}
		return nil
	})
	if err != nil {
		r.close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// word returns one counter of the header. The page is aligned and the offsets
// are multiples of 8.
func (r *ringFile) word(off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&r.page[off]))
}

func (r *ringFile) close() {
	unix.Munmap(r.page)
	unix.Close(r.fd)
}

// guarded runs fn, which touches a mapped page, and returns ErrRing instead of
// crashing if somebody has cut the file: a program may run as the user that
// owns it.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(interface{ Addr() uintptr }); !ok {
				panic(p)
			}
			err = ErrRing
		}
	}()
	return fn()
}

// ringWriter is the shim's end.
type ringWriter struct{ *ringFile }

func openRingWriter(dirfd int, name string) (*ringWriter, error) {
	r, err := openRing(dirfd, name)
	if err != nil {
		return nil, err
	}
	return &ringWriter{r}, nil
}

// write appends b, at most maxChunk bytes, over the oldest. An error loses b
// for readers and nothing else.
func (w *ringWriter) write(b []byte) error {
	return guarded(func() error {
		total := w.word(offTotal).Load()
		next := total + uint64(len(b))
		if next > w.capacity {
			w.word(offGuard).Store(next - w.capacity)
		}
		if err := w.copyIn(b, total); err != nil {
			return err
		}
		w.countDropped(total, next)
		w.word(offTotal).Store(next)
		return nil
	})
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

// countDropped adds what leaves the window of the newest ring bytes unread.
func (w *ringWriter) countDropped(total, next uint64) {
	from := max(oldest(total, w.ring), w.word(offRead).Load())
	if to := oldest(next, w.ring); to > from {
		w.word(offDropped).Add(to - from)
	}
}

// dropped returns how many bytes nobody will read.
func (w *ringWriter) dropped() (n uint64) {
	if guarded(func() error { n = w.word(offDropped).Load(); return nil }) != nil {
		return 0
	}
	return n
}

func oldest(total, ring uint64) uint64 {
	if total <= ring {
		return 0
	}
	return total - ring
}

// RingReader is the daemon's end of a ring. It is not for concurrent use.
type RingReader struct{ *ringFile }

// OpenRingReader opens a ring for draining.
func OpenRingReader(dirfd int, name string) (*RingReader, error) {
	r, err := openRing(dirfd, name)
	if err != nil {
		return nil, err
	}
	return &RingReader{r}, nil
}

// Close releases the ring.
func (r *RingReader) Close() { r.close() }

// Buffered returns how many bytes a Drain would return.
func (r *RingReader) Buffered() (n uint64, err error) {
	err = guarded(func() error {
		total := r.word(offTotal).Load()
		n = total - max(oldest(total, r.ring), min(r.word(offRead).Load(), total))
		return nil
	})
	return n, err
}

// Drain returns the bytes that were not drained before, at most the newest ring
// bytes, and how many it had to skip because they are overwritten. keep says how
// many of the bytes, counted from the end, are to be left for the next time. The
// position lives in the file, so a later daemon goes on where this one stopped.
func (r *RingReader) Drain(keep func(b []byte) int) (b []byte, skipped uint64, err error) {
	err = guarded(func() error {
		total := r.word(offTotal).Load()
		read := min(r.word(offRead).Load(), total)
		from := max(read, oldest(total, r.ring))
		b = make([]byte, total-from)
		if err := r.copyOut(b, from); err != nil {
			return err
		}
		// Whatever the writer has begun to overwrite since is torn.
		if torn := r.word(offGuard).Load(); torn > from {
			cut := min(torn, total) - from
			b, from = b[cut:], from+cut
		}
		skipped = from - read
		left := keep(b)
		b = b[:len(b)-left]
		r.word(offRead).Store(from + uint64(len(b)))
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return b, skipped, nil
}

func (r *RingReader) copyOut(b []byte, p uint64) error {
	for len(b) > 0 {
		at := p % r.capacity
		n, err := unix.Pread(r.fd, b[:min(uint64(len(b)), r.capacity-at)], int64(headerBytes+at))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrRing
		}
		b, p = b[n:], p+uint64(n)
	}
	return nil
}
