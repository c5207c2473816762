package bind

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

// fake is a process host, a process and a system at once, answering from its
// fields and noting what it was asked.
type fake struct {
	got     host.Request
	caller  host.Caller
	timeout *time.Duration
	signal  host.Signal
	dropped int
	input   []byte
	id      string
	ids     []string
	text    *string // label, suffix, cursor
	stream  host.Stream
	most    uint32
	called  []string

	result *host.Result
	logs   host.Logs
	exit   event.Exit
	killed host.KillResult
	info   host.Info
	infos  []host.Info
	chunk  host.Chunk
	config map[string]string
	sysErr error
	err    error
	block  bool // what waits lasts until its context ends
	panics bool

	over, output flag

	now time.Time // of the bus of the benchmarks
}

// flag is a source that is ready while it is set.
type flag struct {
	poll.Notifier
	set atomic.Bool
}

func (f *flag) Ready() bool { return f.set.Load() }

func (f *flag) raise() {
	f.set.Store(true)
	f.Notify()
}

func (f *fake) answer(ctx context.Context) error {
	if f.panics {
		panic("a fault of the host's own")
	}
	if f.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

// asked notes a call by id. One that does not wait fails if its context is done.
func (f *fake) asked(ctx context.Context, c host.Caller, what, id string) error {
	f.called, f.caller, f.id = append(f.called, what), c, id
	return errors.Join(ctx.Err(), f.err)
}

func (f *fake) request(ctx context.Context, c host.Caller, r host.Request) error {
	f.got, f.caller = r, c
	if r.Unread != nil {
		return r.Unread.Refusal
	}
	return f.answer(ctx)
}

func (f *fake) Spawn(ctx context.Context, c host.Caller, r host.Request) (*host.Result, error) {
	return f.result, f.request(ctx, c, r)
}

func (f *fake) SpawnBackground(ctx context.Context, c host.Caller, r host.Request) (Process, error) {
	return f, f.request(ctx, c, r)
}

func (f *fake) SpawnPersistent(ctx context.Context, c host.Caller, r host.Request) (string, error) {
	return "an-id", f.request(ctx, c, r)
}

func (f *fake) ReadLogs(context.Context, host.Caller) (host.Logs, error) { return f.logs, f.err }

func (f *fake) Wait(ctx context.Context, _ host.Caller, timeout *time.Duration) (event.Exit, error) {
	f.timeout = timeout
	return f.exit, f.answer(ctx)
}

func (f *fake) WaitWithOutput(ctx context.Context, _ host.Caller, timeout *time.Duration) (*host.Result, error) {
	f.timeout = timeout
	return f.result, f.answer(ctx)
}

func (f *fake) Kill(ctx context.Context, _ host.Caller) (host.KillResult, error) {
	return f.killed, errors.Join(ctx.Err(), f.err)
}

func (f *fake) Signal(_ context.Context, _ host.Caller, s host.Signal) error {
	f.signal = s
	return f.err
}

func (f *fake) WriteStdin(ctx context.Context, _ host.Caller, b []byte) (uint32, error) {
	f.input = b
	return uint32(len(b)), f.answer(ctx)
}

func (f *fake) CloseStdin(ctx context.Context, c host.Caller) error {
	return f.asked(ctx, c, "close-stdin", "")
}

func (f *fake) OSPid(host.Caller) (uint32, error) { return 4711, f.err }

func (f *fake) SubscribeExit(host.Caller) (poll.Source, error) { return &f.over, f.err }
func (f *fake) SubscribeLogs(host.Caller) (poll.Source, error) { return &f.output, f.err }

func (f *fake) Drop(context.Context, host.Caller) error {
	f.dropped++
	return f.err
}

func (f *fake) Attach(ctx context.Context, c host.Caller, id string) (Process, error) {
	return f, f.asked(ctx, c, "attach", id)
}

func (f *fake) ListProcesses(ctx context.Context, c host.Caller, label *string) ([]host.Info, error) {
	f.text = label
	return f.infos, f.asked(ctx, c, "list-processes", "")
}

func (f *fake) ProcessStatus(ctx context.Context, c host.Caller, id string) (host.Info, error) {
	return f.info, f.asked(ctx, c, "status", id)
}

func (f *fake) StatusMany(ctx context.Context, c host.Caller, ids []string) ([]host.Info, error) {
	f.ids = ids
	return f.infos, f.asked(ctx, c, "status-many", "")
}

func (f *fake) ReadProcessLogs(ctx context.Context, c host.Caller, id string) (host.Logs, error) {
	return f.logs, f.asked(ctx, c, "read-logs", id)
}

func (f *fake) ReadSince(ctx context.Context, c host.Caller, id string, s host.Stream, cursor *string, most uint32) (host.Chunk, error) {
	f.stream, f.text, f.most = s, cursor, most
	return f.chunk, f.asked(ctx, c, "read-since", id)
}

func (f *fake) WriteProcessStdin(ctx context.Context, c host.Caller, id string, b []byte) (uint32, error) {
	f.input = b
	return uint32(len(b)), errors.Join(f.asked(ctx, c, "write-stdin", id), f.answer(ctx))
}

func (f *fake) CloseProcessStdin(ctx context.Context, c host.Caller, id string) error {
	return f.asked(ctx, c, "close-stdin", id)
}

func (f *fake) SignalProcess(ctx context.Context, c host.Caller, id string, s host.Signal) error {
	f.signal = s
	return f.asked(ctx, c, "signal", id)
}

func (f *fake) WaitProcess(ctx context.Context, c host.Caller, id string, timeout time.Duration) (event.Exit, error) {
	f.timeout = &timeout
	return f.exit, errors.Join(f.asked(ctx, c, "wait", id), f.answer(ctx))
}

func (f *fake) StopProcess(ctx context.Context, c host.Caller, id string, grace *time.Duration) (event.Exit, error) {
	f.timeout = grace
	return f.exit, errors.Join(f.asked(ctx, c, "stop", id), f.answer(ctx))
}

func (f *fake) ReleaseProcess(ctx context.Context, c host.Caller, id string) error {
	return f.asked(ctx, c, "release-process", id)
}

func (f *fake) WatchProcess(ctx context.Context, c host.Caller, id string, suffix *string) error {
	f.text = suffix
	return f.asked(ctx, c, "watch", id)
}

func (f *fake) UnwatchProcess(ctx context.Context, c host.Caller, id string) error {
	return f.asked(ctx, c, "unwatch", id)
}

func (f *fake) Config(_ host.Caller, key string) (string, bool, error) {
	v, ok := f.config[key]
	return v, ok, f.sysErr
}
func (f *fake) SourceID(capsule string) string         { return "id of " + capsule }
func (f *fake) Allowed(source, capability string) bool { return source == "s" && capability == "c" }
func (f *fake) Capabilities(string) []string           { return []string{"host_process", "uplink"} }
func (f *fake) SignalReady(c host.Caller)              { f.called = append(f.called, "signal-ready of "+c.Capsule) }
func (f *fake) Bindings(string) []Binding              { return []Binding{{7, "act", "a.b"}} }
