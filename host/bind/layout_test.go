package bind

import (
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/abi/abitest"
)

func field(name string, t *abi.Type) abi.Field { return abi.Field{Name: name, Type: t} }

// The rest of the contract: what later revisions and the persistent tier add to
// the served types. It is here so that the rules are held against all of it.
var (
	placement     = abi.Variant("injection-placement", abi.Case{Name: "env-pointer", Type: abi.String}, abi.Case{Name: "fixed-path", Type: abi.String})
	fileInjection = abi.Record("file-injection", field("content", abi.List(abi.U8)), field("placement", placement))
	request110    = abi.Record("spawn-request", insert(spawnRequest.Fields(), 6, field("file-injections", abi.List(fileInjection)))...)
	request07     = abi.Record("spawn-request", spawnRequest.Fields()[:5]...)
	errorCode07   = abi.Variant("error-code", append(append([]abi.Case{}, cases(errorCode)[:8]...), abi.Case{Name: "unknown", Type: abi.String})...)

	processPhase = abi.Enum("process-phase", "starting", "running", "exited")
	logStream    = abi.Enum("log-stream", "stdout", "stderr")
	logCursor    = abi.Record("log-cursor", field("token", abi.Option(abi.String)))
	logChunk     = abi.Record("log-chunk", field("data", abi.List(abi.U8)), field("next", logCursor),
		field("bytes-dropped", abi.U64), field("drained-eof", abi.Bool))
	processInfo = abi.Record("process-info", field("id", abi.String), field("label", abi.String), field("command", abi.String),
		field("os-pid", abi.Option(abi.U32)), field("phase", processPhase), field("exit", abi.Option(exitInfo)),
		field("age-ms", abi.U64), field("idle-ms", abi.U64), field("buffered-bytes", abi.U64), field("bytes-dropped", abi.U64),
		field("stdin-open", abi.Bool), field("cpu-ms", abi.Option(abi.U64)), field("mem-bytes-peak", abi.Option(abi.U64)))
)

func cases(t *abi.Type) []abi.Case {
	c, _ := t.Cases()
	return c
}

func insert(all []abi.Field, at int, f abi.Field) []abi.Field {
	return append(append(append([]abi.Field{}, all[:at]...), f), all[at:]...)
}

// unserved are the functions of the contract that no revision serves yet.
func unservedFuncs() []*abi.Func {
	self, id, bytes := field("self", abi.Borrow(processHandle)), field("id", abi.String), field("bytes", abi.List(abi.U8))
	pollable := abi.Own(&abi.Resource{Name: "pollable"})
	flat := func(t *abi.Type) []abi.Field { return append([]abi.Field{}, t.Fields()...) }
	return []*abi.Func{
		abi.NewFunc("spawn of the 0.7 era", abi.Result(processResult, errorCode07), flat(request07)...),
		abi.NewFunc("[method]process-handle.write-stdin", or(abi.U32), self, bytes),
		abi.NewFunc("[method]process-handle.close-stdin", or(nil), self),
		abi.NewFunc("[method]process-handle.wait-with-output", or(processResult), self, field("timeout-ms", abi.Option(abi.U64))),
		abi.NewFunc("[method]process-handle.subscribe-exit", pollable, self),
		abi.NewFunc("spawn-persistent", or(abi.String), field("request", spawnRequest)),
		abi.NewFunc("attach", or(abi.Own(processHandle)), id),
		abi.NewFunc("list-processes", or(abi.List(processInfo)), field("label", abi.Option(abi.String))),
		abi.NewFunc("status", or(processInfo), id),
		abi.NewFunc("status-many", or(abi.List(processInfo)), field("ids", abi.List(abi.String))),
		abi.NewFunc("read-logs", or(readLogsResult), id),
		abi.NewFunc("read-since", or(logChunk), id, field("stream", logStream), field("cursor", logCursor), field("max-bytes", abi.U32)),
		abi.NewFunc("write-stdin", or(abi.U32), id, bytes),
		abi.NewFunc("signal", or(nil), id, field("sig", processSignal)),
		abi.NewFunc("wait", or(exitInfo), id, field("timeout-ms", abi.U64)),
		abi.NewFunc("stop", or(exitInfo), id, field("grace-ms", abi.Option(abi.U64))),
		abi.NewFunc("release-process", or(nil), id),
		abi.NewFunc("watch", or(nil), id, field("suffix", abi.Option(abi.String))),
	}
}

// TestLayoutsGolden holds every layout and core signature of the contract. The
// numbers agree with those that wasm-tools computes.
func TestLayoutsGolden(t *testing.T) {
	var b strings.Builder
	for _, ty := range []*abi.Type{errorCode, processSignal, overflowPolicy, envVar, resourceLimits, spawnRequest, exitInfo, processResult, readLogsResult, killResult} {
		b.WriteString(abitest.Layout(ty) + "\n")
	}
	for _, rev := range revisions {
		b.WriteString(rev.module + "\n")
		for _, f := range rev.funcs {
			b.WriteString("  " + abitest.Signature(f.Func) + "\n")
		}
	}
	b.WriteString("\nnot served yet\n\n")
	for _, ty := range []*abi.Type{request110, request07, placement, fileInjection, errorCode07, logCursor, logChunk, processInfo} {
		b.WriteString(abitest.Layout(ty) + "\n")
	}
	for _, f := range unservedFuncs() {
		b.WriteString("  " + abitest.Signature(f) + "\n")
	}
	abitest.Golden(t, "layouts.txt", b.String())
}

