package capsule_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/bind"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/ledger/event"
)

// fakeHost is a process host without processes: it notes what it is asked for,
// in order, and answers from its fields.
type fakeHost struct {
	bind.Processes // what is not below is not called

	mu       sync.Mutex
	lines    []string
	ended    []host.Finished
	requests []host.Request
	callers  []host.Caller // of the invocations

	spawn     func(ctx context.Context, c host.Caller, r host.Request) (*host.Result, error)
	beginErr  error
	finishErr error
	begun     func()
	cancels   map[string]context.CancelFunc // by call id
}

func (f *fakeHost) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
}

func (f *fakeHost) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

func (f *fakeHost) lastEnd(t *testing.T) host.Finished {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ended) == 0 {
		t.Fatal("no invocation has finished")
	}
	return f.ended[len(f.ended)-1]
}

func (f *fakeHost) Spawn(ctx context.Context, c host.Caller, r host.Request) (*host.Result, error) {
	if r.Unread != nil {
		return nil, r.Unread.Refusal
	}
	f.note("spawn %s %q for %s", r.Cmd, r.Args, c.CallID)
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	if f.spawn != nil {
		return f.spawn(ctx, c, r)
	}
	zero := int32(0)
	return &host.Result{Stdout: []byte("out of " + r.Cmd), Exit: event.Exit{Code: &zero}}, nil
}

func (f *fakeHost) SpawnBackground(_ context.Context, _ host.Caller, r host.Request) (bind.Process, error) {
	if r.Unread != nil {
		return nil, r.Unread.Refusal
	}
	f.note("spawn-background %s", r.Cmd)
	return &fakeProcess{f: f, cmd: r.Cmd}, nil
}

func (f *fakeHost) BeginInvocation(ctx context.Context, c host.Caller, action string, payload []byte) (context.Context, capsule.Record, error) {
	if f.beginErr != nil {
		return nil, nil, f.beginErr
	}
	f.note("begin %s %s", c.Capsule, action)
	soft, cancel := context.WithCancel(ctx)
	f.mu.Lock()
	if f.cancels == nil {
		f.cancels = map[string]context.CancelFunc{}
	}
	f.cancels[c.CallID] = cancel
	f.callers = append(f.callers, c)
	f.mu.Unlock()
	if f.begun != nil {
		f.begun()
	}
	return soft, fakeRecord{f}, nil
}

// cancel reaches a running invocation softly.
func (f *fakeHost) cancel(callID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancels[callID]()
}

// cancelAll reaches all invocations.
func (f *fakeHost) cancelAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cancel := range f.cancels {
		cancel()
	}
}

// waits returns once n guests have begun to wait for a process.
func (f *fakeHost) waits(n int) {
	until("guests wait for a process", func() bool { return strings.Count(strings.Join(f.noted(), "\n"), "wait") >= n })
}

// until polls a condition for at most 20 seconds; it may be called from any
// goroutine.
func until(what string, ok func() bool) {
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			panic("not in time: " + what)
		}
	}
}

func (f *fakeHost) InstanceGone(_ context.Context, principal, name, instance, reason string) {
	f.note("gone %s %s %s", principal, name, reason)
}

type fakeRecord struct{ f *fakeHost }

func (r fakeRecord) Finish(e host.Finished) error {
	r.f.note("finish %s", e.Outcome)
	r.f.mu.Lock()
	r.f.ended = append(r.f.ended, e)
	r.f.mu.Unlock()
	return r.f.finishErr
}

type fakeProcess struct {
	bind.Process // what is not below is not called

	f   *fakeHost
	cmd string
}

var errNoFake = errors.New("the fake process has none")

func (p *fakeProcess) ReadLogs(context.Context, host.Caller) (host.Logs, error) {
	return host.Logs{Stdout: []byte("log of " + p.cmd), Running: true}, nil
}
func (p *fakeProcess) Wait(ctx context.Context, _ host.Caller, timeout *time.Duration) (event.Exit, error) {
	p.f.note("wait")
	<-ctx.Done()
	return event.Exit{}, &host.Error{Code: host.Cancelled}
}
func (p *fakeProcess) Kill(context.Context, host.Caller) (host.KillResult, error) {
	return host.KillResult{}, errNoFake
}
func (p *fakeProcess) Signal(context.Context, host.Caller, host.Signal) error { return nil }
func (p *fakeProcess) OSPid(host.Caller) (uint32, error)                      { return 4711, nil }
func (p *fakeProcess) Drop(context.Context, host.Caller) error {
	p.f.note("drop %s", p.cmd)
	return nil
}

// put writes a capsule whose one action is "go".
func put(t testing.TB, dir, name string, module []byte) {
	t.Helper()
	putWith(t, dir, name, module, "")
}

