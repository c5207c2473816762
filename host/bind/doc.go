// Package bind serves the interfaces that capsules import. It knows how they
// are laid out and what each call means to the process host, and decides
// nothing itself.
//
// Where to look:
//
//   - types.go: the types of the contract, once for all revisions.
//   - revision.go: the served revisions as tables of functions.
//   - spawn.go, handle.go: the functions.
//   - instance.go: what a call needs to know of the guest that makes it.
//   - serve.go: what every call has in common: enter, lift, act, lower.
//   - check.go: which imports of a module are not served.
//   - text.go: output of programs as the contract's UTF-8.
//
// A call acts only after all of its arguments and its return pointer have been
// checked. A guest that hands in something malformed traps; a guest that asks
// for something it may not have gets an error code.
package bind
