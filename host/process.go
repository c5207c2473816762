package host

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Process is a guest's handle on a background process, or one that it has
// attached to a persistent process. It is safe for concurrent use. Every method
// refuses a caller of another principal or capsule with CapabilityDenied. After
// Drop they answer Closed, and so do those of an attached handle whose process
// is released.
type Process struct {
	o        *owner
	attached bool
	detached atomic.Bool // an attached handle was dropped
}

// ID returns the handle's id in the ledger.
func (p *Process) ID() ulid.ULID { return p.o.id }

// check refuses who does not own the handle.
func (p *Process) check(c Caller) error {
	if c.Principal != p.o.scope.Principal || c.Capsule != p.o.scope.Capsule {
		return errorf(CapabilityDenied, "the handle belongs to another principal or capsule")
	}
	if p.attached {
		return p.checkAttached()
	}
	p.o.mu.Lock()
	dropped := p.o.release != ""
	p.o.mu.Unlock()
	if dropped {
		return errorf(Closed, "the handle was dropped")
	}
	return nil
}

// checkAttached is the rest of check for a handle on a process that others may
// use and release too. A call by it is a use.
func (p *Process) checkAttached() error {
	switch {
	case p.detached.Load():
		return errorf(Closed, "the handle was dropped")
	case p.o.released.Load():
		return errorf(Closed, "the process was released")
	}
	p.o.kept.touch()
	return nil
}

// ReadLogs drains both output rings. It does not block on the program.
func (p *Process) ReadLogs(_ context.Context, c Caller) (Logs, error) {
	if err := p.check(c); err != nil {
		return Logs{}, err
	}
	logs, err := p.o.readLogs()
	if err != nil {
		p.o.h.told("%v", CodeOf(err))
		return Logs{}, err
	}
	p.o.h.told("logs")
	return logs, nil
}

// Wait blocks until the exit is durable and returns it. timeout nil waits for
// ever, which an attached handle may not: InvalidInput. The other errors:
// WaitTimeout, Cancelled when ctx is done, Unknown when the process is proven
// dead and its exit is not known.
func (p *Process) Wait(ctx context.Context, c Caller, timeout *time.Duration) (event.Exit, error) {
	if err := p.check(c); err != nil {
		return event.Exit{}, err
	}
	if p.attached && timeout == nil {
		return event.Exit{}, errorf(InvalidInput, "a wait on an attached handle needs a timeout")
	}
	exit, err := p.o.wait(ctx, timeout)
	if err != nil {
		p.o.h.told("%v", CodeOf(err))
		return event.Exit{}, err
	}
	p.o.h.told("exit")
	return exit, nil
}

func (o *owner) wait(ctx context.Context, timeout *time.Duration) (event.Exit, error) {
	defer o.use()()
	var late <-chan time.Time
	if timeout != nil {
		t := time.NewTimer(*timeout)
		defer t.Stop()
		late = t.C
	}
	unmet := o.h.stopped()
	select {
	case <-o.ended:
	case <-o.gone:
	case <-o.h.ctx.Done():
	case <-late:
		unmet = errorf(WaitTimeout, "it still runs")
	case <-ctx.Done():
		unmet = errorf(Cancelled, "the call was cancelled")
	}
	// An exit that is there wins over a timeout and a done ctx.
	if !o.over() {
		return event.Exit{}, unmet
	}
	if o.outcome.exit == nil {
		return event.Exit{}, o.outcome.err
	}
	return *o.outcome.exit, nil
}

// Kill sends KILL to the program and all its descendants and blocks until the
// exit is durable. Of a process that has ended it only returns the final state.
// While the ledger cannot commit the process is ended all the same.
func (p *Process) Kill(ctx context.Context, c Caller) (KillResult, error) {
	if err := p.check(c); err != nil {
		return KillResult{}, err
	}
	var result KillResult
	if !p.o.over() {
		want := &event.SignalRequested{Signal: uint32(unix.SIGKILL), Target: event.TargetTree, Cause: "kill"}
		killed, err := p.o.signal(ctx, c.scope().Actor, want)
		if ledger.CannotCommit(err) {
			p.o.hurry(want, err)
			killed, err = true, nil
		}
		if err != nil {
			p.o.h.told("%v", CodeOf(err))
			return KillResult{}, err
		}
		result.Killed = killed
	}
	exit, err := p.o.wait(ctx, nil)
	switch {
	case err == nil:
		result.Exit = &exit
	case !p.o.over():
		p.o.h.told("%v", CodeOf(err))
		return KillResult{}, err
	}
	result.Stdout, result.Stderr = p.o.drain()
	p.o.h.told("kill-result")
	return result, nil
}

// Signal sends a signal to the program itself. It blocks until signal.sent is
// durable. The error is Closed once the process has ended.
func (p *Process) Signal(ctx context.Context, c Caller, s Signal) error {
	err := p.check(c)
	if err == nil {
		err = p.o.signalProgram(ctx, c, s)
	}
	if err != nil {
		p.o.h.told("%v", CodeOf(err))
		return err
	}
	p.o.h.told("ok")
	return nil
}

func (o *owner) signalProgram(ctx context.Context, c Caller, s Signal) error {
	number := s.Linux()
	if number == 0 {
		return errorf(InvalidInput, "signal %d is none of the contract's", s)
	}
	if o.over() {
		return errorf(Closed, "the process has ended")
	}
	want := &event.SignalRequested{Signal: number, Target: event.TargetProgram, Cause: "signal"}
	delivered, err := o.signal(ctx, c.scope().Actor, want)
	switch {
	case err != nil:
		return err
	case !delivered:
		return errorf(Closed, "the process has ended")
	}
	return nil
}

// OSPid returns the program's own pid on the host. The error is Closed once
// its end is recorded.
func (p *Process) OSPid(c Caller) (uint32, error) {
	if err := p.check(c); err != nil {
		return 0, err
	}
	if p.o.over() {
		return 0, errorf(Closed, "the process has ended")
	}
	var pid uint32
	p.o.h.live.View(func(s *projector.State) {
		if h, ok := s.Handle(p.o.id); ok {
			pid = h.Program.PID
		}
	})
	if pid == 0 {
		return 0, errorf(Unknown, "the program's pid could not be read")
	}
	p.o.h.told("pid")
	return pid, nil
}

// Drop gives the handle back: what still runs is killed with all its
// descendants, its end recorded, the handle released and its directory deleted.
// It blocks until then or until ctx is done; the work goes on either way. A
// second Drop waits for the first. An attached handle is only detached: the
// process stays as it is, and Drop does not block.
func (p *Process) Drop(ctx context.Context, c Caller) error {
	if err := p.check(c); err != nil && !errors.Is(err, &Error{Code: Closed}) {
		return err
	}
	if p.attached {
		p.detached.Store(true)
		p.o.h.told("detached")
		return nil
	}
	p.o.letGo("dropped", "released")
	select {
	case <-p.o.gone:
		p.o.h.told("dropped")
		return nil
	case <-ctx.Done():
		return errorf(Cancelled, "the call was cancelled; the drop goes on")
	}
}
