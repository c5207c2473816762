package capsule_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/ledger/event"
)

// twice installs the guest in testdata/service, and the same module once more as
// a capsule that only asks.
func twice(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	capsuletest.Build(t, dir, "testdata/service")
	module, err := os.ReadFile(filepath.Join(dir, "service", "service.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	putWith(t, dir, "asker", module, "\"ask.v1\" = { handler = \"ask\" }\n")
	return dir
}

// TestServiceOnTheBus: capsules written with the SDK install, run in the
// background, and have one another's tools called over the bus, on the real
// host.
func TestServiceOnTheBus(t *testing.T) {
	dir := twice(t)
	w := capsuletest.New(t, dir, capsule.RunOptions{Grace: 500 * time.Millisecond})
	installed, pong := listen(t, w.Bus, "service.installed"), listen(t, w.Bus, "service.pong")
	w.Serve(capsule.DueInstall)
	for range 2 {
		if m := installed(); m.Principal != (ipc.Principal{Name: "system"}) {
			t.Errorf("installed for %v", m.Principal)
		}
	}
	until("both run", func() bool {
		return w.Bus.Listeners("service.ping") == 2 && w.Bus.Listeners("tool.v1.execute.echo") == 1
	})
	if err := w.Bus.Announce(ipc.Message{Topic: "service.ping", Payload: []byte(`"hello"`)}); err != nil {
		t.Fatal(err)
	}
	sources := []string{pong().SourceID, pong().SourceID}
	slices.Sort(sources)
	want := []string{ipc.SourceID("asker"), ipc.SourceID("service")}
	if slices.Sort(want); !slices.Equal(sources, want) {
		t.Errorf("pongs of %q", sources)
	}
	a, err := w.Runner.Invoke(t.Context(), capsule.Invocation{
		Principal: "alice", Capsule: "asker", Action: "ask", CallID: "c", Payload: []byte(`"over the bus"`),
	})
	if err != nil || string(a.Data) != `"over the bus\n"` {
		t.Errorf("answered %s, %v", a.Data, err)
	}
	until("the tool's call is recorded", func() bool {
		return slices.ContainsFunc(w.Events(t, event.KindInvocationFinished), func(e *event.Event) bool {
			return e.Capsule == "service" && e.Principal == "alice" && e.CallID == "asked"
		})
	})
	for _, e := range w.Events(t, event.KindInvocationStarted) {
		b := e.Body.(*event.InvocationStarted)
		want := event.ActorHost
		if b.Action == "ask" || b.Action == "tool_execute_echo" {
			want = event.ActorGuest
		}
		if e.Actor.Kind != want {
			t.Errorf("%s of %s was asked for by %v", b.Action, e.Capsule, e.Actor.Kind)
		}
	}
}

// listen subscribes, and returns what waits for the next message.
func listen(t *testing.T, b *ipc.Bus, pattern string) (next func() ipc.Message) {
	t.Helper()
	s, err := b.Subscribe("test", pattern)
	if err != nil {
		t.Fatal(err)
	}
	var waiting []ipc.Message
	return func() ipc.Message {
		t.Helper()
		if len(waiting) == 0 {
			e, err := s.Recv(t.Context(), 30*time.Second)
			if err != nil || len(e.Messages) == 0 {
				t.Fatalf("no message on %s: %v", pattern, err)
			}
			waiting = e.Messages
		}
		m := waiting[0]
		waiting = waiting[1:]
		return m
	}
}
