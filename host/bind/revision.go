package bind

import "github.com/astrid-os/processledger/host/abi"

// revision is one version of one interface, as the modules that are built
// against it import it.
type revision struct {
	module string // the import module
	funcs  []function
}

// function is one function of a revision: how it is laid out, and what it does.
type function struct {
	*abi.Func
	do body
}

// body acts for one call. It returns what sets the result's ok value, nil if
// that has none, or an error, which the guest gets as its error code.
type body func(c *call) (ok func(abi.Slot), err error)

// revisions are all that is served. The functions are the same code in every
// revision; what differs between two is in the types they are laid out by.
var revisions = []revision{
	{
		module: "astrid:process/host@1.0.0",
		funcs:  slicesOf(spawns(spawnRequest), handleMethods()),
	},
}

// spawns returns the functions that take a spawn-request.
func spawns(request *abi.Type) []function {
	req := abi.Field{Name: "request", Type: request}
	return []function{
		{abi.NewFunc("spawn", or(processResult), req), spawn},
		{abi.NewFunc("spawn-background", or(abi.Own(processHandle)), req), spawnBackground},
	}
}

// handleMethods returns the methods of process-handle that 1.0.0 guests may
// import.
func handleMethods() []function {
	method := func(name string, result *abi.Type, do body, params ...abi.Field) function {
		self := abi.Field{Name: "self", Type: abi.Borrow(processHandle)}
		return function{abi.NewFunc("[method]process-handle."+name, result, append([]abi.Field{self}, params...)...), do}
	}
	return []function{
		method("read-logs", or(readLogsResult), readLogs),
		method("signal", or(nil), signal, abi.Field{Name: "sig", Type: processSignal}),
		method("kill", or(killResult), kill),
		method("wait", or(exitInfo), wait, abi.Field{Name: "timeout-ms", Type: abi.Option(abi.U64)}),
		method("os-pid", or(abi.U32), osPid),
		{abi.NewFunc("[resource-drop]process-handle", nil, abi.Field{Name: "self", Type: abi.Own(processHandle)}), drop},
	}
}

func slicesOf(parts ...[]function) (all []function) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
