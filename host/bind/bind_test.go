package bind

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/ledger/event"
)

// fake is a process host and a process at once, answering from its fields.
type fake struct {
	got     host.Request
	caller  host.Caller
	timeout *time.Duration
	signal  host.Signal
	dropped int

	result *host.Result
	logs   host.Logs
	exit   event.Exit
	killed host.KillResult
	err    error
	block  bool // spawn and wait last until their context ends
	panics bool
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

func (f *fake) Spawn(ctx context.Context, c host.Caller, r host.Request) (*host.Result, error) {
	f.got, f.caller = r, c
	return f.result, f.answer(ctx)
}
func (f *fake) SpawnBackground(ctx context.Context, c host.Caller, r host.Request) (Process, error) {
	f.got, f.caller = r, c
	return f, f.answer(ctx)
}
func (f *fake) ReadLogs(context.Context, host.Caller) (host.Logs, error) { return f.logs, f.err }
func (f *fake) Wait(ctx context.Context, _ host.Caller, timeout *time.Duration) (event.Exit, error) {
	f.timeout = timeout
	return f.exit, f.answer(ctx)
}
func (f *fake) Kill(ctx context.Context, _ host.Caller) (host.KillResult, error) {
	return f.killed, errors.Join(ctx.Err(), f.err)
}
func (f *fake) Signal(_ context.Context, _ host.Caller, s host.Signal) error {
	f.signal = s
	return f.err
}
func (f *fake) OSPid(host.Caller) (uint32, error) { return 4711, f.err }
func (f *fake) Drop(context.Context, host.Caller) error {
	f.dropped++
	return f.err
}

const (
	module = "astrid:process/host@1.0.0"
	reqAt  = 1024
	retAt  = 8192
	heapAt = 16384
)

// world is a guest that exports, under short names, a function for each import.
type world struct {
	t    testing.TB
	f    *fake
	in   *Instance
	mod  api.Module
	log  *bytes.Buffer
	soft context.Context
	stop context.CancelFunc
}

func newWorld(t testing.TB, f *fake, req *Image) *world {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	t.Cleanup(func() { r.Close(context.Background()) })
	if err := Instantiate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, f, req, r)
}

