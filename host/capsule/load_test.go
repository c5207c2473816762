package capsule_test

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// likeShell is laid out as the manifests of published capsules are.
const likeShell = `
[package]
name = "shell-tools"
version = "0.1.0"
description = "Runs shells"
authors = ["Someone <someone@example.com>"]
astrid-version = ">=0.1.0"

[[component]]
id = "shell-tools"
file = "shell_tools.wasm"
type = "executable"
capabilities = { host_process = ["zsh"], fs_read = ["home://"] }

[exports]
"astrid:spark" = "1.0.0"

[capabilities]
host_process = ["bash", "sh"]
allow_persistent = true
net_connect = ["example.com:443"]
teleport = true

[publish]
"tool.v1.execute.*.result" = { wit = "opaque" }

[subscribe]
"tool.v1.execute.run" = { wit = "opaque", handler = "tool_execute_run", priority = 10 }
"tool.v1.request.describe" = { wit = "@a/b/c", handler = "tool_describe" }
"session.v1.*" = "@a/b/session"

[[interceptor]]
event = "tool.v1.execute.old"
action = "old"

[[command]]
name = "shell"
kind = "cli"

[env.key]
type = "secret"

[env.depth]
type = "text"
default = 3

[flavour]
taste = "sweet"
`

func TestManifest(t *testing.T) {
	m, err := capsule.ParseManifest(likeShell)
	if err != nil {
		t.Fatal(err)
	}
	want := &capsule.Manifest{
		Name: "shell-tools", Version: "0.1.0", Description: "Runs shells", File: "shell_tools.wasm",
		HostProcess: []string{"bash", "sh", "zsh"}, AllowPersistent: true,
		Capabilities: []string{"allow_persistent", "fs_read", "host_process", "net_connect", "teleport"},
		Env:          map[string]any{"depth": int64(3)},
		Handlers:     []capsule.Handler{{"tool.v1.execute.run", "tool_execute_run"}, {"tool.v1.request.describe", "tool_describe"}},
		Warnings: []string{
			"unknown key capabilities.teleport", "unknown key flavour", "unknown key flavour.taste",
			"unknown key interceptor (write its handler into [subscribe])",
		},
	}
	slices.Sort(m.Warnings)
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("manifest (-want +got):\n%s", d)
	}
}

