package report

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// actor tells who caused e.
func actor(e *event.Event) string {
	switch e.Actor.Kind {
	case event.ActorGuest:
		return guest(e)
	case event.ActorOperator:
		if e.Actor.Role != "" {
			return fmt.Sprintf("uid %d (%s)", e.Actor.UID, e.Actor.Role)
		}
		return fmt.Sprintf("uid %d", e.Actor.UID)
	case event.ActorTimer:
		return "a timer"
	case event.ActorHost:
		return "the daemon"
	case event.ActorShim:
		return "the shim, alone,"
	}
	return "somebody unknown"
}

// Actor tells who caused e, as sentences name it.
func Actor(e *event.Event) string { return ui.Safe(strings.TrimSuffix(actor(e), ",")) }

// guest names the capsule and on whose behalf it acts.
func guest(e *event.Event) string {
	return fmt.Sprintf("capsule %s, for %s,", orUnnamed(e.Capsule), orUnnamed(e.Principal))
}

func orUnnamed(s string) string { return cmp.Or(s, "(unnamed)") }
func orNowhere(s string) string { return cmp.Or(s, "(nowhere)") }

// because adds a reason, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func nanos(n int64) string { return ui.Duration(time.Duration(n)) }

// digest shows the beginning of a digest; the whole stands in the JSON.
func digest(b []byte) string {
	if len(b) == 0 {
		return "no digest"
	}
	return "SHA-256 " + hex.EncodeToString(b[:min(len(b), 6)]) + "…"
}

// id16 shows a ULID of an event's body.
func id16(b []byte) string {
	if len(b) != len(ulid.ULID{}) {
		return "(unnamed)"
	}
	return ulid.ULID(b).String()
}

// list joins words with commas and an "and".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// phrases say the ledger's short reasons in words; a reason that is not
// listed is said as it stands.
type phrases map[string]string

func (p phrases) say(reason string) string {
	if s, ok := p[reason]; ok {
		return s
	}
	return reason
}

var (
	releaseReasons = phrases{
		"dropped":        "the guest dropped it",
		"sync-finished":  "its spawn has returned",
		"instance-gone":  "the capsule's instance is gone",
		"refused":        "the spawn was refused",
		"recovered":      "nobody held it after a restart",
		"shutdown":       "the daemon was shutting down",
		"daemon-restart": "the daemon made way for another",
		"released":       "the guest released it",
		"stopped":        "it was stopped",
		"retention":      "the time it was kept after its end is up",
	}
	overflows = phrases{
		"unknown":      "a full one loses the oldest", // the default
		"drop-oldest":  "a full one loses the oldest",
		"backpressure": "a full one makes the program wait",
	}
	unloadReasons = phrases{
		"removed": "its directory is gone",
		"ended":   "it was a program that was run, and has left",
	}
	stopReasons = phrases{
		"guest":          "by its id",
		"operator":       "", // said before
		"shutdown":       "the daemon is shutting down",
		"daemon-restart": "the daemon makes way for another",
	}
	disarmReasons = phrases{
		"guest":    "its capsule asked for that",
		"released": "it was released",
	}
	abortReasons = phrases{
		"caller-gone":    "the caller had left",
		"cancelled":      "a cancel came first",
		"shutdown":       "the daemon was shutting down",
		"daemon-restart": "the daemon made way for another",
		"shim-not-ready": "its shim did not become ready",
		"daemon-died":    "the daemon died before it gave the go",
		"commit-failed":  "the ledger could not be sure of the decision",
	}
	lostReasons = phrases{
		"shim-killed":  "its shim was killed",
		"reboot":       "the machine was restarted",
		"may-have-run": "it may have had its go, and nothing tells whether it ran",
		"no-directory": "its process directory is gone, and nobody lives whom it named",
	}
	causes = phrases{
		"self":           "by itself",
		"signal":         "by a signal of its capsule",
		"kill":           "because its capsule killed it",
		"cancel":         "because it was cancelled",
		"stop":           "because it was stopped",
		"lifetime":       "because its time was up",
		"idle":           "because nobody had touched it for too long",
		"orphaned":       "because no daemon was there for too long",
		"owner-lost":     "because the instance that owned it was gone after a restart",
		"released":       "because its handle was released",
		"shutdown":       "because the daemon shut down",
		"daemon-restart": "because the daemon made way for another",
	}
	namespaces = phrases{
		"pidns": "PID", "userns": "user", "mount": "mount", "netns": "network", "ipcns": "IPC", "utsns": "UTS",
	}
	tiers = map[event.Tier]string{
		event.TierSync:       "and wait for it",
		event.TierBackground: "in the background",
		event.TierPersistent: "persistently",
	}
)

func tier(t event.Tier) string {
	if s, ok := tiers[t]; ok {
		return s
	}
	return fmt.Sprintf("in tier %d", uint32(t))
}
