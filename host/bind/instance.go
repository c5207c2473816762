package bind

import (
	"context"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// Processes is the process host, as far as guests reach it.
type Processes interface {
	// Spawn runs a program to its end. The end of ctx cancels it.
	Spawn(ctx context.Context, c host.Caller, r host.Request) (*host.Result, error)

	// SpawnBackground starts a program. The end of ctx until it returns
	// cancels it.
	SpawnBackground(ctx context.Context, c host.Caller, r host.Request) (Process, error)
}

// Process is one background process of a guest.
type Process interface {
	ReadLogs(ctx context.Context, c host.Caller) (host.Logs, error)
	Wait(ctx context.Context, c host.Caller, timeout *time.Duration) (event.Exit, error)
	Kill(ctx context.Context, c host.Caller) (host.KillResult, error)
	Signal(ctx context.Context, c host.Caller, s host.Signal) error
	OSPid(c host.Caller) (uint32, error)
	Drop(ctx context.Context, c host.Caller) error
}

// maxHandles is how many handles an instance may hold. Live processes are
// bounded by quotas; this bounds those that have ended and were not dropped.
const maxHandles = 1024

// Instance is one running guest, as the served functions see it: its handles,
// and on whose behalf it runs right now. It belongs to the goroutine that runs
// the guest.
type Instance struct {
	procs Processes
	log   *slog.Logger
	table abi.Table

	// guest is nil until the guest's first call of a served function, which
	// may come out of its _initialize.
	guest *abi.Guest

	// caller and soft are of the invocation that is being served. Invariant:
	// soft is nil exactly when there is none.
	caller host.Caller
	soft   context.Context
}

// NewInstance returns the state for a guest that is about to be instantiated.
func NewInstance(p Processes, log *slog.Logger) *Instance {
	return &Instance{procs: p, log: log, table: abi.Table{Limit: maxHandles}}
}

// Begin says on whose behalf the guest runs from now on. The end of soft makes
// calls that wait for a process return cancelled; the guest itself goes on.
func (in *Instance) Begin(soft context.Context, c host.Caller) { in.soft, in.caller = soft, c }

// End takes back what Begin said.
func (in *Instance) End() { in.soft, in.caller = nil, host.Caller{} }

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

type instanceKey struct{}

// With returns a context by which the served functions find the instance that
// calls them. It must be the one that the guest is called with.
func (in *Instance) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}
