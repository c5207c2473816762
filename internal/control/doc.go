// Package control is the language that astridctl and astridd speak: plain HTTP
// with JSON over a unix socket.
//
// The types here are the protocol; [Client] is its user; the daemon's server
// lives in cmd/astridd and uses the same types and frames. Everything a person
// needs works with curl as well:
//
//	curl --unix-socket DATA/control.sock http://astridd/v1/status
//
//	GET  /v1/status          [Status]; answered from the first moment, also while recovery runs
//	GET  /v1/ps              [Ps]: the live handle table; ?all=1 adds terminal handles not yet released
//	GET  /v1/events          events as NDJSON, or as frames (see frame.go) when Accept is [TypeFrames]
//	GET  /v1/ledger/newest   a consistent copy of the newest segment, trailers name its bounds and digest
//	GET  /v1/capsules        [Capsules]
//	GET  /v1/logs            a process's output as lines of [LogChunk]; ?follow=1 goes on to its end
//	GET  /v1/bus             messages as lines of [BusMessage], from now on; ?topic= is a pattern
//	POST /v1/invoke          [Invocation] → [Answer]
//	POST /v1/cancel          [CancelRequest] → [CancelAnswer]
//	POST /v1/stop            [StopRequest] → [StopAnswer]: one process, by its handle
//	POST /v1/daemon/restart  [RestartRequest] → [RestartAnswer]: another daemon takes over
//	POST /v1/run             [RunRequest], module and input → lines of [RunLine] while it runs
//
// An answer of lines ends with an [EndLine]; without it, it was cut off.
//
// JSON is add-only: fields may be added, never renamed or given another
// meaning. A failure is an HTTP status with an [Error] as its body. Both sides
// send [VersionHeader]; a server refuses a client that is newer than itself,
// and a request without the header (curl) is taken as it is.
//
// While a daemon makes way for another one, requests are refused and streams end
// with [CodeRestarting]. Nothing was done about such a request: a [Client] repeats
// it until the next daemon answers. Whoever connects meanwhile waits.
package control