// newWorldOn is newWorld on a runtime that serves what the guest imports.
func newWorldOn(t testing.TB, f *fake, req *Image, r wazero.Runtime) *world {
	t.Helper()
	m := New()
	m.Memory(256, 0)
	type fn struct{ name, params string }
	fns := []fn{{"spawn", "ii"}, {"spawn-background", "ii"}, {"[method]process-handle.read-logs", "ii"},
		{"[method]process-handle.wait", "iili"}, {"[method]process-handle.kill", "ii"}, {"[method]process-handle.os-pid", "ii"},
		{"[method]process-handle.signal", "iii"}, {"[resource-drop]process-handle", "i"}}
	for _, fn := range fns {
		m.Import(module, fn.name, fn.params, "")
	}
	m.Bump(16, heapAt)
	for i, fn := range fns {
		_, short, ok := strings.Cut(fn.name, ".")
		if !ok {
			short = strings.TrimPrefix(fn.name, "[resource-drop]")
		}
		var push []byte
		for p := range fn.params {
			push = append(push, Get(uint32(p))...)
		}
		m.Func(short, fn.params, "", 0, push, Call(uint32(i)))
	}
	if req != nil {
		m.Data(req.Base, req.Bytes())
	}
	ctx := t.Context()
	w := &world{t: t, f: f, log: &bytes.Buffer{}}
	w.in = NewInstance(f, slog.New(slog.NewTextHandler(w.log, nil)))
	w.soft, w.stop = context.WithCancel(ctx)
	t.Cleanup(w.stop)
	w.in.Begin(w.soft, host.Caller{Principal: "alice", Capsule: "builder", CallID: "c1"})
	mod, err := r.Instantiate(ctx, m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w.mod = mod
	return w
}

func (w *world) try(name string, args ...uint64) error {
	_, err := w.mod.ExportedFunction(name).Call(w.in.With(w.t.Context()), args...)
	return err
}

func (w *world) call(name string, args ...uint64) {
	w.t.Helper()
	if err := w.try(name, args...); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
}

func (w *world) word(at uint32) uint32 {
	v, _ := w.mod.Memory().ReadUint32Le(at)
	return v
}

func (w *world) byte(at uint32) byte {
	v, _ := w.mod.Memory().ReadByte(at)
	return v
}

func (w *world) text(at uint32) string {
	b, _ := w.mod.Memory().Read(w.word(at), w.word(at+4))
	return string(b)
}

// full is a spawn-request with everything in it.
func full() *Image {
	im := &Image{Base: reqAt}
	at := im.Alloc(176, 8)
	im.Text(at, "git")
	im.Texts(at+8, "log", "", "--format=%h €")
	im.U8(at+16, 1)
	im.Text(at+20, "in\x00put\xff")
	env := im.Alloc(32, 4)
	im.U32(at+28, env)
	im.U32(at+32, 2)
	im.Text(env, "HOME")
	im.Text(env+8, "/w")
	im.Text(env+16, "EMPTY")
	im.Text(env+24, "")
	im.U8(at+36, 1)
	im.Text(at+40, "sub/dir")
	im.U8(at+48, 1)
	im.U8(at+56, 1)
	im.U64(at+64, 1<<33)
	im.U8(at+88, 1)
	im.U32(at+92, 17)
	im.U8(at+104, 1)
	im.Text(at+108, "label")
	im.U8(at+116, 1)
	im.U8(at+117, 200) // any non-zero value is true
	im.U8(at+118, 1)
	im.U8(at+119, 1)
	im.U8(at+120, 1)
	im.U32(at+124, 4096)
	im.U8(at+128, 1)
	im.U64(at+136, math.MaxUint64)
	im.U64(at+152, 7) // of a none
	im.U8(at+160, 1)
	im.U64(at+168, 9)
	return im
}

func ptr[T any](v T) *T { return &v }

func TestSpawnLiftsEverything(t *testing.T) {
	w := newWorld(t, &fake{result: &host.Result{}}, full())
	w.call("spawn", reqAt, retAt)
	want := host.Request{
		Cmd: "git", Args: []string{"log", "", "--format=%h €"},
		Stdin: []byte("in\x00put\xff"), HasStdin: true,
		Env: []host.EnvVar{{Key: "HOME", Value: "/w"}, {Key: "EMPTY"}},
		Cwd: ptr("sub/dir"), Limits: &event.Limits{MemoryBytes: ptr[uint64](1 << 33), PIDs: ptr[uint32](17)},
		Label: ptr("label"), KeepStdinOpen: ptr(true), Overflow: ptr(host.Backpressure), LogRingBytes: ptr[uint32](4096),
		MaxLifetimeMS: ptr[uint64](math.MaxUint64), ExitRetentionMS: ptr[uint64](9),
	}
	if d := cmp.Diff(want, w.f.got, cmpopts.IgnoreUnexported(event.Limits{})); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	if w.f.caller.Principal != "alice" || w.f.caller.CallID != "c1" {
		t.Errorf("caller %+v", w.f.caller)
	}
}

// TestLongListsAreNotLifted: the process host never sees them, each has its
// code, and what just fits is let through.
func TestLongListsAreNotLifted(t *testing.T) {
	list := func(field, n uint32) *Image { // n elements of zeros, which are empty strings
		im := &Image{Base: reqAt}
		at := im.Alloc(176, 8)
		im.U32(at+field, 1<<20)
		im.U32(at+field+4, n)
		return im
	}
	bytes := func(n uint32) *Image {
		im := &Image{Base: reqAt}
		at := im.Alloc(176, 8)
		one := im.Alloc(8, 4)
		im.U32(at+8, one)
		im.U32(at+12, 1)
		im.U32(one, 1<<20)
		im.U32(one+4, n)
		return im
	}
	for name, c := range map[string]struct {
		req  *Image
		code host.Code // 0 is capability-denied, which is not what is looked for: let through
	}{
		"most args":       {list(8, 4096), 0},
		"too many args":   {list(8, 4097), host.InvalidInput},
		"millions":        {list(8, 1<<20), host.InvalidInput},
		"longest args":    {bytes(1 << 20), 0},
		"too long args":   {bytes(1<<20 + 1), host.InvalidInput},
		"most env":        {list(28, 256), 0},
		"too much of env": {list(28, 257), host.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fn := range []string{"spawn", "spawn-background"} {
				w := newWorld(t, &fake{result: &host.Result{}}, c.req)
				w.call(fn, reqAt, retAt)
				through := w.f.caller.Principal != ""
				if through != (c.code == 0) || !through && (w.byte(retAt) != 1 || host.Code(w.byte(retAt+4)) != c.code) {
					t.Errorf("%s: let through: %v; tag %d, code %d", fn, through, w.byte(retAt), w.byte(retAt+4))
				}
			}
		})
	}
}

