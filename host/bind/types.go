package bind

import "github.com/astrid-os/processledger/host/abi"

// The types of astrid:process/host. The order of cases is their number in
// memory; nothing here may ever change, revisions add.
var (
	processHandle = &abi.Resource{Name: "process-handle"}

	errorCode = abi.Variant("error-code",
		abi.Case{Name: "capability-denied"}, abi.Case{Name: "invalid-input"}, abi.Case{Name: "boundary-escape"},
		abi.Case{Name: "quota"}, abi.Case{Name: "too-large"}, abi.Case{Name: "closed"}, abi.Case{Name: "cancelled"},
		abi.Case{Name: "wait-timeout"}, abi.Case{Name: "no-such-process"}, abi.Case{Name: "registry-full"},
		abi.Case{Name: "persist-unsupported"}, abi.Case{Name: "unknown", Type: abi.String})

	processSignal  = abi.Enum("process-signal", "term", "hup", "usr1", "usr2", "int", "stop", "cont")
	overflowPolicy = abi.Enum("overflow-policy", "drop-oldest", "backpressure")

	envVar = abi.Record("env-var",
		abi.Field{Name: "key", Type: abi.String},
		abi.Field{Name: "value", Type: abi.String})

	resourceLimits = abi.Record("resource-limits",
		abi.Field{Name: "max-memory-bytes", Type: abi.Option(abi.U64)},
		abi.Field{Name: "max-cpu-secs", Type: abi.Option(abi.U64)},
		abi.Field{Name: "max-pids", Type: abi.Option(abi.U32)},
		abi.Field{Name: "max-open-files", Type: abi.Option(abi.U32)})

	// spawnRequest is that of 1.0.0; it has no file-injections.
	spawnRequest = abi.Record("spawn-request",
		abi.Field{Name: "cmd", Type: abi.String},
		abi.Field{Name: "args", Type: abi.List(abi.String)},
		abi.Field{Name: "stdin", Type: abi.Option(abi.List(abi.U8))},
		abi.Field{Name: "env", Type: abi.List(envVar)},
		abi.Field{Name: "cwd", Type: abi.Option(abi.String)},
		abi.Field{Name: "limits", Type: abi.Option(resourceLimits)},
		abi.Field{Name: "label", Type: abi.Option(abi.String)},
		abi.Field{Name: "keep-stdin-open", Type: abi.Option(abi.Bool)},
		abi.Field{Name: "overflow", Type: abi.Option(overflowPolicy)},
		abi.Field{Name: "log-ring-bytes", Type: abi.Option(abi.U32)},
		abi.Field{Name: "max-lifetime-ms", Type: abi.Option(abi.U64)},
		abi.Field{Name: "idle-timeout-ms", Type: abi.Option(abi.U64)},
		abi.Field{Name: "exit-retention-ms", Type: abi.Option(abi.U64)})

	exitInfo = abi.Record("exit-info",
		abi.Field{Name: "exit-code", Type: abi.Option(abi.S32)},
		abi.Field{Name: "signal", Type: abi.Option(abi.S32)})

	processResult = abi.Record("process-result",
		abi.Field{Name: "stdout", Type: abi.String},
		abi.Field{Name: "stderr", Type: abi.String},
		abi.Field{Name: "exit", Type: exitInfo})

	readLogsResult = abi.Record("read-logs-result",
		abi.Field{Name: "stdout", Type: abi.String},
		abi.Field{Name: "stderr", Type: abi.String},
		abi.Field{Name: "running", Type: abi.Bool},
		abi.Field{Name: "exit", Type: abi.Option(exitInfo)})

	killResult = abi.Record("kill-result",
		abi.Field{Name: "killed", Type: abi.Bool},
		abi.Field{Name: "exit", Type: abi.Option(exitInfo)},
		abi.Field{Name: "stdout", Type: abi.String},
		abi.Field{Name: "stderr", Type: abi.String})
)

// or returns result<ok, error-code>; ok may be nil.
func or(ok *abi.Type) *abi.Type { return abi.Result(ok, errorCode) }
