package capsule_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/ipc"
)

const (
	topicAt = 4096 // what a publisher publishes, and on which topic
	ipcHost = "astrid:ipc/host@1.0.0"
)

// publisher is a capsule whose hook publishes messages.
func publisher(messages ...[2]string) []byte {
	g := newGuest()
	publish := g.Import(ipcHost, "publish", "iiiii", "")
	g.Bump(cellAt, heapAt)
	var code []byte
	at := uint32(topicAt)
	for _, m := range messages {
		g.Data(at, []byte(m[0]+m[1]))
		topic, payload := uint32(len(m[0])), uint32(len(m[1]))
		code = append(code, call(publish, at, topic, at+topic, payload, returnAt)...)
		at += topic + payload
	}
	return g.hook(code)
}

// served loads capsules, takes them into service and runs them on a bus.
func served(t *testing.T, dir string, h capsule.Host, o capsule.RunOptions) *capsule.Runner {
	t.Helper()
	s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir, MemoryBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Failed() {
		t.Fatal(e)
	}
	if o.Bus == nil {
		o.Bus = ipc.New(ipc.Options{})
	}
	r := capsule.NewRunner(s, h, o)
	t.Cleanup(func() {
		r.Close(context.Background())
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range s.Capsules() {
		r.Start(c, capsule.DueNothing)
	}
	return r
}

// begun are the lines that say which invocations began.
func begun(h *fakeHost) (out []string) {
	for _, line := range h.noted() {
		if strings.HasPrefix(line, "begin ") {
			out = append(out, line)
		}
	}
	return out
}

// TestMessagesReachHandlers: what is published on the topic of a handler is an
// invocation of it, for the publisher's principal, by the guest, with the call
// id that the payload names.
func TestMessagesReachHandlers(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "asks", publisher([2]string{"tool.v1.execute.run", `{"call_id":"call-7","tool_name":"run","arguments":{}}`}))
	putWith(t, dir, "tool", honest(), "\"tool.v1.execute.*\" = { wit = \"opaque\", handler = \"tool_execute_run\" }\n")
	h := &fakeHost{}
	bus := ipc.New(ipc.Options{})
	r := served(t, dir, h, capsule.RunOptions{Bus: bus})
	until("the handlers listen", func() bool { return bus.Listeners("tool.v1.execute.run") == 1 })
	if _, err := r.Invoke(t.Context(), invocation("asks", "alice", "c")); err != nil {
		t.Fatal(err)
	}
	until("the tool was called", func() bool { return slices.Contains(h.noted(), "begin tool tool_execute_run") })
	h.mu.Lock()
	last := h.callers[len(h.callers)-1]
	h.mu.Unlock()
	if last.Principal != "alice" || last.CallID != "call-7" || last.Source != ipc.SourceID("asks") || last.Hops != 1 || last.Actor.Kind != 0 {
		t.Errorf("called by %+v", last)
	}
}

// TestCirclesEnd: capsules that call one another do so a bounded number of
// times.
func TestCirclesEnd(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ping", publisher([2]string{"x.pong", "1"}))
	putWith(t, dir, "pong", publisher([2]string{"t.v1.go", "2"}), "\"x.pong\" = { wit = \"opaque\", handler = \"go\" }\n")
	// t.v1.go is the topic of both, so pong calls itself, too.
	h := &fakeHost{}
	bus := ipc.New(ipc.Options{})
	r := served(t, dir, h, capsule.RunOptions{Bus: bus})
	until("the handlers listen", func() bool { return bus.Listeners("t.v1.go") == 2 && bus.Listeners("x.pong") == 1 })
	if _, err := r.Invoke(t.Context(), invocation("ping", "alice", "c")); err != nil {
		t.Fatal(err)
	}
	deepest := func() (deepest uint8) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.callers {
			deepest = max(deepest, c.Hops)
		}
		return deepest
	}
	until("the circle ends", func() bool {
		text := strings.Join(h.noted(), "\n")
		return deepest() == capsule.MaxHops && strings.Count(text, "begin") == strings.Count(text, "finish")
	})
	r.Close(context.Background()) // what was still on its way is done
	if n := deepest(); n != capsule.MaxHops {
		t.Errorf("the deepest call came after %d messages, want %d", n, capsule.MaxHops)
	}
}

// TestToolResult: an invocation's answer holds what the guest itself published
// as the result of the action, and nobody else's.
func TestToolResult(t *testing.T) {
	const result = `{"type":"tool_execute_result","call_id":"call-7","result":{"call_id":"call-7","content":"done","is_error":false}}`
	dir := t.TempDir()
	put(t, dir, "tool", publisher([2]string{"t.v1.go.result", result}, [2]string{"t.v1.other.result", "1"}))
	h := &fakeHost{}
	bus := ipc.New(ipc.Options{})
	h.begun = func() {
		if err := bus.Publish(ipc.Message{Topic: "t.v1.go.result", Payload: []byte(`"forged"`), SourceID: ipc.SourceID("other"), Principal: ipc.Principal{Name: "alice"}}); err != nil {
			t.Error(err)
		}
	}
	r := served(t, dir, h, capsule.RunOptions{Bus: bus})
	for range 2 { // the second has its own and not the first's
		a, err := r.Invoke(t.Context(), invocation("tool", "alice", "c"))
		if err != nil || len(a.Published) != 1 || string(a.Published[0].Payload) != result || a.Action != "continue" {
			t.Fatalf("answer %+v, %v", a, err)
		}
	}
}

// TestSlowHandlersLoseMessages: what waits for a handler is bounded, and one
// principal's messages do not wait for another's.
func TestSlowHandlersLoseMessages(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "slow", blocked())
	h := &fakeHost{}
	bus := ipc.New(ipc.Options{})
	r := served(t, dir, h, capsule.RunOptions{Bus: bus})
	say := func(principal string) {
		t.Helper()
		if err := bus.Announce(ipc.Message{Topic: "t.v1.go", Payload: []byte("1"), Principal: ipc.Principal{Name: principal}}); err != nil {
			t.Fatal(err)
		}
	}
	say("alice")
	h.waits(1)
	for range 499 {
		say("alice")
	}
	say("bob")
	h.waits(2) // bob's came last, so all of alice's were taken
	const want = 1 + 64 + 1
	until("all that waited begin", func() bool {
		h.cancelAll() // again and again: what has begun may not be known yet
		return len(begun(h)) >= want
	})
	r.Close(context.Background())
	if n := len(begun(h)); n != want {
		t.Errorf("%d invocations of 501", n)
	}
}
