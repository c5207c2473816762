//go:build linux

package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/astrid-os/processledger/host/conformance"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestDocumentedCapsule builds the capsule in C that docs/GUESTS.md shows, with
// the command that it gives, and has it run.
func TestDocumentedCapsule(t *testing.T) {
	if _, err := exec.LookPath(clang()); err != nil {
		t.Skip(clang() + " is not here: no guest in C")
	}
	doc, err := os.ReadFile("../../docs/GUESTS.md")
	if err != nil {
		t.Fatal(err)
	}
	source := regexp.MustCompile("(?s)```c\n(.*?)```").FindSubmatch(doc)
	command := regexp.MustCompile(`clang-19 (--target\S+ .*) -o \S+ status\.c`).FindSubmatch(doc)
	if source == nil || command == nil {
		t.Fatal("docs/GUESTS.md shows no capsule in C, or not how it is built")
	}
	dir := t.TempDir()
	file, module := filepath.Join(dir, "status.c"), filepath.Join(dir, "status.wasm")
	if err := os.WriteFile(file, source[1], 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("sh", "-c", clang()+" "+string(command[1])+" -Wall -Werror -o "+module+" "+file)
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	h := &inProcess{t: t}
	setup := conformance.Setup{Capsules: []conformance.Capsule{{Name: "status", Module: module, Manifest: `[package]
name = "status"
version = "0.1.0"
[[component]]
id = "status"
file = "interpreter.wasm"
[capabilities]
host_process = ["git"]
[subscribe]
"conformance.run" = { wit = "opaque", handler = "run" }
`}}}
	if err := h.Start(t.Context(), setup); err != nil {
		t.Fatal(err)
	}
	a, err := h.Invoke(t.Context(), conformance.Call{Principal: "alice", Capsule: "status", Payload: "{}"})
	if err != nil || a.Outcome != "ok" {
		t.Errorf("%+v, %v", a, err)
	}
	if n := len(h.w.Events(t, event.KindProcessStarted)); n != 1 {
		t.Errorf("%d programs were started", n)
	}
}
