package bind

import (
	"slices"

	"github.com/astrid-os/processledger/host/abi"
)

// The types of astrid:process/host. The order of cases is their number in
// memory; nothing here may ever change, revisions add. What all revisions have
// in common stands here once; [contract] holds what differs.
var (
	errorCode = abi.Variant("error-code",
		abi.Case{Name: "capability-denied"}, abi.Case{Name: "invalid-input"}, abi.Case{Name: "boundary-escape"},
		abi.Case{Name: "quota"}, abi.Case{Name: "too-large"}, abi.Case{Name: "closed"}, abi.Case{Name: "cancelled"},
		abi.Case{Name: "wait-timeout"}, abi.Case{Name: "no-such-process"}, abi.Case{Name: "registry-full"},
		abi.Case{Name: "persist-unsupported"}, abi.Case{Name: "unknown", Type: abi.String})

	// errorCode07 is that of the 0.7 era: what came later is unknown there.
	errorCode07 = abi.Variant("error-code", append(slices.Clone(casesOf(errorCode)[:8]), abi.Case{Name: "unknown", Type: abi.String})...)

	processSignal   = abi.Enum("process-signal", "term", "hup", "usr1", "usr2", "int", "stop", "cont")
	processSignal07 = abi.Enum("process-signal", "term", "hup", "usr1", "usr2", "int")
	overflowPolicy  = abi.Enum("overflow-policy", "drop-oldest", "backpressure")

	envVar = abi.Record("env-var", field("key", abi.String), field("value", abi.String))

	resourceLimits = abi.Record("resource-limits",
		field("max-memory-bytes", abi.Option(abi.U64)), field("max-cpu-secs", abi.Option(abi.U64)),
		field("max-pids", abi.Option(abi.U32)), field("max-open-files", abi.Option(abi.U32)))

	injectionPlacement = abi.Variant("injection-placement",
		abi.Case{Name: "env-pointer", Type: abi.String}, abi.Case{Name: "fixed-path", Type: abi.String})

	fileInjection = abi.Record("file-injection", field("content", abi.List(abi.U8)), field("placement", injectionPlacement))

	// The requests: each begins like the one before it.
	request07  = abi.Record("spawn-request", requestHead...)
	request100 = abi.Record("spawn-request", slices.Concat(requestHead, requestLimits, requestTail)...)
	request110 = abi.Record("spawn-request", slices.Concat(requestHead, requestLimits,
		[]abi.Field{field("file-injections", abi.List(fileInjection))}, requestTail)...)

	exitInfo = abi.Record("exit-info", field("exit-code", abi.Option(abi.S32)), field("signal", abi.Option(abi.S32)))

	processResult = abi.Record("process-result",
		field("stdout", abi.String), field("stderr", abi.String), field("exit", exitInfo))

	readLogsResult = abi.Record("read-logs-result", field("stdout", abi.String), field("stderr", abi.String),
		field("running", abi.Bool), field("exit", abi.Option(exitInfo)))

	killResult = abi.Record("kill-result", field("killed", abi.Bool), field("exit", abi.Option(exitInfo)),
		field("stdout", abi.String), field("stderr", abi.String))

	processID    = abi.String.Named("process-id")
	processPhase = abi.Enum("process-phase", "starting", "running", "exited")
	logCursor    = abi.Record("log-cursor", field("token", abi.Option(abi.String)))
	logStream    = abi.Enum("log-stream", "stdout", "stderr")

	logChunk = abi.Record("log-chunk", field("data", abi.List(abi.U8)), field("next", logCursor),
		field("bytes-dropped", abi.U64), field("drained-eof", abi.Bool))

	processInfo = abi.Record("process-info", field("id", processID), field("label", abi.String), field("command", abi.String),
		field("os-pid", abi.Option(abi.U32)), field("phase", processPhase), field("exit", abi.Option(exitInfo)),
		field("age-ms", abi.U64), field("idle-ms", abi.U64), field("buffered-bytes", abi.U64), field("bytes-dropped", abi.U64),
		field("stdin-open", abi.Bool), field("cpu-ms", abi.Option(abi.U64)), field("mem-bytes-peak", abi.Option(abi.U64)))
)

// The fields of a spawn-request, in their order.
var (
	requestHead = []abi.Field{
		field("cmd", abi.String), field("args", abi.List(abi.String)), field("stdin", abi.Option(abi.List(abi.U8))),
		field("env", abi.List(envVar)), field("cwd", abi.Option(abi.String)),
	}
	requestLimits = []abi.Field{field("limits", abi.Option(resourceLimits))}
	requestTail   = []abi.Field{
		field("label", abi.Option(abi.String)), field("keep-stdin-open", abi.Option(abi.Bool)),
		field("overflow", abi.Option(overflowPolicy)), field("log-ring-bytes", abi.Option(abi.U32)),
		field("max-lifetime-ms", abi.Option(abi.U64)), field("idle-timeout-ms", abi.Option(abi.U64)),
		field("exit-retention-ms", abi.Option(abi.U64)),
	}
)

// pollable is the one resource of astrid:io/poll.
var pollable = &abi.Resource{Name: "pollable"}

func field(name string, t *abi.Type) abi.Field { return abi.Field{Name: name, Type: t} }

func casesOf(t *abi.Type) []abi.Case {
	c, _ := t.Cases()
	return c
}