// putWith is put with more lines at the end of the manifest, where its handlers
// stand.
func putWith(t testing.TB, dir, name string, module []byte, more string) {
	t.Helper()
	d := filepath.Join(dir, name)
	if err := os.MkdirAll(d, 0o755); err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf("[package]\nname = %q\nversion = \"1.0.0\"\n[[component]]\nfile = \"m.wasm\"\n[subscribe]\n\"t.v1.go\" = { wit = \"opaque\", handler = \"go\" }\n%s", name, more)
	if err := errors.Join(
		os.WriteFile(filepath.Join(d, capsule.ManifestName), []byte(manifest), 0o644),
		os.WriteFile(filepath.Join(d, "m.wasm"), module, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// runner loads the capsules of a directory, all of which must load, and runs
// them on a host.
func runner(t *testing.T, dir string, h capsule.Host, o capsule.RunOptions) *capsule.Runner {
	t.Helper()
	s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir, MemoryBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Failed() {
		t.Fatal(e)
	}
	r := capsule.NewRunner(s, h, o)
	t.Cleanup(func() {
		r.Close(context.Background())
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func invocation(name, principal, call string) capsule.Invocation {
	return capsule.Invocation{Capsule: name, Principal: principal, Action: "go", CallID: call, Payload: []byte("{}")}
}

const (
	process = "astrid:process/host@1.0.0"

	// Where the assembled guests keep things.
	resultAt = 1024 // the hook's result
	imageAt  = 2048 // requests and what they point to
	returnAt = 8192 // where host functions put their results
	cellAt   = 16   // of the allocator
	heapAt   = 16384
)

// guest assembles a capsule whose hook runs code and then answers "continue"
// with the data "fine". The code may use what imports added.
type guest struct {
	*abitest.Module
	spawn, background, wait, drop, readLogs, signal, kill, osPid uint32
}

func newGuest() *guest {
	m := abitest.New()
	g := &guest{Module: m}
	g.spawn = m.Import(process, "spawn", "ii", "")
	g.background = m.Import(process, "spawn-background", "ii", "")
	g.wait = m.Import(process, "[method]process-handle.wait", "iili", "")
	g.drop = m.Import(process, "[resource-drop]process-handle", "i", "")
	g.readLogs = m.Import(process, "[method]process-handle.read-logs", "ii", "")
	g.signal = m.Import(process, "[method]process-handle.signal", "iii", "")
	g.kill = m.Import(process, "[method]process-handle.kill", "ii", "")
	g.osPid = m.Import(process, "[method]process-handle.os-pid", "ii", "")
	return g
}

// hook adds the hook and its answer.
func (g *guest) hook(code ...[]byte) []byte {
	im := &abitest.Image{Base: resultAt}
	im.Alloc(20, 4)
	im.Text(resultAt, "continue")
	im.U8(resultAt+8, 1)
	im.Text(resultAt+12, "fine")
	g.Data(resultAt, im.Bytes())
	g.Func("astrid-hook-trigger", "iiii", "i", 4, slices.Concat(code...), abitest.Const(resultAt))
	return g.Bytes()
}

// request puts a spawn-request of cmd and args at imageAt; spoil may change it.
func (g *guest) request(spoil func(*abitest.Image), cmd string, args ...string) {
	im := &abitest.Image{Base: imageAt}
	im.Alloc(176, 8)
	im.Text(imageAt, cmd)
	im.Texts(imageAt+8, args...)
	im.U32(imageAt+28, 8) // an empty list of variables, well aligned
	if spoil != nil {
		spoil(im)
	}
	g.Data(imageAt, im.Bytes())
}

// call pushes arguments and calls a function.
func call(f uint32, args ...uint32) []byte {
	var code []byte
	for _, a := range args {
		code = append(code, abitest.Const(a)...)
	}
	return append(code, abitest.Call(f)...)
}

// honest is a capsule that spawns a program and says that it is fine.
func honest() []byte {
	g := newGuest()
	g.request(nil, "true", "a", "b")
	g.Bump(cellAt, heapAt)
	return g.hook(call(g.spawn, imageAt, returnAt))
}

// idleHost is a fakeHost that notes nothing.
type idleHost struct{ fakeHost }

func (h *idleHost) Spawn(context.Context, host.Caller, host.Request) (*host.Result, error) {
	return &host.Result{Stdout: []byte("out")}, nil
}

func (h *idleHost) BeginInvocation(ctx context.Context, _ host.Caller, _ string, _ []byte) (context.Context, capsule.Record, error) {
	return ctx, idleRecord{}, nil
}

type idleRecord struct{}

func (idleRecord) Finish(host.Finished) error { return nil }
