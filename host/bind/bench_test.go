package bind

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// benchCall calls an export that does nothing but call one import.
func benchCall(b *testing.B, w *world, name string, args ...uint64) {
	b.Helper()
	f := w.mod.ExportedFunction(name)
	ctx := w.in.With(b.Context())
	stack := make([]uint64, 4)
	for b.Loop() {
		copy(stack, args)
		if err := f.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHostCall compares the served functions with an empty host function;
// each number includes the call of the guest.
func BenchmarkHostCall(b *testing.B) {
	b.Run("empty", func(b *testing.B) {
		ctx := b.Context()
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
		defer r.Close(ctx)
		builder := r.NewHostModuleBuilder(module)
		for _, f := range revisions[0].funcs {
			params, results := f.Core()
			builder.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {}), params, results).Export(f.Name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			b.Fatal(err)
		}
		w := newWorldOn(b, &fake{}, full(), r)
		benchCall(b, w, "spawn", reqAt, retAt)
	})
	b.Run("os-pid", func(b *testing.B) {
		w := newWorld(b, &fake{}, full())
		w.call("spawn-background", reqAt, retAt)
		benchCall(b, w, "os-pid", 1, retAt)
	})
	b.Run("spawn", func(b *testing.B) {
		w := newWorld(b, &fake{result: &host.Result{Stdout: []byte("out"), Stderr: []byte("err"), Exit: event.Exit{Code: ptr[int32](0)}}}, full())
		benchCall(b, w, "spawn", reqAt, retAt)
	})
}

// BenchmarkLiftRequest lifts a spawn-request with everything in it.
func BenchmarkLiftRequest(b *testing.B) {
	mem := flatMemory(append(make([]byte, reqAt), full().Bytes()...))
	b.ReportAllocs()
	for b.Loop() {
		l := abi.NewLifter(mem)
		liftRequest(l.At(reqAt, spawnRequest))
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
