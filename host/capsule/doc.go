// Package capsule loads capsules and calls them.
//
// A capsule is a directory with a Capsule.toml and a WebAssembly module, or a
// component that holds one. [Load] reads all of them, compiles the modules and
// checks their imports; a [Runner] then calls them: each (capsule, principal)
// pair has an instance of its own, made on its first call, in which calls run
// one after another. An instance that trapped, or that did not return after a
// cancel, is discarded with all of its processes, and the next call gets a new
// one; so is an idle one without processes, where memory is short.
//
// A capsule is called by its hook, for what an operator invokes and for messages
// on the topics of its handlers; by its run, which goes on in the background;
// and by its install and upgrade. A WASI program is a capsule that is called
// once.
//
// Where to look:
//
//   - manifest.go: Capsule.toml.
//   - module.go, component.go: what kind of file a module is, and the one change
//     that is made to it before it is compiled; counts.go bounds what it declares.
//   - load.go, exports.go: from the directory to compiled modules.
//   - instance.go: one guest, and one call of it; host.go: what it is served by.
//   - queue.go: which invocations are taken, and whose turn it is.
//   - runner.go: what is recorded around a call, and what becomes of the instance.
//   - background.go: run, install and upgrade.
//   - route.go, result.go: messages that lead to calls, and those that come of them.
//   - command.go: WASI programs.
//   - evict.go: which instances end to make room.
//   - drain.go: letting calls end before the daemon does.
//   - cancel.go: the two ways of ending a call.
//   - system.go: what guests may know of the system.
//   - output.go: what guests print.
package capsule
