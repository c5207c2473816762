package host

import (
	"context"
	"errors"
	"time"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// The contract's numbers of streams.
const (
	MaxWriteBytes = 1 << 20 // bytes a write to a standard input
	maxChunkBytes = 4 << 20 // bytes a read since a cursor
)

// reachable returns the child once its streams can be used; nil before its start
// is durable, and where a process ended without leaving its output.
func (o *owner) reachable() *act.Child {
	select {
	case <-o.running:
		return o.child
	default:
		return nil
	}
}

// writeStdin writes b to the program, all of it unless it fails. It blocks
// while others write and while the program does not read; ctx ends that. The
// errors: TooLarge; Closed if the input is closed, was never to stay open, or
// nobody reads it; Cancelled. One that leaves a part of b written closes the
// input, and that is recorded before it is told.
func (o *owner) writeStdin(ctx context.Context, b []byte) (uint32, error) {
	if len(b) > MaxWriteBytes {
		return 0, errorf(TooLarge, "%d bytes; at most %d can be written at a time", len(b), MaxWriteBytes)
	}
	child := o.reachable()
	if child == nil || o.over() {
		return 0, errorf(Closed, "the process takes no input")
	}
	defer o.use()()
	n, err := child.WriteStdin(ctx, b)
	if err == nil {
		return uint32(n), nil
	}
	if child.StdinBroken() {
		o.breakStdin(child)
	}
	if errors.Is(err, act.ErrStdinClosed) {
		return 0, errorf(Closed, "the standard input is closed; it took %d of %d bytes", n, len(b))
	}
	return 0, errorf(Cancelled, "the call was cancelled; %d of %d bytes were written", n, len(b))
}

// breakStdin records that the input is given up, and closes it. While that
// cannot be recorded the input takes no more all the same; the program sees its
// end as soon as it is.
func (o *owner) breakStdin(child *act.Child) {
	scope := o.scope
	scope.Actor = hostActor
	err := o.endStdin(o.decideNow(o.h.ctx), scope, "broken", child)
	if ledger.CannotCommit(err) {
		o.h.work.Go(func() { o.noteStdin(o.endStdin(o.h.record, scope, "broken", child)) })
		return
	}
	o.noteStdin(err)
}

// noteStdin logs what nobody waits for.
func (o *owner) noteStdin(err error) {
	if err != nil {
		o.h.log.Warn("a standard input could not be closed", "handle", o.id, "error", err)
	}
}

// committer commits what a closure decides: Host.decideEnding with a ctx, or
// Host.record.
type committer func(decision) (*ledger.Commit, error)

func (o *owner) decideNow(ctx context.Context) committer {
	return func(fn decision) (*ledger.Commit, error) {
		return o.h.decideEnding(ctx, fn)
	}
}

// closeStdin closes the input on behalf of a caller: the program sees its end
// after all that was written, and whoever waits to write is answered Closed. It
// blocks until it is durable and done. Of an input that is closed, or was never
// to stay open, or of a process that has ended, nothing is left to do.
func (o *owner) closeStdin(ctx context.Context, c Caller) error {
	child := o.reachable()
	if child == nil || o.over() {
		return nil
	}
	scope := c.scope()
	scope.Handle = o.id
	if err := o.endStdin(o.decideNow(ctx), scope, "guest", child); err != nil {
		return answer(err)
	}
	return nil
}

// endStdin records the end of the input, and carries it out.
//
// A crash in between leaves an input that is recorded as closed and is open:
// resumeStdin closes it. So does a commit that failed and persisted;
// closeSurvived closes that one.
func (o *owner) endStdin(commit committer, scope event.Scope, reason string, child *act.Child) error {
	undone := child.StdinHeld()
	body := &event.StdinClosed{Reason: reason, Bytes: child.StdinWritten()}
	c, err := commit(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		switch {
		case !ok || !h.Phase.Live() || !h.KeepStdinOpen:
			return nil, nil
		case h.StdinClosed && !undone, !tip.StdinClosable(h):
			return nil, nil
		}
		return []*event.Event{{Scope: scope, Body: body}}, nil
	})
	if err != nil || len(c.Receipts) == 0 {
		return err
	}
	crashpoint.Here("daemon.stdin.closed")
	o.h.acted("close stdin, %s", reason)
	if err := child.CloseStdin(c.Receipts[0]); err != nil {
		return errorf(Unknown, "the standard input is not known to be closed: %v", err)
	}
	return nil
}

// resumeStdin closes an input that an earlier daemon left between recorded and
// closed, or cut inside of a write, and records one that the program stopped
// reading while no daemon was there. The owner calls it once the adoption is
// recorded.
func (o *owner) resumeStdin(handle *projector.Handle) {
	switch {
	case o.child.StdinBroken() || handle.KeepStdinOpen && !handle.StdinClosed && !o.child.StdinOpen():
		o.breakStdin(o.child)
	case handle.StdinClosed && o.child.StdinOpen():
		scope := o.scope
		scope.Actor = hostActor
		o.noteStdin(o.endStdin(o.record, scope, "guest", o.child))
	}
}

