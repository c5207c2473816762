package report

import (
	"fmt"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// Exit says how a program ended: "exited with 0", "was ended by KILL (9)".
func Exit(x event.Exit) string {
	switch {
	case x.Signal != nil:
		return "was ended by " + Signal(uint32(*x.Signal))
	case x.Code != nil:
		return fmt.Sprintf("exited with %d", *x.Code)
	}
	return "ended in an unknown way"
}

func (t teller) exited(b *event.ProcessExited) string {
	s := t.process + " " + Exit(b.Exit)
	if b.CoreDumped {
		s += " and left a core dump"
	}
	if b.Cause != "" && b.Cause != "self" {
		s += ", " + causes.say(b.Cause)
	}
	s += fmt.Sprintf("; it used %s of CPU and wrote %s to stdout and %s to stderr", nanos(b.UserNano+b.SystemNano),
		ui.Bytes(b.Stdout.Bytes), ui.Bytes(b.Stderr.Bytes))
	if b.RestKilled > 0 {
		s += fmt.Sprintf("; it left %s behind, which the shim killed", ui.Count(b.RestKilled, "process"))
	}
	if b.AfterRestart {
		s += "; the daemon learned of it after its restart"
	}
	return s
}

func (t teller) lost(b *event.ProcessLost) string {
	s := t.process + " is dead and how it ended is unknown" + because(lostReasons.say(b.Reason))
	if b.Witness != nil {
		s = fmt.Sprintf("%s is dead without an exit record%s; a second witness saw that it %s", t.process, because(lostReasons.say(b.Reason)), Exit(*b.Witness))
	}
	return s + detail(b.Detail)
}

func cancelRequested(e *event.Event, b *event.CancelRequested) string {
	what := "everything"
	if len(b.CallIDs) > 0 {
		what = "call " + list(b.CallIDs)
	}
	s := fmt.Sprintf("%s cancelled %s of %s", actor(e), what, orUnnamed(e.Principal))
	if e.Capsule != "" && e.Actor.Kind != event.ActorGuest {
		s += " in capsule " + e.Capsule
	}
	return fmt.Sprintf("%s%s; that reaches %s", s, because(b.Reason), ui.Count(len(b.Handles), "process"))
}

func (t teller) timerFired(b *event.TimerFired) string {
	switch b.Timer {
	case "lifetime":
		return "the time that " + t.process + " was given is up"
	case "idle":
		return "nobody has touched " + t.process + " for as long as it was granted"
	case "retention":
		return t.process + " has been kept for as long as it was granted after its end"
	case "orphan":
		return "no daemon has been there for " + t.process + " for longer than it was granted"
	}
	return fmt.Sprintf("the timer %s of %s ran out", orUnnamed(b.Timer), t.process)
}

func (t teller) stdinClosed(e *event.Event, b *event.StdinClosed) string {
	s := fmt.Sprintf("%s closed the input of %s", actor(e), t.process)
	if b.Reason == "broken" {
		s = "the input of " + t.process + " was closed because a write to it failed"
	}
	return fmt.Sprintf("%s, after %s had been written to it", s, ui.Bytes(b.Bytes))
}

func (t teller) watchArmed(e *event.Event, b *event.WatchArmed) string {
	return fmt.Sprintf("%s asked to be told what becomes of %s, under %s", actor(e), t.process, watchName(b))
}

func (t teller) signalRequested(e *event.Event, b *event.SignalRequested) string {
	whom := t.process
	if b.Target == event.TargetTree {
		whom += " and all its descendants"
	}
	s := fmt.Sprintf("%s ordered %s for %s", actor(e), Signal(b.Signal), whom)
	if cause := b.Cause; cause != "" && cause != "signal" && cause != "kill" {
		s += ", " + causes.say(cause)
	}
	if b.Late {
		s += "; it had been sent before the ledger could record it"
	}
	return s
}

func (t teller) signalSent(b *event.SignalSent) string {
	if b.Delivered {
		return fmt.Sprintf("%s was delivered to %s", Signal(b.Signal), t.process)
	}
	return fmt.Sprintf("%s did not reach %s%s", Signal(b.Signal), t.process, because(b.Detail))
}

func orphanEnded(e *event.Event, b *event.OrphanEnded) string {
	what := "a leftover directory " + orUnnamed(b.Directory) + " was removed"
	if b.Shim != nil {
		what = fmt.Sprintf("a shim (pid %d) in %s that nobody held was ended", b.Shim.PID, orUnnamed(b.Directory))
	}
	if !e.Handle.IsZero() {
		what += ", of process " + e.Handle.String()
	}
	return what + because(b.Reason) + orphanRan(b)
}

// orphanRan says what is known of an orphan's program.
func orphanRan(b *event.OrphanEnded) string {
	switch {
	case b.Failed != nil:
		return "; its program could not be started"
	case b.Started != nil && b.Exited != nil:
		return fmt.Sprintf("; it had run %s, which %s", orUnnamed(b.Started.Executable.Path), Exit(b.Exited.Exit))
	case b.Started != nil && b.Shim != nil:
		return "; it ran " + orUnnamed(b.Started.Executable.Path)
	case b.Started != nil:
		return fmt.Sprintf("; it had run %s, and how that ended is unknown", orUnnamed(b.Started.Executable.Path))
	case b.Exited != nil:
		return "; its program " + Exit(b.Exited.Exit)
	case b.Go:
		return "; it may have run a program"
	}
	return ""
}
