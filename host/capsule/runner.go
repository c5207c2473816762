package capsule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/bind"
	"github.com/astrid-os/processledger/ledger/event"
)

// Host is the process host, as far as capsules are run for it; [On] makes one
// of a *host.Host.
type Host interface {
	bind.Processes

	// BeginInvocation records that a capsule is about to be called and blocks
	// until that is durable. The context it returns is the soft cancel.
	BeginInvocation(ctx context.Context, c host.Caller, action string, payload []byte) (context.Context, Record, error)

	// InstanceGone ends and releases the processes of an instance that is no
	// more. It blocks until then or until ctx is done.
	InstanceGone(ctx context.Context, principal, capsule, instance, reason string)
}

// Record is an invocation that has begun.
type Record interface {
	// Finish records how it ended and blocks until that is durable.
	Finish(host.Finished) error
}

// The outcomes of an invocation, as they stand in the ledger.
const (
	OutcomeOK        = "ok"
	OutcomeTrap      = "trap"
	OutcomeCancelled = "cancelled"
	OutcomeDeadline  = "deadline"
)

// Defaults and bounds of a Runner.
const (
	// DefaultDeadline is how long an invocation may take before it is
	// cancelled: the contract's max_timeout_secs.
	DefaultDeadline = 5 * time.Minute

	// DefaultGrace is how long a guest may go on after a cancel: the
	// contract's two seconds for the processes of a cancelled tool, and as much
	// again for the guest to answer.
	DefaultGrace = 4 * time.Second

	// MaxPayload is the most bytes of a payload: the contract's bound of a
	// message.
	MaxPayload = 1 << 20

	maxWaiting = 64               // invocations that wait for one instance
	goneWait   = 10 * time.Second // for the processes of a discarded instance
)

// Refusals of an invocation that was not begun.
var (
	ErrUnknownCapsule = errors.New("no such capsule")
	ErrUnknownAction  = errors.New("the capsule has no such action")
	ErrBadPrincipal   = errors.New("not a principal: 1 to 64 of A-Z, a-z, 0-9, _ and -")
	ErrPayloadTooBig  = fmt.Errorf("payload of more than %d bytes", MaxPayload)
	ErrBusy           = fmt.Errorf("%d invocations wait for this capsule and principal already; try again later", maxWaiting)
	ErrClosed         = errors.New("the daemon is stopping and begins no more invocations")
	ErrCancelled      = errors.New("cancelled before it was begun; nothing ran")
)

// RunOptions says how capsules are run. The zero value is good.
type RunOptions struct {
	Deadline time.Duration // of an invocation; 0 means DefaultDeadline
	Grace    time.Duration // from the soft cancel to the hard one; 0 means DefaultGrace
	Log      *slog.Logger  // nil means nowhere
}

// Runner calls capsules. It is safe for concurrent use.
type Runner struct {
	set  *Set
	host Host
	opts RunOptions

	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup // invocations under way

	// mu is held for accesses of the maps and for the decision whether a new
	// invocation may still enter; nothing blocks under it.
	mu     sync.Mutex
	slots  map[slotKey]*slot
	queue  map[*ticket]struct{}
	closed bool
}

type slotKey struct{ capsule, principal string }

// slot is the place of the one instance of a (capsule, principal).
type slot struct {
	key  slotKey
	turn chan struct{} // holds one token, which is the right to what follows

	in *instance // nil: none lives
}

// NewRunner returns a Runner of the set's capsules. Close it.
func NewRunner(s *Set, h Host, o RunOptions) *Runner {
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r := &Runner{set: s, host: h, opts: o, slots: map[slotKey]*slot{}, queue: map[*ticket]struct{}{}}
	r.closing, r.close = context.WithCancel(context.Background())
	return r
}

// Invocation is a call of a capsule.
type Invocation struct {
	Principal string
	Capsule   string
	Action    string // one of its handlers
	Payload   []byte // for tools: JSON {call_id, tool_name, arguments}
	CallID    string // groups all that it causes; may be empty
	Actor     event.Actor
}

// Answer is what the capsule returned.
type Answer struct {
	Action  string // "continue", "final", "deny", "abort", or what the capsule chose
	Data    []byte
	HasData bool // false: none, which is not the same as empty

	// Outcome is "ok"; or "cancelled" or "deadline" if the guest was asked to
	// end early and answered all the same.
	Outcome  string
	Instance string // the instance that answered
}

// CallError tells why a capsule that was called gave no answer. The ledger says
// the same.
type CallError struct {
	Outcome string // "trap", "cancelled" or "deadline"
	Detail  string // for people
}

// Error reads like "trap: wasm error: unreachable".
func (e *CallError) Error() string { return e.Outcome + ": " + e.Detail }