// readSince returns at most most bytes of a stream, and never more than 4 MiB,
// from a cursor on, or from its beginning without one. It drains nothing. What
// is overwritten is skipped and counted. The errors: NoSuchProcess for a cursor
// that is none of this stream, Unknown for output that cannot be read. It is for
// processes that have an id.
func (o *owner) readSince(s Stream, cursor *string, most uint32) (Chunk, error) {
	c := o.cursors(s)
	var pos uint64
	if cursor != nil {
		var ok bool
		if pos, ok = c.position(*cursor); !ok {
			return Chunk{}, noSuchProcess()
		}
	}
	child := o.reachable()
	if child == nil {
		return Chunk{}, errorf(Unknown, "the process left no output")
	}
	data, from, eof, err := child.ReadSince(act.Stream(s), pos, int(min(most, maxChunkBytes)))
	switch {
	case errors.Is(err, act.ErrPosition):
		return Chunk{}, noSuchProcess()
	case err != nil:
		return Chunk{}, errorf(Unknown, "the output could not be read: %v", err)
	}
	to := from + uint64(len(data))
	o.readTo(c.stream, len(data), to)
	return Chunk{Data: data, Next: c.token(to), Dropped: from - pos, DrainedEOF: eof}, nil
}

// cursors are those of one stream of this process.
func (o *owner) cursors(s Stream) cursors {
	c := cursors{key: o.h.ids.key, id: o.h.ids.hash(o.kept.id), stream: s}
	o.h.live.View(func(st *projector.State) {
		if h, ok := st.Handle(o.id); ok {
			c.generation = h.Decided.Seq
		}
	})
	return c
}

// measure fills in what the process has left to read and has used so far.
func (o *owner) measure(i *Info) {
	child := o.reachable()
	if child == nil {
		return
	}
	i.Buffered, i.Dropped = child.Buffered()
	if i.Phase != Running {
		return
	}
	i.StdinOpen = i.StdinOpen && child.StdinOpen()
	if cpu, peak, ok := child.Usage(); ok {
		i.CPU, i.MemPeak = &cpu, &peak
	}
}

// waitWithOutput is wait, and then takes what is left in the rings. Nobody else
// gets a part of that: from the exit on, who waits with output comes first. Of
// several, one gets it.
func (o *owner) waitWithOutput(ctx context.Context, timeout *time.Duration) (*Result, error) {
	o.drainMu.Lock()
	o.takers++
	o.drainMu.Unlock()
	defer func() {
		o.drainMu.Lock()
		o.takers--
		o.drainMu.Unlock()
	}()
	exit, err := o.wait(ctx, timeout)
	if err != nil {
		return nil, err
	}
	o.drainMu.Lock()
	defer o.drainMu.Unlock()
	r := &Result{Exit: exit}
	r.Stdout, r.Stderr = o.drainLocked()
	if o.released.Load() {
		return nil, errorf(Closed, "the process was released")
	}
	return r, nil
}

// drain reads what both rings hold. A program that still runs keeps the bytes
// of an unfinished rune. After the exit there is nothing for it while somebody
// waits with output.
func (o *owner) drain() (stdout, stderr []byte) {
	o.drainMu.Lock()
	defer o.drainMu.Unlock()
	if o.takers > 0 && o.over() {
		return nil, nil
	}
	return o.drainLocked()
}

// drainLocked must be called with drainMu held.
func (o *owner) drainLocked() (stdout, stderr []byte) {
	if o.child == nil {
		return nil, nil // it ended without leaving its output
	}
	if o.watched(func(*watch) bool { return true }) {
		defer o.drainedTo(o.child.Written())
	}
	stdout, stderr, err := o.child.DrainLogs()
	if err != nil && !o.released.Load() {
		o.h.log.Warn("output could not be read", "handle", o.id, "error", err)
	}
	return stdout, stderr
}

// exitSource is ready once the outcome is durable.
type exitSource struct{ o *owner }

// Ready implements that method of poll.Source.
func (s exitSource) Ready() bool { return s.o.over() }

// Watch implements that method of poll.Source.
func (s exitSource) Watch(wake chan<- struct{}) (stop func()) { return s.o.changed.Watch(wake) }

// logsSource is ready while a drain would return something, and once the outcome
// is durable: then whoever waits for output is to learn that there is no more.
// It is not ready for the end of the streams alone, of which a drain cannot
// tell: a guest that polls it would go round in circles until the exit.
type logsSource struct {
	o      *owner
	output poll.Source // nil if there is none
}

// Ready implements that method of poll.Source.
func (s logsSource) Ready() bool {
	return s.o.over() || s.output != nil && s.o.child.HasOutput()
}

// Watch implements that method of poll.Source.
func (s logsSource) Watch(wake chan<- struct{}) (stop func()) {
	exit := s.o.changed.Watch(wake)
	if s.output == nil {
		return exit
	}
	output := s.output.Watch(wake)
	return func() { exit(); output() }
}

func (o *owner) logsReady() poll.Source {
	s := logsSource{o: o}
	if child := o.reachable(); child != nil {
		s.output = child.Output()
	}
	return s
}
