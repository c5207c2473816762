package report

import (
	"cmp"
	"fmt"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// Brief tells e's content in a few words, for a column beside its kind, time
// and scope.
func Brief(e *event.Event) string { return ui.Cut(ui.Safe(brief(e)), briefRunes) }

// briefRunes bounds a brief.
const briefRunes = 120

func brief(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.SpawnRequested:
		return CommandLine(b)
	case *event.SpawnDecided:
		return briefDecision(b)
	case *event.SpawnAborted:
		return b.Reason + detail(b.Detail)
	case *event.SpawnFailed:
		return b.Step + " " + errno(b.Errno) + detail(b.Detail)
	case *event.ProcessStarted:
		return fmt.Sprintf("pid %d, %s, %s", b.Program.PID, b.Executable.Path, b.Isolation)
	case *event.ProcessExited:
		return briefExit(b)
	case *event.ProcessLost:
		return b.Reason + detail(b.Detail)
	case *event.SignalRequested:
		return fmt.Sprintf("%s to the %s, cause %s, by %s", Signal(b.Signal), b.Target, cmp.Or(b.Cause, "unknown"), Actor(e))
	case *event.SignalSent:
		if b.Delivered {
			return Signal(b.Signal) + " delivered"
		}
		return Signal(b.Signal) + " not delivered" + because(b.Detail)
	case *event.HandleReleased:
		return b.Reason
	}
	return briefScope(e)
}

// briefScope is for events that are not about one process's course.
func briefScope(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.InvocationStarted:
		return fmt.Sprintf("%s, call %s, by %s", b.Action, cmp.Or(e.CallID, "without id"), Actor(e))
	case *event.InvocationFinished:
		return fmt.Sprintf("%s, call %s, %s", b.Outcome, cmp.Or(e.CallID, "without id"), nanos(b.DurationNano))
	case *event.CancelRequested:
		return fmt.Sprintf("%s, by %s%s", ui.Count(len(b.Handles), "process"), Actor(e), because(b.Reason))
	case *event.PolicyChanged:
		return b.Subject
	case *event.DaemonStarted:
		return fmt.Sprintf("version %s, uid %d, isolation %s", b.Version, b.UID, b.Isolation)
	case *event.DaemonStopped:
		return b.Reason
	case *event.CapsuleLoaded:
		return fmt.Sprintf("version %s, may run %s", cmp.Or(b.Version, "unknown"), cmp.Or(list(b.HostProcess), "nothing"))
	}
	return InStory(e)
}

func briefDecision(b *event.SpawnDecided) string {
	if b.Outcome == event.OutcomeGranted {
		return "granted by " + b.Rule
	}
	return "refused: " + b.Code + because(b.Rule)
}

func briefExit(b *event.ProcessExited) string {
	s := Exit(b.Exit)
	if b.Cause != "" && b.Cause != "self" {
		s += ", cause " + b.Cause
	}
	if b.AfterRestart {
		s += ", learned after a restart"
	}
	return s
}
