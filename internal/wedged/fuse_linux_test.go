package wedged

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// hanging is a file system with one file, "hang", of which no read is answered
// before the test says so: whoever reads it cannot be killed meanwhile. A request
// that the server has taken is waited for in uninterruptible sleep, even by a
// process that was sent KILL. So a test can have the most stubborn of processes
// without a broken disk.
type hanging struct {
	fd  int
	dir string

	mu       sync.Mutex
	held     []uint64 // reads that wait
	released bool
}

// mountHanging mounts one on dir, or skips the test and says why.
func mountHanging(t *testing.T, dir string) *hanging {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user cannot mount a file system that all see")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("/dev/fuse is not here: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("astrid-test", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		t.Skipf("a FUSE file system cannot be mounted here: %v", err)
	}
	h := &hanging{fd: fd, dir: dir}
	done := make(chan struct{})
	go func() { defer close(done); h.serve() }()
	t.Cleanup(func() {
		h.release()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		<-done // the last user of the mount ends the connection
	})
	return h
}

// waiting tells how many reads wait.
func (h *hanging) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// release answers every read, now and later, with the end of the file.
func (h *hanging) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	for _, unique := range h.held {
		h.reply(unique, 0, nil)
	}
	h.held = nil
}

// The requests of FUSE that the kernel makes here.
const (
	fuseLookup, fuseForget, fuseGetattr, fuseOpen, fuseRead = 1, 2, 3, 14, 15
	fuseRelease, fuseFlush, fuseInit, fuseInterrupt         = 18, 25, 26, 36
	fuseBatchForget                                         = 42
)

// serve answers requests until the file system is gone.
func (h *hanging) serve() {
	defer unix.Close(h.fd)
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(h.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOENT):
			continue // interrupted, or a request that was taken back
		case err != nil || n < 40:
			return
		}
		opcode, unique, node := binary.LittleEndian.Uint32(buf[4:]), binary.LittleEndian.Uint64(buf[8:]), binary.LittleEndian.Uint64(buf[16:])
		h.handle(opcode, unique, node, buf[40:n])
	}
}

func (h *hanging) handle(opcode uint32, unique, node uint64, body []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch opcode {
	case fuseInit:
		// Version 7.23 is the first with this length; the kernel speaks it.
		out := make([]byte, 64)
		binary.LittleEndian.PutUint32(out, 7)
		binary.LittleEndian.PutUint32(out[4:], 23)
		binary.LittleEndian.PutUint32(out[20:], 4096)
		h.reply(unique, 0, out)
	case fuseLookup:
		if !bytes.Equal(bytes.TrimRight(body, "\x00"), []byte("hang")) {
			h.reply(unique, unix.ENOENT, nil)
			return
		}
		entry := make([]byte, 40)
		binary.LittleEndian.PutUint64(entry, 2)
		h.reply(unique, 0, append(entry, attributes(2)...))
	case fuseGetattr:
		h.reply(unique, 0, append(make([]byte, 16), attributes(node)...))
	case fuseOpen:
		out := make([]byte, 16)
		out[8] = 1 // past the page cache
		h.reply(unique, 0, out)
	case fuseRead:
		if h.released {
			h.reply(unique, 0, nil)
			return
		}
		h.held = append(h.held, unique)
	case fuseRelease, fuseFlush:
		h.reply(unique, 0, nil)
	case fuseForget, fuseBatchForget, fuseInterrupt: // no answer
	default:
		h.reply(unique, unix.ENOSYS, nil)
	}
}

// attributes are those of the root directory and of the file.
func attributes(node uint64) []byte {
	a := make([]byte, 88)
	binary.LittleEndian.PutUint64(a, node)
	mode := uint32(unix.S_IFDIR | 0o755)
	if node == 2 {
		mode = unix.S_IFREG | 0o644
		binary.LittleEndian.PutUint64(a[8:], 4096)
	}
	binary.LittleEndian.PutUint32(a[60:], mode)
	binary.LittleEndian.PutUint32(a[64:], 1)
	return a
}

// reply answers one request. One that was taken back cannot be answered.
func (h *hanging) reply(unique uint64, errno unix.Errno, body []byte) {
	b := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.LittleEndian.AppendUint32(b, uint32(-int32(errno)))
	b = binary.LittleEndian.AppendUint64(b, unique)
	_, _ = unix.Write(h.fd, append(b, body...))
}
