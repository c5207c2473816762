// Package capsule loads capsules and calls them.
//
// A capsule is a directory with a Capsule.toml and a WebAssembly core module.
// [Load] reads all of them, compiles the modules and checks their imports; a
// [Runner] then calls them: each (capsule, principal) pair has an instance of
// its own, made on its first call, in which calls run one after another. An
// instance that trapped, or that did not return after a cancel, is discarded
// with all of its processes, and the next call gets a new one.
//
// Where to look:
//
//   - manifest.go: Capsule.toml.
//   - module.go: what kind of file a module is, and the one change that is made
//     to it before it is compiled.
//   - load.go, exports.go: from the directory to compiled modules.
//   - instance.go: one guest, and one call of it.
//   - queue.go: which invocations are taken, and whose turn it is.
//   - runner.go: what is recorded around a call, and what becomes of the instance.
//   - cancel.go: the two ways of ending a call.
//   - output.go: what guests print.
package capsule
