package event

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind says what happened. The numbers are the wire format: they are never
// reused or renumbered.
type Kind uint32

// The kinds of event. docs/EVENTS.md describes each with its fields.
//
// Numbers 29 to 39, 45 and 47 to 99 are kept for kinds that no room writes yet
// (checkpoint.signed, key.rotated, ledger.read, ledger.archived, ledger.held,
// ledger.erased).
const (
	KindDaemonStarted      Kind = 1
	KindDaemonStopped      Kind = 2
	KindRecoveryStarted    Kind = 3
	KindRecoveryFinished   Kind = 4
	KindSegmentOpened      Kind = 5
	KindClockStepped       Kind = 6
	KindCapsuleLoaded      Kind = 7
	KindCapsuleUnloaded    Kind = 8
	KindPolicyChanged      Kind = 9
	KindInvocationStarted  Kind = 10
	KindInvocationFinished Kind = 11
	KindSpawnRequested     Kind = 12
	KindSpawnDecided       Kind = 13
	KindSpawnAborted       Kind = 14
	KindSpawnFailed        Kind = 15
	KindProcessStarted     Kind = 16
	KindProcessAdopted     Kind = 17
	KindProcessExited      Kind = 18
	KindProcessLost        Kind = 19
	KindCancelRequested    Kind = 20
	KindCancelFinished     Kind = 21
	KindStopRequested      Kind = 22
	KindTimerFired         Kind = 23
	KindSignalRequested    Kind = 24
	KindSignalSent         Kind = 25
	KindHandleReleased     Kind = 26
	KindOrphanEnded        Kind = 27
	KindLedgerMigrated     Kind = 28
	KindHandleAttached     Kind = 40
	KindWatchArmed         Kind = 41
	KindWatchDisarmed      Kind = 42
	KindStdinClosed        Kind = 43
	KindLedgerSalvaged     Kind = 44
	KindLedgerBackedUp     Kind = 46
)

// kindNames is the one place where kinds have names.
var kindNames = [...]string{
	KindDaemonStarted:      "daemon.started",
	KindDaemonStopped:      "daemon.stopped",
	KindRecoveryStarted:    "recovery.started",
	KindRecoveryFinished:   "recovery.finished",
	KindSegmentOpened:      "segment.opened",
	KindClockStepped:       "clock.stepped",
	KindCapsuleLoaded:      "capsule.loaded",
	KindCapsuleUnloaded:    "capsule.unloaded",
	KindPolicyChanged:      "policy.changed",
	KindInvocationStarted:  "invocation.started",
	KindInvocationFinished: "invocation.finished",
	KindSpawnRequested:     "spawn.requested",
	KindSpawnDecided:       "spawn.decided",
	KindSpawnAborted:       "spawn.aborted",
	KindSpawnFailed:        "spawn.failed",
	KindProcessStarted:     "process.started",
	KindProcessAdopted:     "process.adopted",
	KindProcessExited:      "process.exited",
	KindProcessLost:        "process.lost",
	KindCancelRequested:    "cancel.requested",
	KindCancelFinished:     "cancel.finished",
	KindStopRequested:      "stop.requested",
	KindTimerFired:         "timer.fired",
	KindSignalRequested:    "signal.requested",
	KindSignalSent:         "signal.sent",
	KindHandleReleased:     "handle.released",
	KindOrphanEnded:        "orphan.ended",
	KindLedgerMigrated:     "ledger.migrated",
	KindHandleAttached:     "handle.attached",
	KindWatchArmed:         "watch.armed",
	KindWatchDisarmed:      "watch.disarmed",
	KindStdinClosed:        "stdin.closed",
	KindLedgerSalvaged:     "ledger.salvaged",
	KindLedgerBackedUp:     "ledger.backed-up",
}

// maxKind is the largest number a kind may ever have: bodies are field
// 100+kind of the envelope, and protobuf keeps 19000 and up for itself.
const maxKind = 18_000

// Kinds returns the kinds that this build knows, in the order of the numbers.
func Kinds() []Kind {
	ks := make([]Kind, 0, len(kindNames))
	for k, name := range kindNames {
		if name != "" {
			ks = append(ks, Kind(k))
		}
	}
	return ks
}

// String returns the kind's name, "kind-77" for one this build does not know.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind-" + strconv.FormatUint(uint64(k), 10)
}

// ParseKind is the inverse of [Kind.String].
func ParseKind(s string) (Kind, error) {
	if i := slices.Index(kindNames[:], s); i > 0 {
		return Kind(i), nil
	}
	if digits, ok := strings.CutPrefix(s, "kind-"); ok {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err == nil && n > 0 && n <= maxKind {
			return Kind(n), nil
		}
	}
	return 0, fmt.Errorf("unknown kind %q: see docs/EVENTS.md", s)
}
