package projector

import (
	"bytes"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

// TestInstalled: a capsule counts as set up once the daemon's own call of its
// export has finished well, for the module that was loaded then, and still does
// after a restart.
func TestInstalled(t *testing.T) {
	call := func(action, outcome string, actor event.ActorKind) []*event.Event {
		scope := event.Scope{Principal: "system", Capsule: "kit", Instance: "i", CallID: "c", Actor: event.Actor{Kind: actor}}
		return []*event.Event{
			{Scope: scope, Body: &event.InvocationStarted{Action: action}},
			{Scope: scope, Body: &event.InvocationFinished{Outcome: outcome}},
		}
	}
	load := func(digest string) []*event.Event {
		return []*event.Event{{Scope: event.Scope{Capsule: "kit"}, Body: &event.CapsuleLoaded{ModuleSHA256: []byte(digest)}}}
	}
	start := []*event.Event{{Body: &event.DaemonStarted{}}}
	s, seq := New(), uint64(0)
	for _, step := range []struct {
		name   string
		events []*event.Event
		want   string
	}{
		{"start", start, ""},
		{"loaded", load("one"), ""},
		{"a handler of that name", call(ActionInstall, "ok", event.ActorOperator), ""},
		{"trapped", call(ActionInstall, "trap", event.ActorHost), ""},
		{"another action", call("run", "ok", event.ActorHost), ""},
		{"installed", call(ActionInstall, "ok", event.ActorHost), "one"},
		{"restart", append(start, load("two")...), "one"},
		{"upgrade trapped", call(ActionUpgrade, "trap", event.ActorHost), "one"},
		{"upgraded", call(ActionUpgrade, "ok", event.ActorHost), "two"},
	} {
		apart := s.Clone()
		before := apart.Encode()
		for _, e := range step.events {
			e.Seq = seq + 1
			seq++
			if err := s.Apply(e); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		got := ""
		if i, ok := s.Installed("kit"); ok {
			got = string(i.ModuleSHA256)
		}
		if got != step.want {
			t.Errorf("%s: set up for %q, want %q", step.name, got, step.want)
		}
		if !bytes.Equal(apart.Encode(), before) {
			t.Errorf("%s: a clone from before it holds it too", step.name)
		}
		again, err := Decode(s.Encode())
		if err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
			t.Errorf("%s: the state does not survive its encoding: %v", step.name, err)
		}
	}
}
