package bind

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	. "github.com/astrid-os/processledger/host/abi/abitest"
)

const (
	reqAt  = 1024
	retAt  = 8192
	heapAt = 16384
)

// world is a guest that exports a function for each import: methods as
// ".wait", drops as "~process-handle", free functions as "wait".
type world struct {
	t    testing.TB
	f    *fake
	in   *Instance
	mod  api.Module
	log  *bytes.Buffer
	soft context.Context
	stop context.CancelFunc
}

// newRuntime returns a runtime that serves everything.
func newRuntime(t testing.TB) wazero.Runtime {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	t.Cleanup(func() { r.Close(context.Background()) })
	if err := Instantiate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// newWorld returns a guest of 1.0.0 whose memory holds req.
func newWorld(t testing.TB, f *fake, req *Image) *world {
	t.Helper()
	return newWorldOn(t, f, req, newRuntime(t), process100, ioPoll)
}

const (
	ioPoll  = "astrid:io/poll@1.0.0"
	sysHost = "astrid:sys/host@1.0.0"
)

// newWorldOn is newWorld of these revisions, on a runtime that serves them.
func newWorldOn(t testing.TB, f *fake, req *Image, r wazero.Runtime, revisions ...string) *world {
	t.Helper()
	m := guestOf(revisions...)
	if req != nil {
		m.Data(req.Base, req.Bytes())
	}
	ctx := t.Context()
	w := &world{t: t, f: f, log: &bytes.Buffer{}}
	w.in = NewInstance(Services{Processes: f, System: f, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))})
	w.soft, w.stop = context.WithCancel(ctx)
	t.Cleanup(w.stop)
	w.in.Begin(w.soft, host.Caller{Principal: "alice", Capsule: "builder", CallID: "c1", Source: "source-1"})
	linked, err := Link(r, m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w.mod, err = r.Instantiate(ctx, linked)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// guestOf assembles a guest with all imports of some revisions. That of the 0.7
// era is imported under the name that its guests use.
func guestOf(modules ...string) *Module {
	m := New()
	m.Memory(256, 0)
	var funcs []function
	for _, module := range modules {
		rev := revisions[slices.IndexFunc(revisions, func(r revision) bool { return r.module == module })]
		for _, f := range rev.funcs {
			params, results := letters(f)
			m.Import(strings.TrimSuffix(module, "+0.7"), f.Name, params, results)
			funcs = append(funcs, f)
		}
	}
	m.Bump(16, heapAt)
	for i, f := range funcs {
		params, results := letters(f)
		var push []byte
		for p := range params {
			push = append(push, Get(uint32(p))...)
		}
		m.Func(short(f.Name), params, results, 0, push, Call(uint32(i)))
	}
	return m
}

// letters spells a core signature as abitest does.
func letters(f function) (params, results string) {
	p, r := f.Core()
	spell := func(types []api.ValueType) (s string) {
		for _, t := range types {
			s += map[api.ValueType]string{api.ValueTypeI32: "i", api.ValueTypeI64: "l"}[t]
		}
		return s
	}
	return spell(p), spell(r)
}

func short(name string) string {
	if _, method, ok := strings.Cut(name, "."); ok {
		return "." + method
	}
	if r, ok := strings.CutPrefix(name, "[resource-drop]"); ok {
		return "~" + r
	}
	return name
}

// results returns what a function returned by value.
func (w *world) results(name string, args ...uint64) ([]uint64, error) {
	f := w.mod.ExportedFunction(name)
	if f == nil {
		w.t.Fatalf("the guest imports no %s", name)
	}
	return f.Call(w.in.With(w.t.Context()), args...)
}

func (w *world) try(name string, args ...uint64) error {
	_, err := w.results(name, args...)
	return err
}

func (w *world) call(name string, args ...uint64) {
	w.t.Helper()
	if err := w.try(name, args...); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
}

// one calls a function that returns one value.
func (w *world) one(name string, args ...uint64) uint64 {
	w.t.Helper()
	out, err := w.results(name, args...)
	if err != nil || len(out) != 1 {
		w.t.Fatalf("%s: %v, %v", name, out, err)
	}
	return out[0]
}

// put writes bytes into the guest's memory, out of the way of all else.
func (w *world) put(at uint32, b string) (uint64, uint64) {
	w.t.Helper()
	if !w.mod.Memory().Write(at, []byte(b)) {
		w.t.Fatal("outside the memory")
	}
	return uint64(at), uint64(len(b))
}

// background starts a process and returns its handle.
func (w *world) background() uint64 {
	w.t.Helper()
	w.call("spawn-background", reqAt, retAt)
	if w.byte(retAt) != 0 {
		w.t.Fatalf("spawn-background: code %d", w.byte(retAt+4))
	}
	return uint64(w.word(retAt + 4))
}

// failed checks that the result at retAt, whose payload stands at an offset,
// is an error of that code.
func (w *world) failed(what string, payload uint32, code int) {
	w.t.Helper()
	if w.byte(retAt) != 1 || int(w.byte(retAt+payload)) != code {
		w.t.Errorf("%s: tag %d, code %d, want the error %d", what, w.byte(retAt), w.byte(retAt+payload), code)
	}
}

// fine checks that the result at retAt is ok.
func (w *world) fine(what string) {
	w.t.Helper()
	if w.byte(retAt) != 0 {
		w.t.Errorf("%s failed", what)
	}
}

func (w *world) word(at uint32) uint32 {
	v, _ := w.mod.Memory().ReadUint32Le(at)
	return v
}

func (w *world) long(at uint32) uint64 {
	v, _ := w.mod.Memory().ReadUint64Le(at)
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

func ptr[T any](v T) *T { return &v }

const soon = 10 * time.Second // a bound for what should take no time
