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
	return fmt.Sprintf("recovery finished in %s: %s", nanos(b.TookNano), list(Found(b)))
}

// Found says what a recovery found and did, in the order of what matters most
// to who has programs running: phrases that go on from "recovery finished:".
// There is always one.
func Found(b *event.RecoveryFinished) []string {
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
	add(b.Lost, "was lost"+lostParts(b), "were lost"+lostParts(b))
	add(b.Aborted, "had never run", "had never run")
	add(b.Failed, "had failed to start", "had failed to start")
	add(b.Orphans, "orphan was ended", "orphans were ended")
	add(b.Resumed, "unfinished ending was taken up again", "unfinished endings were taken up again")
	add(b.Unsent, "signal had been ordered and nobody knows whether it arrived", "signals had been ordered and nobody knows whether they arrived")
	add(b.Released, "ended process was released", "ended processes were released")
	add(b.Retained, "ended process was kept for its creator", "ended processes were kept for their creators")
	add(b.Trash, "deletion was finished", "deletions were finished")
	add(b.Damaged, "process directory has records that cannot be read", "process directories have records that cannot be read")
	add(b.Foreign, "program had run that this ledger knows nothing of (restored from an older copy?)", "programs had run that this ledger knows nothing of (restored from an older copy?)")
	add(b.Missing, "process directory was missing", "process directories were missing")
	add(b.Pending, "was still being ended or waited for"+silentPart(b), "were still being ended or waited for"+silentPart(b))
	if len(found) == 0 {
		found = []string{"nothing was left to settle"}
	}
	return found
}

// lostParts says why processes were lost, where it was not their shims' death.
func lostParts(b *event.RecoveryFinished) string {
	var why []string
	for _, c := range []struct {
		n    uint32
		what string
	}{
		{b.LostReboot, "by the restart of the machine"}, {b.LostMaybe, "without a trace of whether they ran"}, {b.LostNoDirectory, "with their directories"},
	} {
		if c.n > 0 {
			why = append(why, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(why) == 0 {
		return ""
	}
	return " (" + list(why) + ")"
}

func silentPart(b *event.RecoveryFinished) string {
	if b.Silent == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d without an answer of the shim)", b.Silent)
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

// ledgerSalvaged says first what is gone.
func ledgerSalvaged(b *event.LedgerSalvaged) string {
	s := "a damaged ledger was salvaged; no event is known to be lost"
	if b.LostFrom > 0 {
		s = fmt.Sprintf("a damaged ledger was salvaged: events %d to %d that had been recorded are lost", b.LostFrom, max(b.LostFrom, b.LostTo))
	}
	if b.KeptTo > 0 {
		s += fmt.Sprintf("; events through %d are kept", b.KeptTo)
	}
	if b.SetAside != "" {
		s += "; the damaged file is " + b.SetAside
	}
	return s + because(b.Fault)
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
