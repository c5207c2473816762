//go:build linux

package act

import (
	"fmt"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/host/shim"
)

// Tail is a reader of a process's output that has its own hold of the rings: it
// drains nothing, and what they hold stays readable for it when the process is
// released and its directory deleted. Reading is no act. Close it.
type Tail struct {
	c  *Child
	mu sync.Mutex // held for one read; after Close the rings are nil

	logs [2]*shim.RingReader
}

// Tail opens the output of a process. The error wraps os.ErrNotExist if its
// directory is deleted.
func (c *Child) Tail() (*Tail, error) {
	dirfd, err := openDir(c.path)
	if err != nil {
		return nil, fmt.Errorf("tail %s: %w", c.id, err)
	}
	defer closeFD(dirfd)
	t := &Tail{c: c}
	for s, name := range [2]string{shim.FileStdout, shim.FileStderr} {
		if t.logs[s], err = shim.OpenRingReader(dirfd, name); err != nil {
			t.Close()
			return nil, fmt.Errorf("tail %s: %w", c.id, err)
		}
	}
	return t, nil
}

// TailOf opens the output of a process that need not be held, as far as it has
// been written: every stream counts as ended, and nobody tells of more. The error
// wraps os.ErrNotExist if there is no directory.
func (h *Hands) TailOf(id ulid.ULID) (*Tail, error) {
	c := &Child{h: h, id: id, path: h.path(id), ended: true, streamsEnded: [2]bool{true, true}}
	return c.Tail()
}

// Close lets go of the rings.
func (t *Tail) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, r := range t.logs {
		if r != nil {
			r.Close()
			t.logs[s] = nil
		}
	}
}

// ReadSince is that of Child. Once this end has let go of a program that runs on,
// it fails where there is nothing more to read: nobody would tell of more.
func (t *Tail) ReadSince(s Stream, pos uint64, most int) (data []byte, from uint64, eof bool, err error) {
	mute, ended := t.c.mute(), t.c.endedStreams()[s] // before the read: an end that is seen has all bytes before it
	t.mu.Lock()
	defer t.mu.Unlock()
	data, from, eof, err = readSince(t.logs[s], pos, most, ended)
	if err == nil && mute && !ended && len(data) == 0 {
		return nil, 0, false, errClosedChild
	}
	return data, from, eof, err
}

// More is ready once one of the streams has come beyond the bytes in after, and
// for good once both have ended.
func (t *Tail) More(after [2]uint64) poll.Source { return tailSource{t, after} }

type tailSource struct {
	t     *Tail
	after [2]uint64
}

// Ready implements that method of poll.Source. If there is nothing more, the
// shim is asked to tell of output, and the rings are looked at again.
func (s tailSource) Ready() bool {
	return s.t.c.mute() || s.look() || s.ask() && s.look()
}

// Watch implements that method of poll.Source.
func (s tailSource) Watch(wake chan<- struct{}) (stop func()) {
	stop = s.t.c.output.Watch(wake)
	s.ask()
	return stop
}

func (s tailSource) look() bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for i, r := range s.t.logs {
		if r == nil {
			continue
		}
		if _, total, err := r.Buffered(); err == nil && total > s.after[i] {
			return true
		}
	}
	return false
}

func (s tailSource) ask() bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for _, r := range s.t.logs {
		if r == nil || r.Ask() != nil {
			return false
		}
	}
	return true
}
