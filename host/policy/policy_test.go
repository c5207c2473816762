package policy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/policy"
)

func TestGate(t *testing.T) {
	g := policy.NewGate()
	if err := g.Set("builder", []string{"git", "/bin/sh"}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		capsule, command, rule string
		ok                     bool
	}{
		{"builder", "git", "manifest host_process: git", true},
		{"builder", "/bin/sh", "manifest host_process: /bin/sh", true},
		{"builder", "sh", `manifest host_process: no entry for "sh"`, false},
		{"builder", "git /evil", `manifest host_process: no entry for "git /evil"`, false},
		{"builder", "gi", `manifest host_process: no entry for "gi"`, false},
		{"builder", "/usr/bin/git", `manifest host_process: no entry for "/usr/bin/git"`, false},
		{"builder", "--bind", "command looks like a flag", false},
		{"builder", "git\x00", "command contains NUL", false},
		{"builder", "", "command is empty", false},
		{"other", "git", `no manifest: capsule "other"`, false},
	}
	for _, c := range cases {
		rule, ok := g.Allow(c.capsule, c.command)
		if rule != c.rule || ok != c.ok {
			t.Errorf("Allow(%q, %q) = %q, %v; want %q, %v", c.capsule, c.command, rule, ok, c.rule, c.ok)
		}
	}
	g.Remove("builder")
	if _, ok := g.Allow("builder", "git"); ok {
		t.Error("a removed capsule still runs git")
	}
}

func TestGateRefusesEntries(t *testing.T) {
	g := policy.NewGate()
	for _, entry := range []string{"", "-c", "--", "gi\x00t"} {
		if err := g.Set("c", []string{"ok", entry}); !errors.Is(err, policy.ErrEntry) {
			t.Errorf("entry %q: error %v, want ErrEntry", entry, err)
		}
	}
	if _, ok := g.Allow("c", "ok"); ok {
		t.Error("a refused list was taken in part")
	}
}

func TestQuotas(t *testing.T) {
	c := policy.DefaultConfig()
	c.Principals = map[string]policy.Quotas{
		"alice": {Background: 0, Sync: 1, MaxTimeout: time.Second},
		"bob":   {Background: 256, Sync: 1, MaxTimeout: time.Second},
	}
	p, err := policy.New(c, policy.NewGate())
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Quotas("alice").Background; got != 0 {
		t.Errorf("alice: background %d, want 0", got)
	}
	if got := p.Quotas("carol"); got != policy.DefaultQuotas() {
		t.Errorf("carol: %+v, want the default", got)
	}
	for name, bad := range map[string]policy.Quotas{
		"alice":   {Background: 257, MaxTimeout: time.Second},
		"bob":     {Background: 1},
		"no good": policy.DefaultQuotas(),
	} {
		c.Principals = map[string]policy.Quotas{name: bad}
		if _, err := policy.New(c, policy.NewGate()); err == nil {
			t.Errorf("principal %q with %+v was taken", name, bad)
		}
	}
}

func TestCheckOrder(t *testing.T) {
	g := policy.NewGate()
	if err := g.Set("c", []string{"git"}); err != nil {
		t.Fatal(err)
	}
	p, err := policy.New(policy.DefaultConfig(), g)
	if err != nil {
		t.Fatal(err)
	}
	if rule, ok := p.Check("../x", "c", "git"); ok || rule != "principal: not 1 to 64 of [A-Za-z0-9_-]" {
		t.Errorf("a malformed principal: %q, %v", rule, ok)
	}
	if rule, ok := p.Check("alice", "c", "git"); !ok {
		t.Errorf("alice: %q", rule)
	}
}

func TestGatePersistent(t *testing.T) {
	g := policy.NewGate()
	if err := g.Set("c", []string{"git"}); err != nil {
		t.Fatal(err)
	}
	if rule, ok := g.AllowPersistent("c"); ok || rule != "manifest allow_persistent: not set" {
		t.Errorf("without allow_persistent: %q, %v", rule, ok)
	}
	g.SetPersistent("c", true)
	if rule, ok := g.AllowPersistent("c"); !ok || rule != "manifest allow_persistent" {
		t.Errorf("with allow_persistent: %q, %v", rule, ok)
	}
	g.Remove("c")
	if _, ok := g.AllowPersistent("c"); ok {
		t.Error("a removed capsule may still start persistent processes")
	}
}

func TestAuthenticated(t *testing.T) {
	for principal, want := range map[string]bool{"alice": true, "": false, "anonymous": false, "no good": false} {
		if got := policy.Authenticated(principal); got != want {
			t.Errorf("Authenticated(%q) = %v", principal, got)
		}
	}
}
