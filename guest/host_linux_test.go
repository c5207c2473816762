package guest_test

import (
	"os"
	"testing"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
)

func TestMain(m *testing.M) { os.Exit(capsuletest.Main(m)) }

// world is the real process host with the guest in testdata/selftest.
func world(t *testing.T) *capsuletest.World {
	t.Helper()
	dir := t.TempDir()
	capsuletest.Build(t, dir, "testdata/selftest")
	return capsuletest.New(t, dir, capsule.RunOptions{})
}

// TestOnTheHost runs the guest in testdata/selftest, which tries the SDK from
// the inside, on the real process host.
func TestOnTheHost(t *testing.T) {
	w := world(t)
	for _, action := range []string{
		"system", "bus", "background", "follow", "polls", "persistent", "watch", "files", "garbage",
	} {
		t.Run(action, func(t *testing.T) {
			a, err := w.Runner.Invoke(t.Context(), capsule.Invocation{Principal: "alice", Capsule: "selftest", Action: action, CallID: action})
			if err != nil {
				t.Fatal(err)
			}
			if a.Action != guest.Continue {
				t.Errorf("%s: %s", a.Action, a.Data)
			}
		})
	}
}

// TestToolOnTheHost holds that a tool's result is on the bus, and the action's
// answer empty.
func TestToolOnTheHost(t *testing.T) {
	w := world(t)
	for arguments, want := range map[string]ipc.ToolResult{
		`{"a": 1}`: {CallID: "c1", Content: `{"a":1}`},
		`null`:     {CallID: "c1", Content: "nothing to return", IsError: true},
	} {
		a, err := w.Runner.Invoke(t.Context(), capsule.Invocation{
			Principal: "alice", Capsule: "selftest", Action: "tool_execute_echo", CallID: "c1",
			Payload: []byte(`{"call_id":"c1","tool_name":"echo","arguments":` + arguments + `}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Action != guest.Continue || a.HasData || len(a.Published) != 1 {
			t.Fatalf("%s with data %q and %d messages", a.Action, a.Data, len(a.Published))
		}
		m := a.Published[0]
		if r, err := ipc.DecodeToolResult(m.Payload); err != nil || r != want || m.Topic != ipc.ToolResultTopic("echo") {
			t.Errorf("%s on %s: %+v, want %+v, %v", arguments, m.Topic, r, want, err)
		}
	}
}
