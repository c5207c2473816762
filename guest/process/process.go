package process

import (
	"runtime"
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Spawn runs a program to its end and returns what it wrote.
func Spawn(r Request) (*Result, error) {
	req := r.lower()
	defer runtime.KeepAlive(req)
	k, err := call(36, func(ret uint32) { rawSpawn(req.Address(), ret) })
	if err != nil {
		return nil, err
	}
	return &Result{Stdout: k.Text(4), Stderr: k.Text(12), Exit: liftExit(k, 20)}, nil
}

// SpawnBackground starts a program. Drop the handle when it is not needed any
// more; that ends the program.
func SpawnBackground(r Request) (*Handle, error) {
	req := r.lower()
	defer runtime.KeepAlive(req)
	k, err := call(16, func(ret uint32) { rawSpawnBackground(req.Address(), ret) })
	if err != nil {
		return nil, err
	}
	return &Handle{index: k.U32(4)}, nil
}

// Handle stands for a program that runs in the background.
type Handle struct{ index uint32 }

// ReadLogs returns what the program wrote since the last call, at most the
// newest 1 MiB of each stream. It does not block.
func (h *Handle) ReadLogs() (Logs, error) {
	k, err := call(44, func(ret uint32) { rawReadLogs(h.index, ret) })
	if err != nil {
		return Logs{}, err
	}
	return Logs{Stdout: k.Text(4), Stderr: k.Text(12), Running: k.U8(20) != 0, Exit: liftMaybeExit(k, 24)}, nil
}

// Wait blocks until the program has ended.
func (h *Handle) Wait() (Exit, error) { return h.wait(0, 0) }

// WaitFor is Wait with a bound, of which whole milliseconds count; then the
// error is ErrWaitTimeout.
func (h *Handle) WaitFor(d time.Duration) (Exit, error) {
	return h.wait(1, uint64(max(d, 0).Milliseconds()))
}

func (h *Handle) wait(some uint32, ms uint64) (Exit, error) {
	k, err := call(20, func(ret uint32) { rawWait(h.index, some, ms, ret) })
	if err != nil {
		return Exit{}, err
	}
	return liftExit(k, 4), nil
}

// Kill ends the program and everything that it started, at once, and returns
// its final state.
func (h *Handle) Kill() (Killed, error) {
	k, err := call(44, func(ret uint32) { rawKill(h.index, ret) })
	if err != nil {
		return Killed{}, err
	}
	return Killed{Killed: k.U8(4) != 0, Exit: liftMaybeExit(k, 8), Stdout: k.Text(28), Stderr: k.Text(36)}, nil
}

// OSPid returns the program's pid on the host.
func (h *Handle) OSPid() (uint32, error) {
	k, err := call(16, func(ret uint32) { rawOSPid(h.index, ret) })
	if err != nil {
		return 0, err
	}
	return k.U32(4), nil
}

// Signal sends a signal to the program.
func (h *Handle) Signal(s Signal) error {
	_, err := call(16, func(ret uint32) { rawSignal(h.index, uint32(s), ret) })
	return err
}

// Drop gives the handle back: the program is killed if it still runs. The
// handle must not be used again; a second Drop does nothing.
func (h *Handle) Drop() {
	if mem.Inside && h.index != 0 {
		mem.Enter(func() { rawDrop(h.index) })
		h.index = 0
	}
}

// call calls a host function that returns a result of size bytes, and turns its
// error code into an error.
func call(size int, raw func(ret uint32)) (mem.View, error) {
	k := mem.Call(size, raw)
	if k == nil {
		return nil, ErrOutside
	}
	if k.U8(0) == 0 {
		return k, nil
	}
	e := &Error{Code: Code(k.U8(4))}
	if e.Code == Unknown {
		e.Detail = k.Text(8)
	}
	return nil, e
}
