// Command devserver is a capsule that keeps development servers running. A
// server is a persistent process: it is found again by its name in any later
// call, whatever became of the capsule's instance or of the host's daemon.
// Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o devserver.wasm .
//
// Its tools:
//
//   - dev_start {"name": "web", "cmd": "npm", "args": ["run", "dev"], "dir":
//     "site"}: starts the server, unless it runs.
//   - dev_logs {"name": "web", "cursor": "…", "wait_ms": 2000}: what it wrote
//     after the cursor of the last answer. Reading takes nothing away, so that
//     several callers can follow the same log.
//   - dev_status {}: all servers, and which of them have ended since the last
//     time, of themselves or not. The host tells that on its bus.
//   - dev_stop {"name": "web"}: TERM, then KILL; the name is free again.
package main

import "github.com/astrid-os/processledger/guest"

func init() {
	name := property("string", "the server's name: a-z, 0-9 and -")
	guest.Tool("dev_start", "Starts a development server that stays up, or finds the one of that name.",
		object(map[string]any{
			"name": name,
			"cmd":  property("string", "the program"),
			"args": map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
			"dir":  property("string", "directory in the workspace; default the workspace itself"),
		}, "name", "cmd"), start)
	guest.Tool("dev_logs", "Returns what a server has written after a cursor.",
		object(map[string]any{
			"name":    name,
			"stream":  map[string]any{"type": "string", "enum": []string{"stdout", "stderr"}},
			"cursor":  property("string", "where the last answer ended; leave it out to begin with what there is"),
			"wait_ms": property("integer", "how long to wait for something new, at most 30000"),
		}, "name"), logs)
	guest.Tool("dev_status", "Tells which servers there are, and which have ended since the last time.", object(nil), status)
	guest.Tool("dev_stop", "Stops a server.", object(map[string]any{"name": name}, "name"), stop)
	guest.Handle("server_ended", serverEnded)
}

func main() {}

func property(kind, about string) map[string]any {
	return map[string]any{"type": kind, "description": about}
}

func object(properties map[string]any, required ...string) map[string]any {
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if properties == nil {
		o["properties"] = map[string]any{}
	}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}
