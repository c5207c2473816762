package capsule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/bind"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/policy"
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
	// cancelled: it may wait for a synchronous spawn that takes all its time,
	// and has as much again for the rest.
	DefaultDeadline = policy.DefaultInvocation

	// DefaultSystemPrincipal is who capsules run for when nobody has asked.
	DefaultSystemPrincipal = "system"

	// DefaultInstanceMemory is how many bytes of guests' memory are kept for
	// later calls: eight instances of the largest size.
	DefaultInstanceMemory = 8 * DefaultMemory

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
	ErrBackground     = errors.New("the capsule runs in the background for this principal; invoke it for another")
	ErrClosed         = errors.New("the daemon is stopping and begins no more invocations")
	ErrCancelled      = errors.New("cancelled before it was begun; nothing ran")
)

// RunOptions says how capsules are run. The zero value is good.
type RunOptions struct {
	Deadline time.Duration // of an invocation; 0 means DefaultDeadline
	Grace    time.Duration // from the soft cancel to the hard one; 0 means DefaultGrace
	Log      *slog.Logger  // nil means nowhere

	// Bus carries messages between capsules; nil means that there is none,
	// and then nothing is routed to handlers.
	Bus *ipc.Bus

	// SystemPrincipal is who a capsule's run, astrid-install and
	// astrid-upgrade run for; empty means DefaultSystemPrincipal.
	SystemPrincipal string

	// InstanceMemory is how many bytes the memories of all instances may have
	// together before idle ones are ended, the least recently used first;
	// 0 means DefaultInstanceMemory. An instance whose guest holds a handle to
	// a process or to anything else stays, so this is no cap.
	InstanceMemory uint64

	// Config is what capsules may read of their configuration, by capsule and
	// key.
	Config map[string]map[string]any

	// restart is the wait before a background run is begun again; tests make it
	// short.
	restart func(failures int) time.Duration
}

func (o *RunOptions) setDefaults() {
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SystemPrincipal == "" {
		o.SystemPrincipal = DefaultSystemPrincipal
	}
	if o.InstanceMemory == 0 {
		o.InstanceMemory = DefaultInstanceMemory
	}
	if o.restart == nil {
		o.restart = restartAfter
	}
}

// Runner calls capsules. It is safe for concurrent use.
type Runner struct {
	set    *Set
	host   Host
	opts   RunOptions
	system *system

	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup // invocations, background runs and routes under way

	// mu is held for accesses of the maps and for the decision whether a new
	// invocation may still enter; nothing blocks under it.
	mu     sync.Mutex
	slots  map[slotKey]*slot
	queue  map[*ticket]struct{}
	setUp  map[string]chan struct{} // by capsule; closed when it may be invoked
	closed bool

	// draining lets in only what calls under way cause; calls counts those, all
	// but background runs.
	draining bool
	calls    int
}

type slotKey struct{ capsule, principal string }

// slot is the place of the one instance of a (capsule, principal).
type slot struct {
	key  slotKey
	turn chan struct{} // holds one token, which is the right to what follows

	in *instance // nil: none lives

	// What the instance weighs and when it was last called, as of the end of
	// that call; guarded by Runner.mu.
	bytes uint64
	used  time.Time
}

// NewRunner returns a Runner of the set's capsules. Close it.
func NewRunner(s *Set, h Host, o RunOptions) *Runner {
	o.setDefaults()
	r := &Runner{
		set: s, host: h, opts: o, system: &system{set: s, config: o.Config, log: o.Log},
		slots: map[slotKey]*slot{}, queue: map[*ticket]struct{}{}, setUp: map[string]chan struct{}{},
	}
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

	// Source is the id of the capsule whose message led to it, and Hops how
	// many messages did, one leading to another; both are empty if none did.
	Source string
	Hops   uint8
}

// job is a call that the Runner makes: an invocation of the hook, or of an
// export without parameters, which then is the action too.
type job struct {
	Invocation
	export   string        // empty: the hook
	deadline time.Duration // 0: none
}