// Invoke calls a capsule and returns its answer. It blocks while other calls of
// the same capsule and principal run, and until the end of this one is durable.
// The end of ctx cancels it softly. The error is one of this package's
// refusals, the host's, or a *CallError.
func (r *Runner) Invoke(ctx context.Context, inv Invocation) (Answer, error) {
	c, err := r.find(inv)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &ticket{key: slotKey{inv.Capsule, inv.Principal}, callID: inv.CallID, cancel: cancel}
	s, err := r.enter(t)
	if err != nil {
		return Answer{}, err
	}
	defer r.running.Done()
	defer r.leaveQueue(t)
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return Answer{}, errors.Join(ErrCancelled, context.Cause(ctx))
	case <-r.closing.Done():
		return Answer{}, ErrClosed
	}
	return r.invoke(ctx, s, c, inv, t)
}

// invoke records, calls and records again. The caller holds the turn.
func (r *Runner) invoke(ctx context.Context, s *slot, c *Capsule, inv Invocation, t *ticket) (Answer, error) {
	in := s.in
	if in == nil {
		in = newInstance(ulid.MustNew(ulid.Now(), rand.Reader).String(), r.host, r.opts.Log.With("capsule", c.Name, "principal", inv.Principal))
	}
	caller := host.Caller{Principal: inv.Principal, Capsule: inv.Capsule, Instance: in.id, CallID: inv.CallID, Actor: inv.Actor}
	soft, record, err := r.host.BeginInvocation(ctx, caller, inv.Action, inv.Payload)
	if err != nil {
		return Answer{}, fmt.Errorf("begin invocation: %w", err)
	}
	r.leaveQueue(t)

	// A crash from here to Finish leaves an invocation that recovery finishes
	// with outcome "daemon-restart", and ends its processes as owner-lost.
	answer, end := r.call(soft, in, c, caller, inv)
	s.in = in
	if end.InstanceLost {
		s.in = nil
		in.close(context.WithoutCancel(ctx))
	}
	failed := record.Finish(end)
	if end.InstanceLost {
		r.gone(ctx, s.key, in.id, end.Outcome)
	}
	switch {
	case failed != nil:
		return Answer{}, fmt.Errorf("the end of the invocation could not be recorded, so its outcome is withheld: %w", failed)
	case answer == nil:
		return Answer{}, &CallError{Outcome: end.Outcome, Detail: end.Detail}
	}
	return *answer, nil
}

// call runs the guest. The answer is nil if it gave none.
func (r *Runner) call(soft context.Context, in *instance, c *Capsule, caller host.Caller, inv Invocation) (*Answer, host.Finished) {
	if soft.Err() != nil {
		return nil, host.Finished{Outcome: OutcomeCancelled, Detail: "cancelled before the guest was called"}
	}
	l := hold(soft, r.closing, r.opts.Deadline, r.opts.Grace)
	defer l.release()
	// Who asked for the invocation stands in invocation.started; what happens
	// inside it, the guest does.
	guest := caller
	guest.Actor = event.Actor{}
	ctx := in.begin(l.hard, l.soft, guest)
	defer in.end()
	if in.module == nil {
		if err := in.start(ctx, r.set.runtime, c); err != nil {
			return nil, r.lost(l, in, caller, fmt.Errorf("its instance could not be made: %w", err))
		}
	}
	a, after, err := in.call(ctx, inv.Action, inv.Payload)
	if err != nil {
		return nil, r.lost(l, in, caller, err)
	}
	end := host.Finished{Outcome: l.outcome(true), Returned: a.Action}
	if after != nil {
		end.InstanceLost, end.Detail = true, "after it had answered: "+in.reason(after)
	}
	a.Outcome, a.Instance = end.Outcome, in.id
	return &a, end
}

// lost says how a call ended that cost the instance.
func (r *Runner) lost(l *leash, in *instance, caller host.Caller, err error) host.Finished {
	end := host.Finished{Outcome: l.outcome(false), Detail: in.reason(err), InstanceLost: true}
	if l.hard.Err() != nil {
		end.Detail = fmt.Sprintf("%v; %v", context.Cause(l.soft), errNoReturn)
	}
	r.opts.Log.Warn("an instance is given up", "capsule", caller.Capsule, "principal", caller.Principal,
		"instance", caller.Instance, "call_id", caller.CallID, "outcome", end.Outcome, "reason", end.Detail, "error", err)
	return end
}

// gone ends the processes of an instance that is no more. A crash before leaves
// them running without an owner; recovery ends them.
func (r *Runner) gone(ctx context.Context, key slotKey, instance, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneWait)
	defer cancel()
	r.host.InstanceGone(ctx, key.principal, key.capsule, instance, reason)
}

// Close begins no more invocations, cancels those that run, waits for them
// (they have the grace), and ends all instances with their processes.
func (r *Runner) Close(ctx context.Context) {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.close()
	r.running.Wait()
	for key, s := range r.slots {
		if s.in != nil {
			s.in.close(ctx)
			r.gone(ctx, key, s.in.id, "shutdown")
			s.in = nil
		}
	}
}
