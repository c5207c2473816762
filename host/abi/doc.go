// Package abi implements the canonical ABI of the WebAssembly Component Model
// for guests that run as core modules on wazero: how values of the interface
// types stand in a guest's memory and in its flat parameters, how the host
// reads (lifts) and writes (lowers) them, and how handles to the host's
// resources are numbered. It knows the rules and no interface; the interfaces
// are descriptors built elsewhere.
//
// Where to look:
//
//   - type.go: descriptors, with their size, alignment and offsets.
//   - func.go: functions, and the core signature each of them has.
//   - view.go: lifting. Nothing that a guest hands in is believed: ranges,
//     alignment, discriminants and UTF-8 are checked before use, and the bytes
//     that one call may make the host copy are bounded.
//   - slot.go: lowering, through the guest's own cabi_realloc.
//   - trap.go: how a malformed value ends a call.
//   - table.go: handles.
//   - guest.go: a wazero instance as lifting and lowering see it.
//
// A malformed value ends in a panic with a [*Trap]. In a host function wazero
// turns it into the error of the guest's call, so it is the guest that traps
// and never the host; elsewhere [Catch] does.
//
// Only the types that the served interfaces need exist: there are no floats,
// chars, flags or tuples.
package abi
