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
//
// Under backpressure nothing is overwritten: the writer stops where ring bytes
// are undrained, and the slack takes what comes after the program's end. So the
// window of what can be read is the whole capacity there, and the newest ring
// bytes otherwise.
const (
	headerBytes = 4096
	slackBytes  = 64 << 10 // so that a chunk being written never touches the newest ring bytes
	maxChunk    = slackBytes

	ringMagic = uint64(0x31474e4952545341) // "ASTRING1"

	offMagic    = 0
	offRing     = 8
	offCapacity = 16
	offPolicy   = 24 // policyDrop or policyPressure; an older ring has 0
	// Each on a cache line of its own. total, guard and dropped belong to
	// the shim, read to the daemon. asked is set by the daemon and cleared by
	// the shim, blocked the other way round: each is followed by one message.
	offTotal   = 64
	offGuard   = 128
	offDropped = 192
	offRead    = 256
	offAsked   = 320
	offBlocked = 384
	// Of the standard input, in the ring of stdout: the daemon's notes for the
	// next daemon. See RingReader.BeginInput.
	offInput     = 448
	offInputBusy = 512

	policyDrop     = 1
	policyPressure = 2
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
// unix.ENOSPC then. pressure says that it is written under backpressure.
func CreateRing(dirfd int, name string, ring uint32, pressure bool) error {
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
	policy := uint64(policyDrop)
	if pressure {
		policy = policyPressure
	}
	head = binary.NativeEndian.AppendUint64(head, policy)
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
	window   uint64 // of the newest bytes, how many can be read
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
		// Whatever it says, the guard keeps overwritten bytes from readers.
		r.window = r.ring
		if r.word(offPolicy).Load() == policyPressure {
			r.window = r.capacity
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

// whole is ErrRing if somebody has cut the file: one that has grown again since
// is empty where the header was.
func (r *ringFile) whole() error {
	if r.word(offMagic).Load() != ringMagic {
		return ErrRing
	}
	return nil
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

func oldest(total, window uint64) uint64 {
	if total <= window {
		return 0
	}
	return total - window
}
