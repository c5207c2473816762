package process

import (
	"errors"
	"io"
	"time"
	"unsafe"

	"github.com/astrid-os/processledger/guest/internal/mem"
	"github.com/astrid-os/processledger/guest/poll"
)

// MaxWrite is how many bytes of stdin the host takes in one call. [Handle.Stdin]
// and [ID.Stdin] make several.
const MaxWrite = 1 << 20

// Handle stands for a program that runs in the background. It is the capsule
// instance's, and ends with it: with the handle of SpawnBackground the program
// is killed, with one of Attach it runs on.
type Handle struct {
	index    uint32
	attached bool
}

// ReadLogs returns what the program wrote since the last call, at most the
// newest of each stream that its ring holds. It does not block. On an attached
// handle it takes away from the id's ReadLogs, and the other way round.
func (h *Handle) ReadLogs() (Logs, error) {
	v, err := h.call(44, func(ret uint32) { rawReadLogs(h.index, ret) })
	if err != nil {
		return Logs{}, err
	}
	return liftLogs(v, 4), nil
}

// WriteStdin writes up to [MaxWrite] bytes to the program's stdin, and returns
// how many it took. It blocks while the program does not read. Only an attached
// handle of a process with KeepStdinOpen has a stdin to write to, others answer
// ErrClosed.
func (h *Handle) WriteStdin(b []byte) (int, error) {
	v, err := h.call(16, func(ret uint32) { rawHandleWrite(h.index, text(b), ret) })
	if err != nil {
		return 0, err
	}
	return int(v.U32(4)), nil
}

// CloseStdin lets the program see the end of its stdin. It may be called again.
func (h *Handle) CloseStdin() error {
	return h.act(func(ret uint32) { rawHandleCloseStdin(h.index, ret) })
}

// Stdin returns a writer to the program's stdin that takes writes of any size;
// its Close is CloseStdin.
func (h *Handle) Stdin() io.WriteCloser { return stdin{h} }

// Signal sends a signal to the program.
func (h *Handle) Signal(s Signal) error {
	return h.act(func(ret uint32) { rawHandleSignal(h.index, uint32(s), ret) })
}

// Kill ends the program and everything that it started, at once, and returns
// its final state.
func (h *Handle) Kill() (Killed, error) {
	v, err := h.call(44, func(ret uint32) { rawKill(h.index, ret) })
	if err != nil {
		return Killed{}, err
	}
	return liftKilled(v, 4), nil
}

// Wait blocks until the program has ended.
func (h *Handle) Wait() (Exit, error) {
	if h.attached {
		return waitLong(h.WaitFor)
	}
	return h.wait(0, 0)
}

// WaitFor is Wait with a bound, rounded up to milliseconds; then the error is
// ErrWaitTimeout.
func (h *Handle) WaitFor(d time.Duration) (Exit, error) { return h.wait(1, milliseconds(d)) }

func (h *Handle) wait(some uint32, ms uint64) (Exit, error) {
	v, err := h.call(20, func(ret uint32) { rawHandleWait(h.index, some, ms, ret) })
	if err != nil {
		return Exit{}, err
	}
	return liftExit(v, 4), nil
}

// waitSlice is how long a wait without a bound waits at once where the host
// wants a bound.
const waitSlice = time.Hour

func waitLong(wait func(time.Duration) (Exit, error)) (Exit, error) {
	for {
		if e, err := wait(waitSlice); !errors.Is(err, ErrWaitTimeout) {
			return e, err
		}
	}
}

// WaitWithOutput blocks until the program has ended, and returns what it wrote
// that was not read yet.
func (h *Handle) WaitWithOutput() (*Result, error) {
	if !h.attached {
		return h.waitWithOutput(0, 0)
	}
	for {
		if r, err := h.WaitWithOutputFor(waitSlice); !errors.Is(err, ErrWaitTimeout) {
			return r, err
		}
	}
}

// WaitWithOutputFor is WaitWithOutput with a bound; see WaitFor. When it is
// over the output is left to be read.
func (h *Handle) WaitWithOutputFor(d time.Duration) (*Result, error) {
	return h.waitWithOutput(1, milliseconds(d))
}

func (h *Handle) waitWithOutput(some uint32, ms uint64) (*Result, error) {
	v, err := h.call(36, func(ret uint32) { rawWaitWithOutput(h.index, some, ms, ret) })
	if err != nil {
		return nil, err
	}
	return liftResult(v, 4), nil
}

// OSPid returns the program's pid on the host; ErrClosed once it has ended.
func (h *Handle) OSPid() (uint32, error) {
	v, err := h.call(16, func(ret uint32) { rawOSPid(h.index, ret) })
	if err != nil {
		return 0, err
	}
	return v.U32(4), nil
}

// SubscribeExit returns a pollable that is ready once the program has ended.
func (h *Handle) SubscribeExit() (*poll.Pollable, error) {
	return h.subscribe(func() uint32 { return rawSubscribeExit(h.index) })
}

// SubscribeLogs returns a pollable that is ready while there is output that
// nobody has drained by ReadLogs, and once there will be no more.
func (h *Handle) SubscribeLogs() (*poll.Pollable, error) {
	return h.subscribe(func() uint32 { return rawSubscribeLogs(h.index) })
}

func (h *Handle) subscribe(raw func() uint32) (*poll.Pollable, error) {
	if !mem.Inside {
		return nil, ErrOutside
	}
	if h.index == 0 {
		return nil, ErrClosed
	}
	var index uint32
	mem.Enter(func() { index = raw() })
	return poll.Own(index), nil
}

// Drop gives the handle back: the program is killed if it still runs, unless
// the handle is of Attach. The handle must not be used again; a second Drop
// does nothing.
func (h *Handle) Drop() {
	if mem.Inside && h.index != 0 {
		mem.Enter(func() { rawDrop(h.index) })
		h.index = 0
	}
}

// call is the function of the same name, for a handle that was not dropped: the
// host would trap the capsule for one that was.
func (h *Handle) call(size int, raw func(ret uint32)) (mem.View, error) {
	if mem.Inside && h.index == 0 {
		return nil, ErrClosed
	}
	return call(size, 4, raw)
}

// act is call for a result that holds nothing.
func (h *Handle) act(raw func(ret uint32)) error {
	_, err := h.call(16, raw)
	return err
}

// text lends bytes to a host function that takes a list<u8>. The host has read
// them when it returns.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