func TestManifestErrors(t *testing.T) {
	const ok = "[package]\nname = \"a\"\nversion = \"1\"\n[[component]]\nfile = \"m.wasm\"\n"
	for name, c := range map[string]struct{ text, want string }{
		"syntax":            {ok + "[capabilities", "line 6"},
		"wrong type":        {ok + "[capabilities]\nhost_process = \"git\"\n", `line 7 (last key "capabilities.host_process")`},
		"wrong type inside": {ok + "[capabilities]\n\nhost_process = [\"git\", 7]\n", "line 8"},
		"wrong boolean":     {ok + "[capabilities]\nallow_persistent = 1\n", "line 7"},
		"handler":           {ok + "[subscribe]\n\"a.b\" = { handler = 1 }\n", "handler"},
		"subscription":      {ok + "[subscribe]\n\"a.b\" = 7\n", "neither a type reference nor a table"},
		"no name":           {"[package]\nversion = \"1\"\n", "package.name"},
		"bad name":          {"[package]\nname = \"../a\"\n", "package.name"},
		"no version":        {"[package]\nname = \"a\"\n", "package.version"},
		"no component":      {"[package]\nname = \"a\"\nversion = \"1\"\n", "[[component]]"},
		"file outside":      {"[package]\nname = \"a\"\nversion = \"1\"\n[[component]]\nfile = \"../m.wasm\"\n", "not a path inside"},
	} {
		if _, err := capsule.ParseManifest(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestLoadTellsWhatItLoaded(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	put(t, filepath.Join(dir, "elsewhere"), "renamed", honest())
	if err := os.Rename(filepath.Join(dir, "elsewhere", "renamed"), filepath.Join(dir, "other-name")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cache := filepath.Join(t.TempDir(), "cache")
	for range 2 { // the second time out of the cache
		s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir, Cache: cache, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil || len(s.Failed()) > 0 {
			t.Fatal(err, s.Failed())
		}
		defer s.Close(t.Context())
		all := s.Capsules()
		if len(all) != 2 || all[0].Name != "honest" || all[1].Name != "renamed" {
			t.Fatalf("%d capsules", len(all))
		}
		module, sum := honest(), sha256.Sum256(honest())
		if c := all[0]; c.Version != "1.0.0" || c.ModuleBytes != uint64(len(module)) || !bytes.Equal(c.ModuleSHA256, sum[:]) || !strings.HasPrefix(c.ManifestText, "[package]") {
			t.Errorf("capsule %+v", c)
		}
	}
	if !strings.Contains(log.String(), "other-name") {
		t.Errorf("no warning of the directory's name: %s", &log)
	}
}

// TestLoadNamesWhatIsWrong: each broken capsule is told of, and keeps no other
// from loading.
func TestLoadNamesWhatIsWrong(t *testing.T) {
	plain := func(build func(m *Module)) []byte {
		m := New()
		build(m)
		return m.Bytes()
	}
	hook := func(m *Module) { m.Func("astrid-hook-trigger", "iiii", "i", 0, Const(0)) }
	realloc := func(m *Module) { m.Func("cabi_realloc", "iiii", "i", 0, Const(0)) }
	for name, c := range map[string]struct {
		module []byte
		want   string
	}{
		"component":     {[]byte("\x00asm\x0d\x00\x01\x00..."), "is a component whose sections cannot be read"},
		"newer":         {[]byte("\x00asm\x02\x00\x00\x00"), "of a version that this host does not know"},
		"text":          {[]byte("\n  (module)"), "text form"},
		"native":        {[]byte("\x7fELF"), "native program"},
		"zip":           {[]byte("PK\x03\x04"), "zip archive"},
		"script":        {[]byte("#!/bin/sh"), "is a script"},
		"empty":         {nil, "is empty"},
		"noise":         {[]byte("hello"), "is not WebAssembly"},
		"broken":        {[]byte("\x00asm\x01\x00\x00\x00\x01\xff"), "cannot be read"},
		"invalid":       {[]byte("\x00asm\x01\x00\x00\x00\x01\x01\x05"), "is not a valid module"},
		"no-exports":    {plain(func(m *Module) { m.NoMemory() }), `exports no memory named "memory"`},
		"no-realloc":    {plain(hook), `exports no function "cabi_realloc"`},
		"no-hook":       {plain(realloc), `exports neither the function "astrid-hook-trigger" nor "run"`},
		"program":       {plain(func(m *Module) { hook(m); realloc(m); m.Func("_start", "", "", 0) }), "-buildmode=c-shared"},
		"hook-shape":    {plain(func(m *Module) { realloc(m); m.Func("astrid-hook-trigger", "i", "i", 0, Const(0)) }), "another signature"},
		"huge-memory":   {plain(func(m *Module) { hook(m); realloc(m); m.Memory(4096, 0) }), "is not a valid module"},
		"huge-table":    {plain(func(m *Module) { hook(m); realloc(m); m.Table(1 << 21) }), "table of 2097152 elements"},
		"older-spawn":   {plain(func(m *Module) { m.Import(process, "spawn", strings.Repeat("i", 12), ""); hook(m); realloc(m) }), "served as (i32,i32)->()"},
		"newer-process": {plain(func(m *Module) { m.Import("astrid:process/host@1.2.0", "spawn", "ii", ""); hook(m); realloc(m) }), "astrid:process/host@1.2.0 spawn: served are the versions 1.0.0, 1.1.0"},
		"sockets": {plain(func(m *Module) {
			m.Import("wasi_snapshot_preview1", "sock_open", "iii", "i")
			m.Import("astrid:net/host@1.0.0", "connect", "ii", "")
			hook(m)
			realloc(m)
		}), "astrid:net/host@1.0.0 connect; wasi_snapshot_preview1 sock_open"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, name, c.module)
			put(t, dir, "honest", honest())
			s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir, MemoryBytes: 32 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close(t.Context())
			failed := s.Failed()
			if len(failed) != 1 || !strings.Contains(failed[0].Error(), c.want) {
				t.Errorf("failed %v, want one with %q", failed, c.want)
			}
			if all := s.Capsules(); len(all) != 1 || all[0].Name != "honest" {
				t.Errorf("%d capsules loaded", len(all))
			}
		})
	}
}

// TestLoadStaysInsideTheDirectory: a module that a symlink leads out to is not
// read.
func TestLoadStaysInsideTheDirectory(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "m.wasm")
	put(t, dir, "linked", honest())
	link := filepath.Join(dir, "linked", "m.wasm")
	if err := os.WriteFile(outside, honest(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if len(s.Failed()) != 1 {
		t.Errorf("failed: %v", s.Failed())
	}
}

func TestTwoCapsulesOfOneName(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "twin", honest())
	put(t, filepath.Join(dir, "x"), "twin", honest())
	if err := os.Rename(filepath.Join(dir, "x", "twin"), filepath.Join(dir, "zwin")); err != nil {
		t.Fatal(err)
	}
	s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if f := s.Failed(); len(f) != 1 || !strings.Contains(f[0].Error(), "taken by the capsule in") {
		t.Errorf("failed: %v", f)
	}
}
