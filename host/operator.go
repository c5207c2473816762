package host

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

// What follows is for operators. They name a process by its handle, as the
// ledger does, and may do so with any; its id is its creator's secret.

// Stopped is the end of a process that an operator stopped.
type Stopped struct {
	Exit  *event.Exit // nil if it is proven dead and the exit is unknown
	Cause string      // what ended it: "stop", or whatever came first

	// Released is true for a persistent process: its id is gone. Who holds
	// another one learns of the end as of any other.
	Released bool
}

// StopHandle ends a process of any tier: TERM to the whole tree, KILL after the
// grace (nil: 5 s; at most 30 s). It blocks until the end is durable, and of a
// persistent process until its id is gone. One that has ended is only released.
// The errors: NoSuchProcess, Cancelled when ctx is done, WaitTimeout when it is
// not dead, or its end not recorded, some 15 s after the KILL (the stop goes on
// after both).
func (h *Host) StopHandle(ctx context.Context, actor event.Actor, id ulid.ULID, grace *time.Duration) (Stopped, error) {
	o := h.owner(id)
	if o == nil {
		return Stopped{}, errorf(NoSuchProcess, "no process %s is held; it was released, or never was", id)
	}
	scope := o.scope
	scope.Actor = actor
	if err := o.stop(ctx, scope, "operator", clampGrace(grace)); err != nil {
		return Stopped{}, err
	}
	if err := o.awaitStopped(ctx, clampGrace(grace)); err != nil {
		return Stopped{}, err
	}
	if o.kept != nil {
		o.letGo("stopped", "") // if the end was recorded before the stop
		if err := o.awaitRelease(ctx); err != nil {
			return Stopped{}, err
		}
	}
	return Stopped{Exit: o.outcome.exit, Cause: o.outcome.cause, Released: o.kept != nil}, nil
}

// deathBound is how long after the grace a stop waits for the end: as long as
// the hands take to kill a shim that does not answer, and to record it.
const deathBound = 15 * time.Second

// awaitStopped waits for the end of a process that is being stopped, bounded:
// nobody can end one in uninterruptible sleep, and no ledger that cannot commit
// records an end.
func (o *owner) awaitStopped(ctx context.Context, grace time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, grace+deathBound)
	defer cancel()
	_, err := o.wait(bounded, nil)
	switch {
	case o.over():
		return nil
	case ctx.Err() != nil || bounded.Err() == nil:
		return err
	case o.unrecorded.Load():
		return errorf(WaitTimeout, "process %s has ended, and the ledger cannot record it yet; see astridctl status", o.id)
	}
	return errorf(WaitTimeout, "process %s was sent KILL and is not dead yet: it, or something of its tree, is in uninterruptible sleep; it stays counted, and its end is recorded when it comes", o.id)
}

// Idle tells, of the persistent processes, for how long nobody has used each.
func (h *Host) Idle() map[ulid.ULID]time.Duration {
	idle := map[ulid.ULID]time.Duration{}
	for _, o := range h.ownersOf(func(o *owner) bool { return o.kept != nil && !o.over() }) {
		idle[o.id] = o.kept.unused()
	}
	return idle
}

// Output is the output of one process, of any tier, as an operator reads it: by
// position, so that nothing is taken away from its capsule, and without being a
// use of it. It stays readable when the process is released meanwhile. Close it.
type Output struct{ tail *act.Tail }

// Piece is a part of a stream.
type Piece struct {
	Data []byte

	// From is the number of the first byte, counted from 0: what lies between
	// it and the position asked for is not kept any more.
	From uint64

	// EOF is true once the stream has ended and nothing follows.
	EOF bool
}

// OutputOf returns the output of a process that is held. It blocks until the
// program has started. The errors: NoSuchProcess, also for one that never
// started and left no output; Cancelled when ctx is done.
func (h *Host) OutputOf(ctx context.Context, id ulid.ULID) (*Output, error) {
	o := h.owner(id)
	if o == nil {
		return nil, errorf(NoSuchProcess, "no process %s is held; it was released, or never was", id)
	}
	select {
	case <-o.running:
	case <-h.ctx.Done():
		return nil, h.stopped()
	case <-ctx.Done():
		return nil, errorf(Cancelled, "the process has not started yet")
	}
	child := o.reachable()
	if child == nil {
		return nil, errorf(NoSuchProcess, "process %s left no output", id)
	}
	tail, err := child.Tail()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errorf(NoSuchProcess, "process %s was released", id)
	case err != nil:
		return nil, errorf(Unknown, "the output could not be read: %v", err)
	}
	return &Output{tail}, nil
}

// Close lets go of the output.
func (x *Output) Close() { x.tail.Close() }

// Read returns at most most bytes of a stream, and never more than 4 MiB, from
// byte pos on. The errors: InvalidInput for a position that the stream has not
// come to, Unknown for output that cannot be read.
func (x *Output) Read(s Stream, pos uint64, most int) (Piece, error) {
	data, from, eof, err := x.tail.ReadSince(act.Stream(s), pos, min(most, maxChunkBytes))
	switch {
	case errors.Is(err, act.ErrPosition):
		return Piece{}, errorf(InvalidInput, "the stream has not come to byte %d", pos)
	case err != nil:
		return Piece{}, errorf(Unknown, "the output could not be read: %v", err)
	}
	return Piece{data, from, eof}, nil
}

// More returns what is ready once one of the streams has come beyond the byte
// given for it, and for good once both have ended.
func (x *Output) More(stdout, stderr uint64) poll.Source {
	return x.tail.More([2]uint64{stdout, stderr})
}

// unused is how long nobody has used the process; a use that goes on is now.
func (k *kept) unused() time.Duration {
	if k.uses.Load() > 0 {
		return 0
	}
	return since(k.touched.Load())
}

// releasesWith tells whether a stop for that reason releases a persistent
// process once it has ended.
func releasesWith(reason string) bool { return reason == "guest" || reason == "operator" }
