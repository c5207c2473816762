package bind

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/ipc"
)

// Services are what guests reach by the served functions.
type Services struct {
	Processes Processes

	// Bus may be nil: then nothing can be published or subscribed to.
	Bus *ipc.Bus

	// System may be nil: then there is no configuration and no capability.
	System System

	// Log gets what guests log, and the host's own faults; nil means nowhere.
	Log *slog.Logger
}

// maxHandles is how many handles an instance may hold. Live processes are
// bounded by quotas; this bounds those that have ended and were not dropped,
// and pollables.
const maxHandles = 1024

// Instance is one running guest, as the served functions see it: its handles,
// and on whose behalf it runs right now. It belongs to the goroutine that runs
// the guest.
type Instance struct {
	procs Processes
	bus   *ipc.Bus
	sys   System
	log   *slog.Logger
	table abi.Table

	// guest is nil until the guest's first call of a served function, which
	// may come out of its _initialize.
	guest *abi.Guest

	ready bool // the guest has said that it is

	// What it has logged since when, see mayLog.
	logged  int
	logFrom time.Time

	// What follows is of the invocation that is being served. Invariant: soft
	// is nil exactly when there is none.
	soft   context.Context
	caller host.Caller
	began  time.Time
}

// NewInstance returns the state for a guest that is about to be instantiated.
func NewInstance(s Services) *Instance {
	in := &Instance{procs: s.Processes, bus: s.Bus, sys: s.System, log: s.Log, table: abi.Table{Limit: maxHandles}}
	if in.sys == nil {
		in.sys = noSystem{}
	}
	if in.log == nil {
		in.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return in
}

// Begin says on whose behalf the guest runs from now on. The end of soft makes
// calls that wait return cancelled; the guest itself goes on.
func (in *Instance) Begin(soft context.Context, c host.Caller) {
	c.Soft = soft.Done()
	in.soft, in.caller, in.began = soft, c, time.Now()
	in.logged, in.logFrom = 0, in.began
}

// Unasked says of the invocation that has begun that nobody has asked for it but
// the daemon's own start: it has no caller, though it has a principal.
func (in *Instance) Unasked() { in.began = time.Time{} }

// End takes back what Begin said.
func (in *Instance) End() { in.soft, in.caller, in.began = nil, host.Caller{}, time.Time{} }

// Guest returns the guest's memory and allocator; m is its module.
func (in *Instance) Guest(m api.Module) (*abi.Guest, error) {
	if in.guest == nil {
		g, err := abi.NewGuest(m)
		if err != nil {
			return nil, err
		}
		in.guest = g
	}
	return in.guest, nil
}

// Handles returns how many handles the guest holds, of all kinds.
func (in *Instance) Handles() int { return in.table.Len() }

// Close ends the subscriptions of a guest that is no more. Its processes are the
// process host's to end. A call of the guest must not be under way.
func (in *Instance) Close() {
	for _, held := range in.table.Held() {
		if s, ok := held.(*subscribed); ok {
			s.orphan()
			s.Subscription.Close()
		}
	}
}

type instanceKey struct{}

// With returns a context by which the served functions find the instance that
// calls them. It must be the one that the guest is called with.
func (in *Instance) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}
