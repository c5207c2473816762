package bind

import (
	"context"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

// Processes is the process host, as far as guests reach it. Errors are
// *host.Error; any other is a fault of the host's own, which guests are not
// told. Where a method waits, the end of ctx makes it return Cancelled.
type Processes interface {
	// Spawn runs a program to its end. The end of ctx cancels it. Like all
	// that take a request, it refuses one that has Unread.
	Spawn(ctx context.Context, c host.Caller, r host.Request) (*host.Result, error)

	// SpawnBackground starts a program. The end of ctx until it returns
	// cancels it.
	SpawnBackground(ctx context.Context, c host.Caller, r host.Request) (Process, error)

	// What follows is the persistent tier. Ids, labels, suffixes and cursors
	// are as the guest gave them, cut where they are longer than any can be.

	SpawnPersistent(ctx context.Context, c host.Caller, r host.Request) (id string, err error)
	Attach(ctx context.Context, c host.Caller, id string) (Process, error)
	ListProcesses(ctx context.Context, c host.Caller, label *string) ([]host.Info, error)
	ProcessStatus(ctx context.Context, c host.Caller, id string) (host.Info, error)
	StatusMany(ctx context.Context, c host.Caller, ids []string) ([]host.Info, error)
	ReadProcessLogs(ctx context.Context, c host.Caller, id string) (host.Logs, error)
	ReadSince(ctx context.Context, c host.Caller, id string, s host.Stream, cursor *string, max uint32) (host.Chunk, error)
	WriteProcessStdin(ctx context.Context, c host.Caller, id string, b []byte) (uint32, error)
	CloseProcessStdin(ctx context.Context, c host.Caller, id string) error
	SignalProcess(ctx context.Context, c host.Caller, id string, s host.Signal) error
	WaitProcess(ctx context.Context, c host.Caller, id string, timeout time.Duration) (event.Exit, error)
	StopProcess(ctx context.Context, c host.Caller, id string, grace *time.Duration) (event.Exit, error)
	ReleaseProcess(ctx context.Context, c host.Caller, id string) error
	WatchProcess(ctx context.Context, c host.Caller, id string, suffix *string) error
	UnwatchProcess(ctx context.Context, c host.Caller, id string) error
}

// Process is one process that a guest has a handle to.
type Process interface {
	ReadLogs(ctx context.Context, c host.Caller) (host.Logs, error)
	Wait(ctx context.Context, c host.Caller, timeout *time.Duration) (event.Exit, error)
	Kill(ctx context.Context, c host.Caller) (host.KillResult, error)
	Signal(ctx context.Context, c host.Caller, s host.Signal) error
	OSPid(c host.Caller) (uint32, error)

	// WriteStdin writes all of b, and returns how much of it the program was
	// given.
	WriteStdin(ctx context.Context, c host.Caller, b []byte) (uint32, error)
	CloseStdin(ctx context.Context, c host.Caller) error
	WaitWithOutput(ctx context.Context, c host.Caller, timeout *time.Duration) (*host.Result, error)

	// SubscribeExit is ready once the end of the process is recorded,
	// SubscribeLogs while there is output to read and when no more will come.
	SubscribeExit(c host.Caller) (poll.Source, error)
	SubscribeLogs(c host.Caller) (poll.Source, error)

	// Drop ends the process, or lets go of one of the persistent tier.
	Drop(ctx context.Context, c host.Caller) error
}
