package abi

import (
	"github.com/tetratelabs/wazero/api"
)

// The bounds of the canonical ABI: more flat parameters go through memory, more
// flat results through a return pointer.
const (
	maxFlatParams  = 16
	maxFlatResults = 1
)

// Func describes a function of an interface that the host serves.
type Func struct {
	// Name is as a core module imports it: "spawn",
	// "[method]process-handle.wait", "[resource-drop]process-handle".
	Name string

	params *Type // a record of the parameters
	result *Type // nil if it returns nothing
}

// NewFunc describes a function. result is nil if it returns nothing.
func NewFunc(name string, result *Type, params ...Field) *Func {
	return &Func{Name: name, params: Record("", params...), result: result}
}

// Result returns the type of the result, nil if there is none.
func (f *Func) Result() *Type { return f.result }

// Named returns the parameters by name. The caller must not change it.
func (f *Func) Named() []Field { return f.params.fields }

// spilled tells whether the parameters stand in memory, behind one pointer.
func (f *Func) spilled() bool { return len(f.params.flat) > maxFlatParams }

// returnsByPointer tells whether the result goes where a trailing parameter
// points.
func (f *Func) returnsByPointer() bool {
	return f.result != nil && len(f.result.flat) > maxFlatResults
}

// Core returns the core signature under which a guest imports the function.
func (f *Func) Core() (params, results []api.ValueType) {
	if f.spilled() {
		params = append(params, api.ValueTypeI32)
	} else {
		params = append(params, f.params.flat...)
	}
	switch {
	case f.returnsByPointer():
		params = append(params, api.ValueTypeI32)
	case f.result != nil:
		results = append(results, f.result.flat...)
	}
	return params, results
}

// Params returns a view of the parameters of a call, a record named after
// them. The stack is wazero's: its 32-bit slots may hold garbage in their upper
// half.
func (f *Func) Params(l *Lifter, stack []uint64) View {
	if f.spilled() {
		return l.At(uint32(stack[0]), f.params)
	}
	return View{l: l, t: f.params, flat: stack[:len(f.params.flat)]}
}

// Return returns where the result of a call goes, checked: aligned and inside
// the memory. It must be called before the function acts, so that a guest with
// a bad pointer traps without having done anything.
func (f *Func) Return(l *Lifter, stack []uint64) Return {
	if !f.returnsByPointer() {
		return Return{t: f.result, slot: stack}
	}
	at := uint32(stack[f.returnParam()])
	l.At(at, f.result)
	return Return{t: f.result, at: at, byPointer: true}
}

// returnParam returns the index of the return pointer among the core
// parameters.
func (f *Func) returnParam() int {
	if f.spilled() {
		return 1
	}
	return len(f.params.flat)
}

// Return is where a function's result goes.
type Return struct {
	t         *Type
	at        uint32
	byPointer bool
	slot      []uint64 // wazero's stack, for a single flat result
}
