package capsule

import (
	"errors"
	"slices"
	"testing"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/bind"
	"github.com/astrid-os/processledger/host/ipc"
)

func TestSystem(t *testing.T) {
	m, err := ParseManifest(`
[package]
name = "kit"
version = "1"
[[component]]
file = "m.wasm"
capabilities = { uplink = true, kv = [] }
[capabilities]
host_process = ["git"]
allow_persistent = false
[subscribe]
"tool.v1.execute.x" = { wit = "opaque", handler = "tool_execute_x" }
[env.depth]
default = 3
[env.name]
default = "manifest"
`)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{
		set:    &Set{loaded: map[string]*Capsule{"kit": {Manifest: *m, Forms: Forms{Hook: true}}}},
		config: map[string]map[string]any{"kit": {"name": "operator", "list": []any{"a", int64(1)}, "on": true}},
	}
	kit := host.Caller{Capsule: "kit"}
	for key, want := range map[string]string{"name": "operator", "depth": "3", "list": `["a",1]`, "on": "true"} {
		if got, found, err := s.Config(kit, key); got != want || !found || err != nil {
			t.Errorf("%s: %q, %t, %v", key, got, found, err)
		}
	}
	if _, found, err := s.Config(kit, "other"); found || err != nil {
		t.Errorf("an unknown key: %t, %v", found, err)
	}
	if _, found, err := s.Config(host.Caller{Capsule: "other"}, "name"); found || err != nil {
		t.Errorf("another capsule's key: %t, %v", found, err)
	}
	var e *bind.SysError
	if _, _, err := s.Config(kit, "ASTRID_SESSION_TOKEN"); !errors.As(err, &e) || e.Code != bind.SysConfigKeyReserved {
		t.Errorf("a reserved key: %v", err)
	}
	if got := s.Capabilities("kit"); !slices.Equal(got, []string{"host_process", "uplink"}) {
		t.Errorf("capabilities %q", got)
	}
	id := ipc.SourceID("kit")
	for _, c := range []struct {
		id, capability string
		want           bool
	}{{id, "uplink", true}, {id, "allow_persistent", false}, {id, "kv", false}, {"?", "uplink", false}, {ipc.SourceID("other"), "uplink", false}, {id, "", false}} {
		if got := s.Allowed(c.id, c.capability); got != c.want {
			t.Errorf("%s may %q: %t", c.id, c.capability, got)
		}
	}
	want := []bind.Binding{{HandleID: 1, Action: "tool_execute_x", Topic: "tool.v1.execute.x"}}
	if got := s.Bindings("kit"); !slices.Equal(got, want) {
		t.Errorf("bindings %v", got)
	}
}
