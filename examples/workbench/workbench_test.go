//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestMain(m *testing.M) { os.Exit(capsuletest.Main(m)) }

// use calls a tool and decodes what it answers on the bus.
func use(t *testing.T, w *capsuletest.World, principal, tool, arguments string, into any) {
	t.Helper()
	payload, err := json.Marshal(guest.Call{CallID: "call-" + tool, Name: tool, Arguments: json.RawMessage(arguments)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.Runner.Invoke(t.Context(), capsule.Invocation{
		Principal: principal, Capsule: "workbench", Action: "tool_execute_" + tool, Payload: payload, CallID: "call-" + tool,
	})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if a.Action != guest.Continue || len(a.Published) != 1 {
		t.Fatalf("%s answered %s %q with %d messages", tool, a.Action, a.Data, len(a.Published))
	}
	result, err := ipc.DecodeToolResult(a.Published[0].Payload)
	if err != nil || result.CallID != "call-"+tool || result.IsError {
		t.Fatalf("%s answered %s: %v", tool, a.Published[0].Payload, err)
	}
	if err := json.Unmarshal([]byte(result.Content), into); err != nil {
		t.Fatalf("%s answered %s: %v", tool, result.Content, err)
	}
}

// TestWorkbench is a day at the workbench: check a project that is not there
// yet, break it, look at the watcher, and be refused a command.
func TestWorkbench(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a Go project with an empty cache")
	}
	dir := t.TempDir()
	capsuletest.Build(t, dir, ".")
	w := capsuletest.New(t, dir, capsule.RunOptions{})

	var first report
	use(t, w, "alice", "check", `{}`, &first)
	workspace := filepath.Join(w.Data, "workspaces", "alice", "workbench")
	if !first.OK || !first.Created || first.Workspace != workspace || len(first.Steps) != 2 || !strings.Contains(first.Steps[1].Output, "ok") {
		t.Errorf("check answered %+v", first)
	}
	if _, err := exec.LookPath("git"); err == nil {
		if g := first.Git; !g.Present || len(g.Commits) != 1 || !strings.Contains(g.Commits[0], "Begin the project") || len(g.Changed) != 0 || g.Note != "" {
			t.Errorf("git: %+v", g)
		}
	} else if g := first.Git; g.Present || g.Note == "" {
		t.Errorf("git: %+v", g)
	}
	if !first.Watcher.Running || first.Watcher.PID == 0 {
		t.Errorf("watcher: %+v", first.Watcher)
	}
	if _, err := os.Stat(filepath.Join(workspace, ".home", "go-build")); err != nil {
		t.Errorf("the build cache is not in the workspace: %v", err)
	}

	// Somebody breaks the program; the watcher of the same instance sees it.
	if err := os.WriteFile(filepath.Join(workspace, "project", "sum.go"), []byte("package project\n\nfunc Sum(...int) int { return 41 }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	seen := ""
	for end := time.Now().Add(20 * time.Second); !strings.Contains(seen, "files changed"); time.Sleep(50 * time.Millisecond) {
		var now watcher
		use(t, w, "alice", "watch", `{"do":"status"}`, &now)
		if seen += now.Output; time.Now().After(end) || !now.Running {
			t.Fatalf("the watcher has seen %q and is %+v", seen, now)
		}
	}
	var second report
	use(t, w, "alice", "check", `{"dir":"project","steps":["test"]}`, &second)
	if second.OK || second.Created || !strings.Contains(second.Steps[0].Output, "want 42") {
		t.Errorf("check of a broken project: %+v", second)
	}
	if second.Git.Present && len(second.Git.Changed) != 1 {
		t.Errorf("git sees changes %q", second.Git.Changed)
	}
	if second.Watcher.PID != first.Watcher.PID {
		t.Error("a second watcher was started")
	}

	// Another principal has another workspace and no watcher of alice's.
	var bobs watcher
	if use(t, w, "bob", "watch", `{}`, &bobs); bobs.Running {
		t.Errorf("bob sees %+v", bobs)
	}

	var refused step
	if use(t, w, "alice", "run", `{"cmd":"curl","args":["http://example.com"]}`, &refused); refused.OK || !strings.Contains(refused.Exit, "capability-denied") {
		t.Errorf("curl: %+v", refused)
	}
	var ran step
	if use(t, w, "alice", "run", `{"cmd":"tee","args":["note"],"stdin":"written"}`, &ran); !ran.OK || ran.Output != "written" {
		t.Errorf("tee: %+v", ran)
	}
	var stopped watcher
	if use(t, w, "alice", "watch", `{"do":"stop"}`, &stopped); stopped.Running || stopped.Exit != "exit status 0" || !strings.Contains(stopped.Output, "watcher: ends") {
		t.Errorf("stopped: %+v", stopped)
	}

	for _, e := range w.Events(t, event.KindInvocationFinished) {
		if f := e.Body.(*event.InvocationFinished); f.Outcome != "ok" {
			t.Errorf("invocation %s: %s %s", e.CallID, f.Outcome, f.Detail)
		}
	}
	refusals := 0
	for _, e := range w.Events(t, event.KindSpawnDecided) {
		if d := e.Body.(*event.SpawnDecided); d.Outcome == event.OutcomeRefused {
			refusals++
			if d.Code != "capability-denied" || e.CallID != "call-run" || e.Principal != "alice" {
				t.Errorf("refusal %+v of %+v", d, e.Scope)
			}
		}
	}
	if refusals != 1 {
		t.Errorf("%d refusals in the ledger, want 1", refusals)
	}
}
