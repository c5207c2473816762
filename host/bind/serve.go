package bind

import (
	"context"
	"errors"
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
	// end of the guest's call); soft ends with a cancel of the invocation.
	ctx, soft context.Context

	in   *Instance
	args abi.View
}

// caller is on whose behalf the call is made.
func (c *call) caller() host.Caller { return c.in.caller }

// Instantiate makes the served interfaces importable in a runtime. Guests must
// be called with a context from [Instance.With].
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
			ret.Store(&lower, func(s abi.Slot) { in.answer(s, f.Name, ok, err) })
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

// answer sets a result<_, error-code>.
func (in *Instance) answer(s abi.Slot, name string, ok func(abi.Slot), err error) {
	if err != nil {
		in.fail(s.Case(1), name, err)
		return
	}
	if v := s.Case(0); ok != nil {
		ok(v)
	}
}

// fail sets an error-code. An error that the process host did not put into the
// contract's words is told to the operator and not to the guest.
func (in *Instance) fail(s abi.Slot, name string, err error) {
	var e *host.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = &host.Error{Code: host.Cancelled}
	default:
		in.log.Error("a served function failed", "function", name,
			"capsule", in.caller.Capsule, "principal", in.caller.Principal, "error", err)
		e = &host.Error{Code: host.Unknown, Detail: "the host failed; its log says why"}
	}
	if e.Code < host.Unknown {
		s.Case(int(e.Code))
		return
	}
	s.Case(int(host.Unknown)).Text(lossyString(e.Detail))
}
