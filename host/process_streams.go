package host

import (
	"context"
	"time"

	"github.com/astrid-os/processledger/host/poll"
)

// WriteStdin writes b, of at most 1 MiB, to the program's standard input, which
// must have been asked to stay open, and returns how much that was: all of it,
// if there is no error. Writers take turns, each whole. It blocks while the
// program does not read. The errors: TooLarge, Closed, Cancelled when ctx is
// done. An error may leave a part of b written, and closes the input then.
func (p *Process) WriteStdin(ctx context.Context, c Caller, b []byte) (uint32, error) {
	n, err := uint32(0), p.check(c)
	if err == nil {
		n, err = p.o.writeStdin(ctx, b)
	}
	return n, p.o.h.answered("written", err)
}

// CloseStdin has the program see the end of its standard input, after all that
// was written; it is idempotent. It blocks until stdin.closed is durable and
// carried out.
func (p *Process) CloseStdin(ctx context.Context, c Caller) error {
	err := p.check(c)
	if err == nil {
		err = p.o.closeStdin(ctx, c)
	}
	return p.o.h.answered("closed", err)
}

// WaitWithOutput blocks until the exit is durable and returns it with all output
// that is left then: no other drain gets a part of it. timeout and errors are
// those of Wait, and Closed where the process is released meanwhile.
func (p *Process) WaitWithOutput(ctx context.Context, c Caller, timeout *time.Duration) (*Result, error) {
	var r *Result
	err := p.check(c)
	switch {
	case err != nil:
	case p.attached && timeout == nil:
		err = errorf(InvalidInput, "a wait on an attached handle needs a timeout")
	default:
		r, err = p.o.waitWithOutput(ctx, timeout)
	}
	return r, p.o.h.answered("result", err)
}

// SubscribeExit returns what is ready once the exit is durable, and from then
// on.
func (p *Process) SubscribeExit(c Caller) (poll.Source, error) {
	if err := p.check(c); err != nil {
		return nil, err
	}
	return p.o.using(exitSource{p.o}), nil
}

// SubscribeLogs returns what is ready while ReadLogs would return output, and
// from the durable exit on.
func (p *Process) SubscribeLogs(c Caller) (poll.Source, error) {
	if err := p.check(c); err != nil {
		return nil, err
	}
	return p.o.using(p.o.logsReady()), nil
}

// answered traces what a caller is told, and returns err.
func (h *Host) answered(what string, err error) error {
	if err != nil {
		h.told("%v", CodeOf(err))
		return err
	}
	h.told("%s", what)
	return nil
}
