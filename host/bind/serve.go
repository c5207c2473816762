package bind

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
)

// call is one call of a served function.
type call struct {
	// ctx ends when the instance is to be given up (the hard cancel, or the
	// end of the guest's call); soft ends with a cancel of the invocation, and
	// goes to all that waits.
	ctx, soft context.Context

	in   *Instance
	args abi.View
}

// caller is on whose behalf the call is made.
func (c *call) caller() host.Caller { return c.in.caller }

// arg returns a parameter.
func (c *call) arg(name string) abi.View { return c.args.Field(name) }

// self returns what the handle stands for whose method is called.
func (c *call) self() any {
	v := c.arg("self")
	return c.in.table.Borrow(v.Resource(), v.Handle())
}

// drop takes back the handle that is dropped, and returns what it stood for.
func (c *call) drop() any {
	v := c.arg("self")
	return c.in.table.Drop(v.Resource(), v.Handle())
}

// give returns what sets an own to a new handle, which stands for rep.
func (c *call) give(rep any) func(abi.Slot) {
	return func(s abi.Slot) { s.Handle(c.in.table.Add(s.Resource(), rep)) }
}

// Instantiate makes the served interfaces importable in a runtime. Guests must
// be linked with [Link], and called with a context from [Instance.With].
func Instantiate(ctx context.Context, r wazero.Runtime) error {
	for _, rev := range revisions {
		b := r.NewHostModuleBuilder(rev.module)
		for _, f := range rev.funcs {
			params, results := f.Core()
			b.NewFunctionBuilder().WithGoModuleFunction(f.serve(), params, results).Export(f.Name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("serve %s: %w", rev.module, err)
		}
	}
	return nil
}

// serve returns the function as wazero calls it.
func (f function) serve() api.GoModuleFunc {
	return func(ctx context.Context, m api.Module, stack []uint64) {
		in, _ := ctx.Value(instanceKey{}).(*Instance)
		if in == nil || in.soft == nil {
			panic(&abi.Trap{Reason: f.Name + " called outside of an invocation"})
		}
		defer in.reportPanic(f.Name)
		g, err := in.Guest(m)
		if err != nil {
			panic(&abi.Trap{Reason: f.Name + " called by a module that " + err.Error()})
		}
		g.Enter()
		lift := abi.NewLifter(g)
		c := &call{ctx: ctx, soft: in.soft, in: in, args: f.Params(&lift, stack)}
		ret := f.Return(&lift, stack)
		ok, err := f.do(c)
		if f.Result() != nil {
			lower := abi.NewLowerer(ctx, g)
			ret.Store(&lower, func(s abi.Slot) { in.answer(s, f, ok, err) })
		}
	}
}

// reportPanic, deferred, says which function a guest has misused, and tells the
// operator of a panic that is not the guest's fault. wazero turns both into the
// trap of the guest.
func (in *Instance) reportPanic(name string) {
	switch r := recover().(type) {
	case nil:
	case *abi.Trap:
		panic(&abi.Trap{Reason: name + ": " + r.Reason, Err: r.Err})
	default:
		in.log.Error("a served function panicked; the guest that called it is given up",
			"function", name, "capsule", in.caller.Capsule, "principal", in.caller.Principal,
			"panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		panic(r)
	}
}
