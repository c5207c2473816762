// Command workbench is a capsule that looks after a Go project in its
// workspace: it tells what git knows of it, builds and tests it, and keeps a
// watcher running that reports changed files. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o workbench.wasm .
//
// Its tools:
//
//   - check {"dir": "project", "steps": ["build", "test"]}: git summary, go
//     build and go test, or what the steps name, vet too; starts the watcher.
//     Where there is no project yet it writes a small one.
//   - watch {"do": "start" | "status" | "stop", "dir": "project"}
//   - run {"cmd": "git", "args": ["log", "-1"], "dir": "project"}: one command,
//     if the manifest allows it.
package main

import "github.com/astrid-os/processledger/guest"

func init() {
	dir := property("string", "directory in the workspace; default project")
	guest.Tool("check", "Checks a Go project: what git knows of it, go build, go test. Starts the watcher of its files.",
		object(map[string]any{"dir": dir, "steps": map[string]any{
			"type": "array", "items": map[string]any{"enum": []string{"build", "test", "vet"}},
			"description": "what to run; default build and test. The first test and the first vet take a while."}}), check)
	guest.Tool("watch", "Starts or stops the watcher of a project's files, or tells what it has seen.",
		object(map[string]any{
			"do":  map[string]any{"type": "string", "enum": []string{"start", "status", "stop"}},
			"dir": dir,
		}), watch)
	guest.Tool("run", "Runs one command in the workspace, if the manifest allows it.",
		object(map[string]any{
			"cmd":   property("string", "the program"),
			"args":  map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
			"stdin": property("string", "what the program reads"),
			"dir":   property("string", "directory in the workspace; default the workspace itself"),
		}, "cmd"), run)
}

func main() {}

func property(kind, about string) map[string]any {
	return map[string]any{"type": kind, "description": about}
}

func object(properties map[string]any, required ...string) map[string]any {
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}