// Answer is what the capsule returned.
type Answer struct {
	Action  string // "continue", "final", "deny", "abort", or what the capsule chose
	Data    []byte
	HasData bool // false: none, which is not the same as empty

	// Published are the messages that the guest published during the call on
	// the topic of its handler with .result behind: a tool's result is there
	// and not in Data.
	Published []ipc.Message

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
	return r.do(ctx, c, job{Invocation: inv, deadline: r.opts.Deadline})
}

// do waits for the job's turn and does it.
func (r *Runner) do(ctx context.Context, c *Capsule, j job) (Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &ticket{
		key: slotKey{j.Capsule, j.Principal}, callID: j.CallID, cancel: cancel,
		caused: j.Source != "", background: j.export == runExport,
	}
	s, err := r.enter(t)
	if err != nil {
		return Answer{}, err
	}
	defer r.running.Done()
	defer r.over(t.background)
	defer r.leave(t, s)
	for _, wait := range []<-chan struct{}{r.ready(j), s.turn} {
		select {
		case <-wait:
		case <-ctx.Done():
			return Answer{}, errors.Join(ErrCancelled, context.Cause(ctx))
		case <-r.closing.Done():
			return Answer{}, ErrClosed
		}
	}
	defer r.makeRoom()
	defer func() { s.turn <- struct{}{} }()
	return r.invoke(ctx, s, c, j, t)
}

// invoke records, calls and records again. The caller holds the turn.
func (r *Runner) invoke(ctx context.Context, s *slot, c *Capsule, j job, t *ticket) (Answer, error) {
	in := s.in
	if in == nil {
		in = r.newInstance(c.Name, j.Principal)
	}
	caller := host.Caller{
		Principal: j.Principal, Capsule: j.Capsule, Instance: in.id, CallID: j.CallID, Source: j.Source, Hops: j.Hops, Actor: j.Actor,
	}
	soft, record, err := r.host.BeginInvocation(ctx, caller, j.Action, j.Payload)
	if err != nil {
		return Answer{}, fmt.Errorf("begin invocation: %w", err)
	}
	r.leaveQueue(t)

	// A crash from here to Finish leaves an invocation that recovery finishes
	// with outcome "daemon-restart", and ends its processes as owner-lost.
	answer, end := r.call(soft, in, c, caller, j)
	s.in = in
	if end.InstanceLost {
		s.in = nil
		in.close(context.WithoutCancel(ctx))
	}
	r.weigh(s)
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

func (r *Runner) newInstance(capsule, principal string) *instance {
	log := r.opts.Log.With("capsule", capsule, "principal", principal)
	return newInstance(ulid.MustNew(ulid.Now(), rand.Reader).String(), bind.Services{
		Processes: r.host, Bus: r.opts.Bus, System: r.system, Log: r.opts.Log,
	}, log)
}

// call runs the guest. The answer is nil if it gave none.
func (r *Runner) call(soft context.Context, in *instance, c *Capsule, caller host.Caller, j job) (*Answer, host.Finished) {
	if soft.Err() != nil {
		return nil, host.Finished{Outcome: OutcomeCancelled, Detail: "cancelled before the guest was called"}
	}
	l := hold(soft, r.closing, j.deadline, r.opts.Grace)
	defer l.release()
	// Who asked for the invocation stands in invocation.started; what happens
	// inside it, the guest does.
	guest := caller
	guest.Actor = event.Actor{}
	ctx := in.begin(l.hard, l.soft, guest)
	defer in.end()
	if j.export != "" {
		in.bound.Unasked()
	}
	if in.module == nil {
		if err := in.start(ctx, r.set.runtime, c); err != nil {
			return nil, r.lost(l, in, caller, fmt.Errorf("its instance could not be made: %w", err))
		}
	}
	heard := r.listen(in, c, j)
	defer heard.close()
	a, after, err := in.do(ctx, j)
	if err != nil {
		return nil, r.lost(l, in, caller, err)
	}
	end := host.Finished{Outcome: l.outcome(true), Returned: a.Action}
	if after != nil {
		end.InstanceLost, end.Detail = true, "after it had answered: "+in.reason(after)
	}
	a.Outcome, a.Instance, a.Published = end.Outcome, in.id, heard.messages()
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

// Close begins no more invocations, cancels those that run and what runs in the
// background, waits for them (they have the grace), and ends all instances with
// their processes.
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
