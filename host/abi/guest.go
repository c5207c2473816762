package abi

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero/api"
)

// ReallocExport is the function by which a guest hands out its memory:
// (old, old-size, align, new-size) -> pointer.
const ReallocExport = "cabi_realloc"

// ErrNoMemory means that a module does not export its memory.
var ErrNoMemory = errors.New(`exports no memory named "memory"`)

// ErrNoRealloc means that a module does not export cabi_realloc.
var ErrNoRealloc = errors.New(`exports no function "` + ReallocExport + `"`)

// Guest is one instance of a core module, as lifting and lowering see it. It
// belongs to the goroutine that runs the guest: guests have one stack.
type Guest struct {
	api.Memory
	realloc api.Function
	stack   [4]uint64
	alone   bool // see Alone
}

// NewGuest looks up, once for the instance, what lifting and lowering need:
// looking cabi_realloc up for each call costs more than a hundred times the
// call.
func NewGuest(m api.Module) (*Guest, error) {
	g := &Guest{Memory: m.Memory(), realloc: m.ExportedFunction(ReallocExport)}
	if g.Memory == nil {
		return nil, ErrNoMemory
	}
	if g.realloc == nil {
		return nil, ErrNoRealloc
	}
	return g, nil
}

// Realloc calls the guest's cabi_realloc; the end of ctx interrupts it and
// closes the instance.
func (g *Guest) Realloc(ctx context.Context, align, size uint32) (uint32, error) {
	g.stack = [4]uint64{0, 0, uint64(align), uint64(size)}
	if err := g.Alone(func() error { return g.realloc.CallWithStack(ctx, g.stack[:]) }); err != nil {
		return 0, err
	}
	return uint32(g.stack[0]), nil
}

// Alone runs guest code that must not call imports: cabi_realloc and the
// cabi_post functions. The canonical ABI forbids it, and the host may be in the
// middle of another call.
func (g *Guest) Alone(run func() error) error {
	g.alone = true
	defer func() { g.alone = false }()
	return run()
}

// Enter traps a guest that calls an import where it must not.
func (g *Guest) Enter() {
	if g.alone {
		trap("an import was called from %s or a cabi_post function", ReallocExport)
	}
}