// TestLayoutsOfTheContract holds the numbers that are written down in the
// contract, in case somebody rewrites the golden file without a look.
func TestLayoutsOfTheContract(t *testing.T) {
	for _, c := range []struct {
		t       *abi.Type
		size    uint32
		align   uint32
		offsets map[string]uint32
	}{
		{envVar, 16, 4, map[string]uint32{"key": 0, "value": 8}},
		{resourceLimits, 48, 8, map[string]uint32{"max-memory-bytes": 0, "max-cpu-secs": 16, "max-pids": 32, "max-open-files": 40}},
		{spawnRequest, 176, 8, map[string]uint32{"cmd": 0, "args": 8, "stdin": 16, "env": 28, "cwd": 36, "limits": 48, "label": 104,
			"keep-stdin-open": 116, "overflow": 118, "log-ring-bytes": 120, "max-lifetime-ms": 128, "idle-timeout-ms": 144, "exit-retention-ms": 160}},
		{request110, 184, 8, map[string]uint32{"limits": 48, "file-injections": 104, "label": 112, "keep-stdin-open": 124, "overflow": 126,
			"log-ring-bytes": 128, "max-lifetime-ms": 136, "idle-timeout-ms": 152, "exit-retention-ms": 168}},
		{request07, 48, 4, map[string]uint32{"cmd": 0, "args": 8, "stdin": 16, "env": 28, "cwd": 36}},
		{fileInjection, 20, 4, map[string]uint32{"content": 0, "placement": 8}},
		{exitInfo, 16, 4, map[string]uint32{"exit-code": 0, "signal": 8}},
		{processResult, 32, 4, map[string]uint32{"stdout": 0, "stderr": 8, "exit": 16}},
		{readLogsResult, 40, 4, map[string]uint32{"stdout": 0, "stderr": 8, "running": 16, "exit": 20}},
		{killResult, 40, 4, map[string]uint32{"killed": 0, "exit": 4, "stdout": 24, "stderr": 32}},
		{processInfo, 128, 8, map[string]uint32{"id": 0, "label": 8, "command": 16, "os-pid": 24, "phase": 32, "exit": 36, "age-ms": 56,
			"idle-ms": 64, "buffered-bytes": 72, "bytes-dropped": 80, "stdin-open": 88, "cpu-ms": 96, "mem-bytes-peak": 112}},
		{logCursor, 12, 4, nil}, {logChunk, 40, 8, map[string]uint32{"data": 0, "next": 8, "bytes-dropped": 24, "drained-eof": 32}},
		{errorCode, 12, 4, nil}, {errorCode07, 12, 4, nil},
		{or(nil), 16, 4, nil}, {or(abi.U32), 16, 4, nil}, {or(exitInfo), 20, 4, nil}, {or(processResult), 36, 4, nil},
		{or(readLogsResult), 44, 4, nil}, {or(killResult), 44, 4, nil}, {or(processInfo), 136, 8, nil}, {or(logChunk), 48, 8, nil},
	} {
		if c.t.Size() != c.size || c.t.Align() != c.align {
			t.Errorf("%s: %d/%d, want %d/%d", c.t, c.t.Size(), c.t.Align(), c.size, c.align)
		}
		for _, f := range c.t.Fields() {
			if want, ok := c.offsets[f.Name]; ok && f.Offset != want {
				t.Errorf("%s.%s at %d, want %d", c.t, f.Name, f.Offset, want)
			}
		}
	}
	if n := len(spawnRequest.Flat()); n != 36 {
		t.Errorf("spawn-request flattens to %d values, want 36", n)
	}
	if n := len(request110.Flat()); n != 38 {
		t.Errorf("spawn-request of 1.1.0 flattens to %d values, want 38", n)
	}
	if n := len(request07.Flat()); n != 12 {
		t.Errorf("spawn-request of the 0.7 era flattens to %d values, want 12", n)
	}
}

// TestCoreSignatures holds the signatures by which guests import the functions.
func TestCoreSignatures(t *testing.T) {
	want := map[string]string{
		"spawn": "i32 i32", "spawn-background": "i32 i32", "[method]process-handle.read-logs": "i32 i32",
		"[method]process-handle.signal": "i32 i32 i32", "[method]process-handle.kill": "i32 i32",
		"[method]process-handle.wait": "i32 i32 i64 i32", "[method]process-handle.os-pid": "i32 i32",
		"[resource-drop]process-handle": "i32",
		"spawn of the 0.7 era":          strings.TrimSuffix(strings.Repeat("i32 ", 13), " "),
		"read-since":                    "i32 i32 i32 i32 i32 i32 i32 i32", "stop": "i32 i32 i32 i64 i32", "watch": "i32 i32 i32 i32 i32 i32",
	}
	all := unservedFuncs()
	for _, f := range revisions[0].funcs {
		all = append(all, f.Func)
	}
	for _, f := range all {
		params, _ := f.Core()
		names := make([]string, len(params))
		for i, p := range params {
			names[i] = api.ValueTypeName(p)
		}
		if got := strings.Join(names, " "); want[f.Name] != "" && got != want[f.Name] {
			t.Errorf("%s (%s), want (%s)", f.Name, got, want[f.Name])
		}
	}
}