func TestSpawnLiftsNothing(t *testing.T) {
	im := &Image{Base: reqAt}
	im.Alloc(176, 8)
	w := newWorld(t, &fake{result: &host.Result{}}, im)
	w.call("spawn", 0xdead_beef_0000_0000|reqAt, 0xffff_ffff_0000_0000|retAt)
	if d := cmp.Diff(host.Request{}, w.f.got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func TestResultsAreLowered(t *testing.T) {
	f := &fake{
		result: &host.Result{Stdout: []byte("out\xe2\x82!"), Stderr: []byte("err"), Exit: event.Exit{Code: ptr[int32](-2)}},
		logs:   host.Logs{Stdout: []byte("o"), Running: true},
		exit:   event.Exit{Signal: ptr[int32](9)},
		killed: host.KillResult{Killed: true, Exit: &event.Exit{Signal: ptr[int32](9)}, Stderr: []byte("last words")},
	}
	w := newWorld(t, f, full())
	w.call("spawn", reqAt, retAt)
	if w.byte(retAt) != 0 || w.text(retAt+4) != "out\uFFFD!" || w.text(retAt+12) != "err" ||
		w.byte(retAt+20) != 1 || int32(w.word(retAt+24)) != -2 || w.byte(retAt+28) != 0 {
		t.Error("spawn's result is not what the host answered")
	}
	w.call("spawn-background", reqAt, retAt)
	h := uint64(w.word(retAt + 4))
	if w.byte(retAt) != 0 || h == 0 {
		t.Fatalf("spawn-background: tag %d, handle %d", w.byte(retAt), h)
	}
	w.call("read-logs", h, retAt)
	if w.byte(retAt) != 0 || w.text(retAt+4) != "o" || w.text(retAt+12) != "" || w.byte(retAt+20) != 1 || w.byte(retAt+24) != 0 {
		t.Error("read-logs' result is not what the host answered")
	}
	w.call("wait", h, 1, 1500, retAt)
	if w.byte(retAt) != 0 || w.byte(retAt+4) != 0 || w.byte(retAt+12) != 1 || w.word(retAt+16) != 9 || *f.timeout != 1500*time.Millisecond {
		t.Error("wait's result is not what the host answered")
	}
	w.call("kill", h, retAt)
	if w.byte(retAt) != 0 || w.byte(retAt+4) != 1 || w.byte(retAt+8) != 1 || w.word(retAt+24) != 9 || w.text(retAt+36) != "last words" {
		t.Error("kill's result is not what the host answered")
	}
	w.call("os-pid", h, retAt)
	if w.byte(retAt) != 0 || w.word(retAt+4) != 4711 {
		t.Error("os-pid's result is not what the host answered")
	}
	w.call("signal", h, uint64(host.SigStop), retAt)
	if w.byte(retAt) != 0 || f.signal != host.SigStop {
		t.Error("signal did not arrive")
	}
	if w.call("process-handle", h); f.dropped != 1 {
		t.Error("the handle was not dropped")
	}
	if err := w.try("os-pid", h, retAt); err == nil || !strings.Contains(err.Error(), "[method]process-handle.os-pid: 1 is no handle") {
		t.Errorf("a dropped handle: %v", err)
	}
}

func TestWaitTimeouts(t *testing.T) {
	f := &fake{}
	w := newWorld(t, f, full())
	w.call("spawn-background", reqAt, retAt)
	for _, c := range []struct {
		some, ms uint64
		want     *time.Duration
	}{
		{0, 77, nil},
		{0xffff_ffff_0000_0000, 77, nil}, // garbage in the upper half of a none
		{1, 0, ptr(time.Duration(0))},
		{1, math.MaxUint64, ptr(time.Duration(math.MaxInt64 / 1_000_000 * 1_000_000))},
	} {
		w.call("wait", 1, c.some, c.ms, retAt)
		if d := cmp.Diff(c.want, f.timeout); d != "" {
			t.Errorf("wait(%d, %d) (-want +got):\n%s", c.some, c.ms, d)
		}
	}
	if err := w.try("wait", 1, 2, 0, retAt); err == nil {
		t.Error("an option's tag of 2 did not trap")
	}
}

func TestErrorsBecomeCodes(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   host.Code
		detail string
	}{
		{&host.Error{Code: host.CapabilityDenied, Detail: "not for the guest"}, host.CapabilityDenied, ""},
		{&host.Error{Code: host.Quota}, host.Quota, ""},
		{fmt.Errorf("wrapped: %w", &host.Error{Code: host.PersistUnsupported}), host.PersistUnsupported, ""},
		{&host.Error{Code: host.Unknown, Detail: "no such program\xff"}, host.Unknown, "no such program\uFFFD"},
		{&host.Error{Code: 200, Detail: "from the future"}, host.Unknown, "from the future"},
		{context.Canceled, host.Cancelled, ""},
		{errors.New("secret of the daemon"), host.Unknown, "the host failed; its log says why"},
	} {
		w := newWorld(t, &fake{err: c.err}, full())
		w.call("spawn", reqAt, retAt)
		if w.byte(retAt) != 1 || host.Code(w.byte(retAt+4)) != c.code || (c.code == host.Unknown && w.text(retAt+8) != c.detail) {
			t.Errorf("%v: tag %d, code %d, detail %q", c.err, w.byte(retAt), w.byte(retAt+4), w.text(retAt+8))
		}
	}
}

// TestSoftCancel: what blocks on a process returns cancelled, and a cancelled
// guest can still clean up.
func TestSoftCancel(t *testing.T) {
	f := &fake{killed: host.KillResult{Killed: true}}
	w := newWorld(t, f, full())
	w.call("spawn-background", reqAt, retAt)
	f.block = true
	time.AfterFunc(20*time.Millisecond, w.stop)
	w.call("wait", 1, 0, 0, retAt)
	if w.byte(retAt) != 1 || host.Code(w.byte(retAt+4)) != host.Cancelled {
		t.Errorf("wait: tag %d, code %d, want cancelled", w.byte(retAt), w.byte(retAt+4))
	}
	w.call("spawn", reqAt, retAt)
	if host.Code(w.byte(retAt+4)) != host.Cancelled {
		t.Errorf("spawn after the cancel: code %d, want cancelled", w.byte(retAt+4))
	}
	if w.call("kill", 1, retAt); w.byte(retAt) != 0 || w.byte(retAt+4) != 1 {
		t.Error("kill after the cancel did not work")
	}
	if w.call("process-handle", 1); f.dropped != 1 {
		t.Error("drop after the cancel did not work")
	}
}

func TestNoInvocationNoCall(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	w.in.End()
	if err := w.try("spawn", reqAt, retAt); err == nil || !strings.Contains(err.Error(), "outside of an invocation") {
		t.Errorf("error %v", err)
	}
}

// TestHostPanicIsTheOperators: a fault of the host's own ends the guest's call
// and is logged as what it is.
func TestHostPanicIsTheOperators(t *testing.T) {
	w := newWorld(t, &fake{panics: true}, full())
	if err := w.try("spawn", reqAt, retAt); err == nil {
		t.Error("no error")
	}
	if !strings.Contains(w.log.String(), "a served function panicked") || !strings.Contains(w.log.String(), "a fault of the host's own") {
		t.Errorf("log %s", w.log)
	}
}

func TestUnservedImportsAreAllNamed(t *testing.T) {
	r := wazero.NewRuntime(t.Context())
	defer r.Close(context.Background())
	if err := Instantiate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	m := New()
	m.Import(module, "spawn", strings.Repeat("i", 13), "")
	m.Import(module, "spawn-background", "ii", "")
	m.Import(module, "attach", "iii", "")
	m.Import("astrid:process/host@1.1.0", "spawn", "ii", "")
	m.Import("astrid:ipc/host@1.0.0", "publish", "iiiii", "")
	m.ImportGlobal("env", "__stack_pointer")
	binary := m.Bytes()
	cm, err := r.CompileModule(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	err = Check(r, cm, binary)
	var unserved *UnservedError
	if !errors.As(err, &unserved) {
		t.Fatalf("error %v", err)
	}
	want := []string{
		"astrid:ipc/host@1.0.0 publish",
		"astrid:process/host@1.0.0 attach",
		"astrid:process/host@1.0.0 spawn: imported as (" + strings.TrimSuffix(strings.Repeat("i32,", 13), ",") + ")->(), served as (i32,i32)->()",
		"astrid:process/host@1.1.0 spawn: served are the versions 1.0.0",
		"env __stack_pointer: a global",
	}
	if !slices.Equal(unserved.Imports, want) {
		t.Errorf("unserved:\n%s\nwant:\n%s", strings.Join(unserved.Imports, "\n"), strings.Join(want, "\n"))
	}
}

// FuzzOtherImports: the reader of import sections survives anything.
func FuzzOtherImports(f *testing.F) {
	m := New()
	m.Import("a", "b", "i", "i")
	m.ImportGlobal("env", "g")
	f.Add(m.Bytes())
	f.Add(binary.AppendUvarint([]byte("\x00asm\x01\x00\x00\x00\x02"), math.MaxUint64))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = otherImports(b) })
}
