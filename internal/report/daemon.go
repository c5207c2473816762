package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

func daemonStarted(b *event.DaemonStarted) string {
	s := fmt.Sprintf("the daemon started (version %s, uid %d, pid %d", cmp.Or(b.Version, "unknown"), b.UID, b.PID)
	if b.Kernel != "" {
		s += ", kernel " + b.Kernel
	}
	s += ")"
	if b.Replaces != "" {
		s += fmt.Sprintf("; it took over from version %s in a restart, and none was in charge for %s", b.Replaces, nanos(b.GapNano))
	}
	if b.Isolation == "" {
		return s
	}
	return s + "; each program runs " + isolation(b.Isolation)
}

func daemonStopped(e *event.Event, b *event.DaemonStopped) string {
	s := "the daemon stopped in good order" + because(b.Reason)
	if b.Successor != "" {
		s = fmt.Sprintf("the daemon made way for version %s of itself (%s), as %s asked", b.Successor, ui.Safe(b.Binary), Actor(e))
	}
	if b.Ended > 0 {
		s += ", after it had ended " + ui.Count(b.Ended, "process")
	}
	return s
}

func recoveryFinished(b *event.RecoveryFinished) string {
	var found []string
	add := func(n uint32, one, more string) {
		if n == 1 {
			found = append(found, "1 "+one)
		} else if n > 1 {
			found = append(found, fmt.Sprintf("%d %s", n, more))
		}
	}
	add(b.Adopted, "process was taken in again", "processes were taken in again")
	add(b.Exited, "had exited meanwhile", "had exited meanwhile")
	add(b.Ended, "was cancelled because its owner was gone", "were cancelled because their owners were gone")
	add(b.Lost, "was lost", "were lost")
	add(b.Aborted, "had never run", "had never run")
	add(b.Failed, "had failed to start", "had failed to start")
	add(b.Orphans, "orphan was ended", "orphans were ended")
	add(b.Resumed, "unfinished ending was taken up again", "unfinished endings were taken up again")
	if len(found) == 0 {
		found = []string{"nothing was left to settle"}
	}
	return fmt.Sprintf("recovery finished in %s: %s", nanos(b.TookNano), list(found))
}

var segmentReasons = phrases{
	"first":    "the first of this ledger",
	"full":     "the one before was full",
	"salvaged": "the one before was abandoned after a failed commit",
}

func segmentOpened(b *event.SegmentOpened) string {
	s := fmt.Sprintf("segment %d of the ledger was opened%s", b.Ordinal, because(segmentReasons.say(b.Reason)))
	if b.PreviousFirst > 0 {
		s += fmt.Sprintf("; the one before began at event %d", b.PreviousFirst)
	}
	if b.SalvagedThrough > 0 {
		s += fmt.Sprintf(", and everything through event %d was taken over", b.SalvagedThrough)
	}
	return s
}

func clockStepped(b *event.ClockStepped) string {
	if b.DeltaNano < 0 {
		return "the wall clock was set back by " + ui.Duration(-time.Duration(b.DeltaNano))
	}
	return "the wall clock was set forward by " + nanos(b.DeltaNano)
}

func capsuleLoaded(e *event.Event, b *event.CapsuleLoaded) string {
	s := "capsule " + orUnnamed(e.Capsule)
	if b.Version != "" {
		s += " " + b.Version
	}
	s += fmt.Sprintf(" is served from here on (module of %s, %s)", ui.Bytes(b.ModuleBytes), digest(b.ModuleSHA256))
	if len(b.HostProcess) == 0 {
		return s + "; it may run no program"
	}
	s += "; it may run " + list(b.HostProcess)
	if b.AllowPersistent {
		s += ", also persistently"
	}
	return s
}

func policyChanged(b *event.PolicyChanged) string {
	subject := "the policy " + cmp.Or(b.Subject, "(unnamed)")
	if b.Subject == "config" {
		subject = "the daemon's configuration"
	} else if name, ok := strings.CutPrefix(b.Subject, "principal:"); ok {
		subject = "the profile of " + name
	}
	return fmt.Sprintf("%s is in force from here on (%s, %s)", subject, ui.Count(len(b.Text), "byte"), digest(b.SHA256))
}

func invocationStarted(e *event.Event, b *event.InvocationStarted) string {
	return fmt.Sprintf("%s called %s of capsule %s for %s (call %s, %s of payload)", strings.TrimSuffix(actor(e), ","),
		cmp.Or(b.Action, "(no action)"), orUnnamed(e.Capsule), orUnnamed(e.Principal), cmp.Or(e.CallID, "without id"), ui.Count(b.PayloadBytes, "byte"))
}

var invocationOutcomes = phrases{
	"ok":             "returned",
	"error":          "failed",
	"trap":           "trapped",
	"cancelled":      "was cancelled",
	"deadline":       "ran out of time",
	"daemon-restart": "was cut off by a restart of the daemon",
}

func invocationFinished(e *event.Event, b *event.InvocationFinished) string {
	s := fmt.Sprintf("call %s of capsule %s for %s %s", cmp.Or(e.CallID, "without id"), orUnnamed(e.Capsule), orUnnamed(e.Principal),
		invocationOutcomes.say(cmp.Or(b.Outcome, "ended")))
	if b.Returned != "" {
		s += fmt.Sprintf(" %q", b.Returned)
	}
	if b.DurationNano > 0 {
		s += " after " + nanos(b.DurationNano)
	}
	if b.InstanceLost {
		s += ", and its instance was discarded"
	}
	if b.Detail != "" {
		s += ": " + b.Detail
	}
	return s
}
