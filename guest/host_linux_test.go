package guest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	hostipc "github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestMain(m *testing.M) { os.Exit(capsuletest.Main(m)) }

// world is the real process host with a guest of testdata.
func world(t *testing.T, name string) *capsuletest.World {
	t.Helper()
	dir := t.TempDir()
	capsuletest.Build(t, dir, "testdata/"+name)
	return capsuletest.New(t, dir, capsule.RunOptions{})
}

// TestOnTheHost runs the guest in testdata/selftest, which tries the SDK from
// the inside, on the real process host.
func TestOnTheHost(t *testing.T) {
	w := world(t, "selftest")
	for _, action := range []string{
		"system", "bus", "background", "follow", "polls", "persistent", "watch", "files", "garbage",
	} {
		t.Run(action, func(t *testing.T) { invoke(t, w, action) })
	}
	// Goroutines that are in the middle of a call of the host when another call
	// of the capsule returns.
	for range 20 {
		invoke(t, w, "chatter")
	}
}

// invoke calls an action for alice, which must not complain.
func invoke(t *testing.T, w *capsuletest.World, action string) capsule.Answer {
	t.Helper()
	a, err := w.Runner.Invoke(t.Context(), capsule.Invocation{Principal: "alice", Capsule: "selftest", Action: action, CallID: action})
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	if a.Action != guest.Continue {
		t.Errorf("%s: %s: %s", action, a.Action, a.Data)
	}
	return a
}

// TestCancelOnTheHost holds that every wait of the SDK ends with a cancel, and
// says so, and that a guest can clean up after it.
func TestCancelOnTheHost(t *testing.T) {
	w := world(t, "selftest")
	waits, err := w.Bus.Subscribe("test", "selftest.v1.waits")
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	ended := make(chan capsule.Answer, 1)
	go func() {
		defer close(ended)
		ended <- invoke(t, w, "cancelled")
	}()
	if e, err := waits.Recv(t.Context(), 30*time.Second); err != nil || len(e.Messages) != 1 {
		t.Fatalf("the guest does not wait: %+v, %v", e, err)
	}
	operator := event.Actor{Kind: event.ActorOperator}
	if _, err := w.Host.Cancel(t.Context(), operator, host.CancelRequest{Principal: "alice", CallIDs: []string{"cancelled"}}); err != nil {
		t.Fatal(err)
	}
	if a := <-ended; a.Outcome != capsule.OutcomeCancelled {
		t.Errorf("outcome %q", a.Outcome)
	}
}

// TestToolOnTheHost holds that a tool's result is on the bus, and the action's
// answer empty.
func TestToolOnTheHost(t *testing.T) {
	w := world(t, "selftest")
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

// TestServiceOnTheHost holds that packages run and lifecycle are called by the
// host: once when the capsule is installed, and then in the background until it
// fails or the host stops.
func TestServiceOnTheHost(t *testing.T) {
	w := world(t, "service")
	answers, err := w.Bus.Subscribe("test", "service.v1.answer")
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	expect := func(want string) {
		t.Helper()
		e, err := answers.Recv(t.Context(), 30*time.Second)
		if err != nil || len(e.Messages) != 1 || string(e.Messages[0].Payload) != want {
			t.Fatalf("the service has said %+v, want %s; %v", e.Messages, want, err)
		}
	}
	ask := func(what string) {
		t.Helper()
		if err := w.Bus.Publish(hostipc.Message{Topic: "service.v1.ask", Payload: []byte(what)}); err != nil {
			t.Fatal(err)
		}
	}
	w.Serve(capsule.DueInstall)
	expect(`"installed"`)
	expect(`"ready"`)
	ask(`"a"`)
	expect(`"1: \"a\""`)
	ask(`2`)
	expect(`"2: 2"`)
	ask(`"fail"`)
	expect(`"ready"`) // begun again by the host, in a new instance
	ask(`3`)
	expect(`"1: 3"`)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w.Runner.Close(ctx)
	expect(`"stopped"`)
}
