package abi_test

import (
	"strings"
	"testing"

	. "github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/abi/abitest"
)

// Interfaces beside astrid:process, which have shapes that it lacks: a bare
// list and a bare handle as results, eight-byte alignment behind a result's
// tag, variants in records. (astrid:process itself: host/bind.)
var (
	subscription = &Resource{Name: "subscription"}
	pollable     = &Resource{Name: "pollable"}

	pollError = Variant("error-code", Case{Name: "invalid-input"}, Case{Name: "closed"}, Case{Name: "too-large"},
		Case{Name: "cancelled"}, Case{Name: "unknown", Type: String})
	sysError = Variant("error-code", Case{Name: "capability-denied"}, Case{Name: "config-key-reserved"}, Case{Name: "too-large"},
		Case{Name: "registry-unavailable"}, Case{Name: "cancelled"}, Case{Name: "unknown", Type: String})
	ipcError = Variant("error-code", Case{Name: "capability-denied"}, Case{Name: "invalid-input"}, Case{Name: "closed"},
		Case{Name: "rate-limited"}, Case{Name: "backpressure"}, Case{Name: "quota"}, Case{Name: "timeout"}, Case{Name: "unknown", Type: String})

	logLevel   = Enum("log-level", "trace", "debug", "info", "warn", "error")
	callerInfo = Record("caller", Field{Name: "principal", Type: Option(String)}, Field{Name: "source-id", Type: String}, Field{Name: "timestamp", Type: String})
	allowed    = Record("allowed", Field{Name: "allowed", Type: Bool})
	ask        = Record("ask", Field{Name: "source-uuid", Type: String}, Field{Name: "capability", Type: String})

	principal = Variant("principal", Case{Name: "verified", Type: String}, Case{Name: "claimed", Type: String}, Case{Name: "system"})
	message   = Record("ipc-message", Field{Name: "topic", Type: String}, Field{Name: "payload", Type: String},
		Field{Name: "source-id", Type: String}, Field{Name: "principal", Type: principal})
	envelope = Record("envelope", Field{Name: "messages", Type: List(message)}, Field{Name: "dropped", Type: U64}, Field{Name: "lagged", Type: U64})
	binding  = Record("interceptor-binding", Field{Name: "handle-id", Type: U64}, Field{Name: "action", Type: String}, Field{Name: "topic", Type: String})
	mixed    = Variant("mixed", Case{Name: "small", Type: Record("small", Field{Name: "a", Type: U8}, Field{Name: "b", Type: U32})}, Case{Name: "big", Type: U64})
)

func p(name string, t *Type) Field { return Field{Name: name, Type: t} }

func funcs() []*Func {
	self, sub := p("self", Borrow(pollable)), p("self", Borrow(subscription))
	return []*Func{
		NewFunc("[method]pollable.ready", Bool, self),
		NewFunc("[method]pollable.block", Result(nil, pollError), self),
		NewFunc("poll", Result(List(U32), pollError), p("in", List(Borrow(pollable)))),
		NewFunc("[resource-drop]pollable", nil, p("self", Own(pollable))),
		NewFunc("get-config", Result(Option(String), sysError), p("key", String)),
		NewFunc("get-caller", Result(callerInfo, sysError)),
		NewFunc("log", nil, p("level", logLevel), p("message", String)),
		NewFunc("signal-ready", nil),
		NewFunc("clock-ms", U64),
		NewFunc("sleep-ns", Result(nil, sysError), p("ns", U64)),
		NewFunc("random-bytes", Result(List(U8), sysError), p("n", U64)),
		NewFunc("check-capsule-capability", Result(allowed, sysError), p("ask", ask)),
		NewFunc("enumerate-capabilities", List(String)),
		NewFunc("[method]subscription.poll", Result(envelope, ipcError), sub),
		NewFunc("[method]subscription.recv", Result(envelope, ipcError), sub, p("timeout-ms", U64)),
		NewFunc("[method]subscription.subscribe-readiness", Own(pollable), sub),
		NewFunc("publish", Result(nil, ipcError), p("topic", String), p("payload", String)),
		NewFunc("publish-as", Result(nil, ipcError), p("topic", String), p("payload", String), p("principal", String)),
		NewFunc("subscribe", Result(Own(subscription), ipcError), p("pattern", String)),
		NewFunc("get-interceptor-bindings", Result(List(binding), ipcError)),
	}
}

func TestLayoutsGolden(t *testing.T) {
	var b strings.Builder
	for _, ty := range []*Type{pollError, callerInfo, principal, message, envelope, binding, mixed, logLevel} {
		b.WriteString(abitest.Layout(ty) + "\n")
	}
	for _, f := range funcs() {
		b.WriteString(abitest.Signature(f) + "\n")
	}
	abitest.Golden(t, "layouts.txt", b.String())
}

// TestSizes holds numbers that other implementations of the ABI computed.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		t           *Type
		size, align uint32
	}{
		{Option(U8), 2, 1}, {Option(Bool), 2, 1}, {Option(U32), 8, 4}, {Option(U64), 16, 8}, {Option(String), 12, 4},
		{Result(nil, pollError), 16, 4}, {Result(Option(String), sysError), 16, 4}, {Result(callerInfo, sysError), 32, 4},
		{message, 36, 4}, {envelope, 24, 8}, {Result(envelope, ipcError), 32, 8}, {binding, 24, 8}, {principal, 12, 4},
		{Result(nil, nil), 1, 1}, {Record("empty"), 0, 1}, {mixed, 16, 8},
	} {
		if c.t.Size() != c.size || c.t.Align() != c.align {
			t.Errorf("%s: %d/%d, want %d/%d", c.t, c.t.Size(), c.t.Align(), c.size, c.align)
		}
	}
}

func TestManyParametersGoByPointer(t *testing.T) {
	seventeen := make([]Field, 17)
	for i := range seventeen {
		seventeen[i] = p(string(rune('a'+i)), U32)
	}
	for n, want := range map[int]int{16: 16, 17: 1} {
		params, _ := NewFunc("f", nil, seventeen[:n]...).Core()
		if len(params) != want {
			t.Errorf("%d flat parameters: %d core parameters, want %d", n, len(params), want)
		}
	}
}
