// Package bind serves the interfaces that capsules import. It knows how they
// are laid out and what each call means to the process host, the bus and the
// system, and decides nothing itself.
//
// Where to look:
//
//   - revision.go: the served revisions as tables of functions.
//   - types.go: the types of the process interface, for all revisions.
//   - link.go, wasm.go: which revision a module was built against, and which of
//     its imports are not served.
//   - spawn.go, request.go: starting programs; the request and its bounds.
//   - handle.go, persistent.go: the two tiers.
//   - poll.go, sys.go, ipc.go: the other interfaces, each with its types.
//   - processes.go: what the process host has to be able to do.
//   - instance.go: what a call needs to know of the guest that makes it.
//   - serve.go, answer.go: what every call has in common: enter, lift, act,
//     lower; how errors become error codes.
//   - text.go: output of programs as the contract's UTF-8.
//
// A call acts only after all of its arguments and its return pointer have been
// checked. A guest that hands in something malformed traps; a guest that asks
// for something it may not have gets an error code. What is beyond a bound is
// not copied; of a spawn the process host is told all the same, since every
// refusal of one is recorded.
package bind
