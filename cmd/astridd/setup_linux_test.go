package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// withSetup installs a capsule that has every form; version makes the module
// another one, and what is in code runs in its install and in its run.
func (s *site) withSetup(t *testing.T, version string, install, run []byte) {
	t.Helper()
	m := abitest.New()
	m.Data(16, []byte(version))
	m.Func("cabi_realloc", "iiii", "i", 0, abitest.Const(4096))
	m.Func("astrid-install", "", "", 0, install)
	m.Func("astrid-upgrade", "", "", 0)
	m.Func("run", "", "", 0, run)
	dir := filepath.Join(s.Data, "capsules", "setup")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "Capsule.toml"), "[package]\nname = \"setup\"\nversion = \"1\"\n[[component]]\nfile = \"m.wasm\"\n")
	write(t, filepath.Join(dir, "m.wasm"), string(m.Bytes()))
}

// TestSetupAndRun: a capsule is installed once and upgraded once for each new
// module, over restarts and also when the daemon dies in the middle; its run is
// begun at each start, and the stop of the daemon ends one that spins.
func TestSetupAndRun(t *testing.T) {
	s := newSite(t, `system_principal = "robot"`)
	began := func(d *daemontest.Daemon, want ...string) {
		t.Helper()
		ready := d.Ready(t)
		if len(ready.Problems) > 0 {
			t.Fatalf("status: %+v", ready)
		}
		var got []string
		for end := time.Now().Add(patience); !slices.Equal(got, want) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			got = nil
			for _, b := range events[*event.InvocationStarted](t, s, event.KindInvocationStarted) {
				got = append(got, b.Action)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("called %q, want %q", got, want)
		}
	}
	s.withSetup(t, "one", abitest.Forever(), nil)
	d := s.Start(t)
	began(d, "astrid-install")
	d.Kill(t)

	s.withSetup(t, "two", nil, abitest.Forever())
	d = s.Start(t)
	began(d, "astrid-install", "astrid-install", "run")
	d.Stop(t)

	d = s.Start(t)
	began(d, "astrid-install", "astrid-install", "run", "run")
	d.Stop(t)

	s.withSetup(t, "three", nil, nil)
	d = s.Start(t)
	began(d, "astrid-install", "astrid-install", "run", "run", "astrid-upgrade", "run")
	want := []string{"daemon-restart", "ok", "cancelled", "cancelled", "ok", "ok"}
	daemontest.Eventually(t, "the last run has finished", func() bool {
		var ends []string
		for _, b := range events[*event.InvocationFinished](t, s, event.KindInvocationFinished) {
			ends = append(ends, b.Outcome)
		}
		return slices.Equal(ends, want)
	})
	d.Stop(t)
}

// TestToolResultIsAnswered: what a tool publishes as its result is in the answer
// to whoever invoked it, and on the bus.
func TestToolResultIsAnswered(t *testing.T) {
	const topic, result = "tool.v1.execute.say.result", `{"type":"tool_execute_result","call_id":"c","result":{"call_id":"c","content":"said","is_error":false}}`
	m := abitest.New()
	publish := m.Import("astrid:ipc/host@1.0.0", "publish", "iiiii", "")
	m.Data(2048, []byte(topic+result))
	im := &abitest.Image{Base: 1024}
	im.Alloc(20, 4)
	im.Text(1024, "continue")
	m.Data(1024, im.Bytes())
	m.Func("cabi_realloc", "iiii", "i", 0, abitest.Const(4096))
	m.Func("astrid-hook-trigger", "iiii", "i", 0,
		abitest.Const(2048), abitest.Const(uint32(len(topic))), abitest.Const(2048+uint32(len(topic))), abitest.Const(uint32(len(result))),
		abitest.Const(3072), abitest.Call(publish), abitest.Const(1024))
	s := newSite(t)
	dir := filepath.Join(s.Data, "capsules", "say")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "Capsule.toml"), "[package]\nname = \"say\"\nversion = \"1\"\n[[component]]\nfile = \"m.wasm\"\n"+
		"[subscribe]\n\"tool.v1.execute.say\" = { wit = \"opaque\", handler = \"tool_execute_say\" }\n")
	write(t, filepath.Join(dir, "m.wasm"), string(m.Bytes()))
	s.Start(t).Ready(t)
	a, err := s.Client.Invoke(t.Context(), &control.Invocation{Principal: "alice", Capsule: "say", Action: "tool_execute_say", Payload: []byte(`{}`)})
	if err != nil || a.Action != "continue" || a.Data != nil || len(a.Results) != 1 || string(a.Results[0]) != result {
		t.Errorf("answered %+v, %v", a, err)
	}
}
