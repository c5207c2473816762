package bind

import "github.com/astrid-os/processledger/host/abi"

// revision is one version of one interface, as the modules that are built
// against it import it.
type revision struct {
	module string // the import module
	funcs  []function

	// internal is true of a revision that modules import under the name of
	// another one; [Link] finds out which they mean.
	internal bool
}

// function is one function of a revision: how it is laid out, what it does, and
// how its errors are told.
type function struct {
	*abi.Func
	do     body
	errors *errorSet // nil if it returns no result<_, error-code>
}

// body acts for one call. It returns what sets the result's ok value (or the
// whole result, where that is no result<_, error-code>), nil if there is none,
// or an error, which the guest gets as its error code.
type body func(c *call) (ok func(abi.Slot), err error)

// The import modules of the process interface. The 0.7 era's name is the
// host's own: it cannot be imported.
const (
	process07  = process100 + "+0.7"
	process100 = "astrid:process/host@1.0.0"
	process110 = "astrid:process/host@1.1.0"
)

// revisions are all that is served. The functions are the same code in every
// revision; what differs between two is in the types they are laid out by.
var revisions = []revision{
	{module: process07, funcs: process("0.7"), internal: true},
	{module: process100, funcs: process("1.0")},
	{module: process110, funcs: process("1.1")},
	{module: "astrid:io/poll@1.0.0", funcs: pollFuncs()},
	{module: "astrid:sys/host@1.0.0", funcs: sysFuncs()},
	{module: "astrid:ipc/host@1.0.0", funcs: ipcFuncs()},
}

// contract is what differs between the revisions of the process interface.
type contract struct {
	// handle is of the revision alone: a handle of one is none of another.
	handle *abi.Resource

	errors          *errorSet
	signal, request *abi.Type
}

// process returns the functions of a revision of the process interface.
func process(era string) []function {
	k := contract{handle: &abi.Resource{Name: "process-handle"}, errors: processErrors, signal: processSignal}
	switch era {
	case "0.7":
		k.errors, k.signal, k.request = processErrors07, processSignal07, request07
		return append(k.spawns(), k.methods()...)
	case "1.0":
		k.request = request100
	case "1.1":
		k.request = request110
	}
	return append(append(k.spawns(), k.methods()...), k.persistent()...)
}

// answers describes a function that returns a result<ok, error-code>.
func (k contract) answers(name string, ok *abi.Type, do body, params ...abi.Field) function {
	return function{Func: abi.NewFunc(name, abi.Result(ok, k.errors.of), params...), do: do, errors: k.errors}
}

func (k contract) method(name string, ok *abi.Type, do body, params ...abi.Field) function {
	return k.answers(methodOf(k.handle, name), ok, do, append([]abi.Field{selfOf(k.handle)}, params...)...)
}

// spawns returns the functions of the ephemeral tier.
func (k contract) spawns() []function {
	req := field("request", k.request)
	return []function{
		k.answers("spawn", processResult, spawn, req),
		k.answers("spawn-background", abi.Own(k.handle), spawnBackground, req),
	}
}

// methods returns the methods of process-handle.
func (k contract) methods() []function {
	timeout := field("timeout-ms", abi.Option(abi.U64))
	return []function{
		k.method("read-logs", readLogsResult, readLogs),
		k.method("write-stdin", abi.U32, writeStdin, field("data", abi.List(abi.U8))),
		k.method("close-stdin", nil, closeStdin),
		k.method("signal", nil, signal, field("sig", k.signal)),
		k.method("kill", killResult, kill),
		k.method("wait", exitInfo, wait, timeout),
		k.method("wait-with-output", processResult, waitWithOutput, timeout),
		k.method("os-pid", abi.U32, osPid),
		bare(methodOf(k.handle, "subscribe-exit"), abi.Own(pollable), subscribeExit, selfOf(k.handle)),
		bare(methodOf(k.handle, "subscribe-logs"), abi.Own(pollable), subscribeLogs, selfOf(k.handle)),
		dropOf(k.handle, drop),
	}
}

// persistent returns the functions of the persistent tier, which is keyed by
// process id.
func (k contract) persistent() []function {
	id, grace := field("id", processID), field("grace-ms", abi.Option(abi.U64))
	return []function{
		k.answers("spawn-persistent", processID, spawnPersistent, field("request", k.request)),
		k.answers("attach", abi.Own(k.handle), attach, id),
		k.answers("list-processes", abi.List(processInfo), listProcesses, field("label", abi.Option(abi.String))),
		k.answers("status", processInfo, status, id),
		k.answers("status-many", abi.List(processInfo), statusMany, field("ids", abi.List(processID))),
		k.answers("read-logs", readLogsResult, readProcessLogs, id),
		k.answers("read-since", logChunk, readSince, id, field("which", logStream), field("cursor", logCursor), field("max-bytes", abi.U32)),
		k.answers("write-stdin", abi.U32, writeProcessStdin, id, field("data", abi.List(abi.U8))),
		k.answers("close-stdin", nil, closeProcessStdin, id),
		k.answers("signal", nil, signalProcess, id, field("sig", k.signal)),
		k.answers("wait", exitInfo, waitProcess, id, field("timeout-ms", abi.U64)),
		k.answers("stop", exitInfo, stopProcess, id, grace),
		k.answers("release-process", nil, releaseProcess, id),
		k.answers("watch", nil, watch, id, field("suffix", abi.Option(abi.String))),
		k.answers("unwatch", nil, unwatch, id),
	}
}

// bare describes a function whose result is no result<_, error-code>.
func bare(name string, result *abi.Type, do body, params ...abi.Field) function {
	return function{Func: abi.NewFunc(name, result, params...), do: do}
}

func dropOf(r *abi.Resource, do body) function {
	return bare("[resource-drop]"+r.Name, nil, do, field("self", abi.Own(r)))
}

func methodOf(r *abi.Resource, name string) string { return "[method]" + r.Name + "." + name }

func selfOf(r *abi.Resource) abi.Field { return field("self", abi.Borrow(r)) }
