package bind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/ledger/event"
)

// everything is what the guest of the benchmarks imports.
var everything = []string{process110, ioPoll}

// emptyRuntime serves functions of the same names and signatures that do
// nothing.
func emptyRuntime(b *testing.B) wazero.Runtime {
	b.Helper()
	r := wazero.NewRuntimeWithConfig(b.Context(), wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	b.Cleanup(func() { r.Close(context.Background()) })
	for _, rev := range revisions {
		builder := r.NewHostModuleBuilder(rev.module)
		for _, f := range rev.funcs {
			params, results := f.Core()
			empty := api.GoModuleFunc(func(context.Context, api.Module, []uint64) {})
			builder.NewFunctionBuilder().WithGoModuleFunction(empty, params, results).Export(f.Name)
		}
		if _, err := builder.Instantiate(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

// calls calls an export that does nothing but call one import, a number of
// times, and returns how long it took.
func (w *world) calls(b *testing.B, n int, name string, args []uint64) time.Duration {
	b.Helper()
	f, ctx := w.mod.ExportedFunction(name), w.in.With(b.Context())
	stack := make([]uint64, len(args)+1)
	began := time.Now()
	for range n {
		copy(stack, args)
		if err := f.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	w.mod.Memory().WriteUint32Le(16, heapAt) // the guest frees what it was given
	return took
}

// BenchmarkHostCall calls each function on a host that does nothing, turn by
// turn with an empty host function of the same signature. Both figures are
// medians, and include the call of the guest.
func BenchmarkHostCall(b *testing.B) {
	exit := event.Exit{Code: ptr[int32](0)}
	info := host.Info{ID: someID, Label: "label", Command: "git", Phase: host.Running}
	f := &fake{
		result: &host.Result{Stdout: []byte("out"), Stderr: []byte("err"), Exit: exit},
		logs:   host.Logs{Stdout: []byte("out")}, exit: exit, killed: host.KillResult{Killed: true, Exit: &exit},
		info: info, infos: []host.Info{info, info, info, info, info, info, info, info},
		chunk: host.Chunk{Data: []byte("out"), Next: someID},
	}
	f.over.raise()
	for _, revisions := range [][]string{everything, {sysHost}, {"astrid:ipc/host@1.0.0"}} {
		w := newWorldOn(b, f, fullOf(request110), newRuntime(b), revisions...)
		empty := newWorldOn(b, f, fullOf(request110), emptyRuntime(b), revisions...)
		w.in.bus = ipc.New(ipc.Options{Now: func() time.Time { f.now = f.now.Add(time.Second); return f.now }})
		for _, c := range benchCalls(w, revisions[0]) {
			b.Run(strings.NewReplacer("~", "drop-", ".", "handle.").Replace(c.name), func(b *testing.B) {
				const turn = 64
				var ours, ratios []float64
				for b.Loop() {
					f.called = nil
					took := w.calls(b, turn, c.name, c.args)
					ours = append(ours, float64(took)/turn)
					ratios = append(ratios, float64(took)/float64(empty.calls(b, turn, c.name, c.args)))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(ours), "ns/call")
				b.ReportMetric(median(ratios), "x-empty")
			})
		}
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

type benchedCall struct {
	name string
	args []uint64
}

// benchCalls are calls that can be made over and over.
func benchCalls(w *world, revision string) []benchedCall {
	id := w.id(someID)
	byID := func(more ...uint64) []uint64 { return append(append(append([]uint64{}, id...), more...), retAt) }
	switch revision {
	case sysHost:
		return []benchedCall{
			{"clock-ms", nil}, {"clock-monotonic-ns", nil}, {"random-bytes", []uint64{32, retAt}}, {"get-caller", []uint64{retAt}},
			{"get-config", byID()}, {"log", []uint64{2, id[0], id[1]}}, {"enumerate-capabilities", []uint64{retAt}},
		}
	case "astrid:ipc/host@1.0.0":
		s := w.subscribe("a.b")
		return []benchedCall{{"publish", append(w.strings("a.c", `{"key":"value"}`), retAt)}, {".poll", []uint64{s, retAt}}}
	}
	h := w.background()
	p := w.one(".subscribe-exit", h)
	w.mod.Memory().WriteUint32Le(listAt, uint32(p))
	id = w.idAt(listAt + 4096)
	return []benchedCall{
		{"spawn", []uint64{reqAt, retAt}}, {"spawn-persistent", []uint64{reqAt, retAt}},
		{".os-pid", []uint64{h, retAt}}, {".read-logs", []uint64{h, retAt}}, {".write-stdin", []uint64{h, listAt, 64, retAt}},
		{".close-stdin", []uint64{h, retAt}}, {".signal", []uint64{h, 0, retAt}}, {".kill", []uint64{h, retAt}},
		{".wait", []uint64{h, 1, 5, retAt}}, {".wait-with-output", []uint64{h, 1, 5, retAt}},
		{"list-processes", []uint64{0, 0, 0, retAt}}, {"status", byID()}, {"read-logs", byID()}, {"read-since", byID(0, 0, 0, 0, 64)},
		{"write-stdin", byID(listAt, 64)}, {"close-stdin", byID()}, {"signal", byID(0)}, {"wait", byID(5)}, {"stop", byID(0, 0)},
		{"release-process", byID()}, {"watch", byID(0, 0, 0)}, {"unwatch", byID()},
		{".ready", []uint64{p}}, {".block", []uint64{p, retAt}}, {"poll", []uint64{listAt, 1, retAt}},
	}
}

// BenchmarkLiftRequest lifts a spawn-request of usual size with everything in
// it, and the largest that is taken: 4,096 arguments of 1 MiB together, 256
// variables of 64 KiB, 4 MiB of stdin and 16 MiB of injected files.
func BenchmarkLiftRequest(b *testing.B) {
	for name, im := range map[string]*Image{"usual": fullOf(request110), "largest": largest()} {
		b.Run(name, func(b *testing.B) {
			mem := flatMemory(append(make([]byte, reqAt), im.Bytes()...))
			b.SetBytes(int64(len(im.Bytes())))
			b.ReportAllocs()
			for b.Loop() {
				l := abi.NewLifter(mem)
				if r := liftRequest(l.At(reqAt, request110)); r.Unread != nil {
					b.Fatal(r.Unread.Refusal)
				}
			}
		})
	}
}

func largest() *Image {
	im := &Image{Base: reqAt}
	at := im.Alloc(request110.Size(), 8)
	field := func(name string) uint32 { return at + offset(request110, name) }
	im.Text(field("cmd"), "git")
	im.Texts(field("args"), strings.Split(strings.Repeat(strings.Repeat("a", 256)+" ", 4095)+strings.Repeat("b", 256), " ")...)
	im.U8(field("stdin"), 1)
	im.Text(field("stdin")+4, strings.Repeat("s", 4<<20))
	env := im.Alloc(256*16, 4)
	im.U32(field("env"), env)
	im.U32(field("env")+4, 256)
	for i := range uint32(256) {
		im.Text(env+16*i, fmt.Sprintf("KEY_%d", i))
		im.Text(env+16*i+8, strings.Repeat("v", 64<<10))
	}
	files := im.Alloc(2*20, 4)
	im.U32(field("file-injections"), files)
	im.U32(field("file-injections")+4, 2)
	for i := range uint32(2) {
		im.Text(files+20*i, strings.Repeat("f", 8<<20))
		im.Text(files+20*i+12, fmt.Sprintf("FILE_%d", i))
	}
	return im
}

// BenchmarkReadSince hands chunks of a program's output to a guest.
func BenchmarkReadSince(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			w := newWorld(b, &fake{chunk: host.Chunk{Data: make([]byte, size), Next: someID}}, nil)
			args := append(w.idAt(4096), 0, 0, 0, 0, uint64(size), retAt)
			b.SetBytes(int64(size))
			for b.Loop() {
				w.calls(b, 1, "read-since", args)
			}
		})
	}
}

type flatMemory []byte

func (m flatMemory) Size() uint32 { return uint32(len(m)) }

func (m flatMemory) Read(at, n uint32) ([]byte, bool) {
	if uint64(at)+uint64(n) > uint64(len(m)) {
		return nil, false
	}
	return m[at : at+n], true
}
