package host

import (
	"context"
	"time"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// reachBound is how long a call waits for a process whose shim has not answered
// since a restart: it needs milliseconds.
const reachBound = 10 * time.Second

// reach is find, and waits until something can be asked of the process: its shim
// has told of its start, again after a restart. The errors are NoSuchProcess,
// Cancelled, and Unknown for a shim that does not answer.
func (h *Host) reach(ctx context.Context, c Caller, id string) (*owner, error) {
	o, err := h.find(c, id)
	if err != nil {
		return nil, err
	}
	if err := o.answers(ctx, c); err != nil {
		return nil, err
	}
	return o, nil
}

// answers waits until the process's shim has told of its start. A cancel of the
// caller's invocation ends the wait, but nothing that needs none.
func (o *owner) answers(ctx context.Context, c Caller) error {
	select {
	case <-o.running:
		return nil
	default:
	}
	bound := time.NewTimer(reachBound)
	defer bound.Stop()
	select {
	case <-o.running:
		return nil
	case <-o.gone:
		return noSuchProcess()
	case <-ctx.Done():
		return errorf(Cancelled, "the call was cancelled")
	case <-c.Soft:
		return errorf(Cancelled, "the call was cancelled")
	case <-o.h.ctx.Done():
		return o.h.stopped()
	case <-bound.C:
		return errorf(Unknown, "the process's shim does not answer")
	}
}

// Attach returns a handle on a persistent process, once handle.attached is
// durable. Dropping it leaves the process as it is; waiting by it is bounded.
// The error is NoSuchProcess, or Cancelled.
func (h *Host) Attach(ctx context.Context, c Caller, id string) (*Process, error) {
	p, err := h.attach(ctx, c, id)
	return p, h.answered("handle", err)
}

func (h *Host) attach(ctx context.Context, c Caller, id string) (*Process, error) {
	o, err := h.reach(ctx, c, id)
	if err != nil {
		return nil, err
	}
	scope := c.scope()
	scope.Handle = o.id
	_, err = h.decide(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if _, ok := tip.Handle(o.id); !ok {
			return nil, noSuchProcess() // released since
		}
		return []*event.Event{{Scope: scope, Body: &event.HandleAttached{}}}, nil
	})
	if err != nil {
		return nil, answer(err)
	}
	// A crash here leaves an attached process whose handle nobody has: it is as
	// it was.
	crashpoint.Here("daemon.handle.attached")
	return &Process{o: o, attached: true}, nil
}

// ReadProcessLogs drains both output rings. All who read a process's logs share
// them: what one has read, another does not get.
func (h *Host) ReadProcessLogs(ctx context.Context, c Caller, id string) (Logs, error) {
	o, err := h.reach(ctx, c, id)
	var logs Logs
	if err == nil {
		if logs, err = o.readLogs(); CodeOf(err) == Closed {
			err = noSuchProcess()
		}
	}
	return logs, h.answered("logs", err)
}

// SignalProcess sends a signal to the program itself. It blocks until
// signal.sent is durable. The errors: Closed once the process has ended,
// InvalidInput for a signal that is none of the contract's.
func (h *Host) SignalProcess(ctx context.Context, c Caller, id string, s Signal) error {
	o, err := h.reach(ctx, c, id)
	if err == nil {
		err = o.signalProgram(ctx, c, s)
	}
	return h.answered("ok", err)
}

// WaitProcess blocks until the exit is durable, for timeout at most, and returns
// it. It releases nothing. However long it lasts, the process is in use
// meanwhile. The errors: WaitTimeout, Cancelled when ctx is done, Unknown when
// the process is proven dead and its exit is not known.
func (h *Host) WaitProcess(ctx context.Context, c Caller, id string, timeout time.Duration) (event.Exit, error) {
	o, err := h.find(c, id)
	var exit event.Exit
	if err == nil {
		exit, err = o.wait(ctx, &timeout)
	}
	return exit, h.answered("exit", err)
}

// ReadSince returns at most most bytes of one stream, and never more than 4 MiB,
// from behind the cursor on, or from the beginning without one. It drains
// nothing. The errors: NoSuchProcess, also for a cursor that is none of this
// stream of this process; Unknown where there is no output to read.
func (h *Host) ReadSince(ctx context.Context, c Caller, id string, s Stream, cursor *string, most uint32) (Chunk, error) {
	chunk, err := h.readSince(ctx, c, id, s, cursor, most)
	return chunk, h.answered("chunk", err)
}

func (h *Host) readSince(ctx context.Context, c Caller, id string, s Stream, cursor *string, most uint32) (Chunk, error) {
	if s > Stderr {
		return Chunk{}, errorf(InvalidInput, "stream %d is none of the contract's", s)
	}
	o, err := h.reach(ctx, c, id)
	if err != nil {
		return Chunk{}, err
	}
	chunk, err := o.readSince(s, cursor, most)
	if o.released.Load() {
		return Chunk{}, noSuchProcess()
	}
	return chunk, err
}

// WriteProcessStdin writes b to the program as [Process.WriteStdin] does, with
// NoSuchProcess as one more error.
func (h *Host) WriteProcessStdin(ctx context.Context, c Caller, id string, b []byte) (uint32, error) {
	n := uint32(0)
	o, err := h.reach(ctx, c, id)
	if err == nil {
		n, err = o.writeStdin(ctx, b)
	}
	return n, h.answered("written", err)
}

// CloseProcessStdin has the program see the end of its input as
// [Process.CloseStdin] does, with NoSuchProcess as one more error.
func (h *Host) CloseProcessStdin(ctx context.Context, c Caller, id string) error {
	o, err := h.reach(ctx, c, id)
	if err == nil {
		err = o.closeStdin(ctx, c)
	}
	return h.answered("closed", err)
}
