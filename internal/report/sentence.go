package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// Sentence tells in one English sentence what e records, with the names of
// whom it concerns. A kind that this build does not know is told as such.
func Sentence(e *event.Event) string {
	return teller{process: processName(e)}.tell(e)
}

// InStory is [Sentence] for a reader who knows which process it is about.
func InStory(e *event.Event) string { return teller{process: inStory}.tell(e) }

// inStory is how a story names its process.
const inStory = "the process"

// teller makes sentences; process is how it calls the process concerned.
type teller struct{ process string }

// processName is how a sentence names e's process.
func processName(e *event.Event) string {
	if e.Handle.IsZero() {
		return "a process"
	}
	return "process " + e.Handle.String()
}

// tell makes the sentence: a capital first, a full stop last, one line.
func (t teller) tell(e *event.Event) string {
	s := ui.Safe(strings.TrimSuffix(t.words(e), "."))
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:] + "."
}

// words is the one place where kinds meet their sentences.
func (t teller) words(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.DaemonStarted:
		return daemonStarted(b)
	case *event.DaemonStopped:
		return daemonStopped(e, b)
	case *event.RecoveryStarted:
		return fmt.Sprintf("recovery began, with %s unfinished in the ledger and %s on disk",
			ui.Count(b.Handles, "process"), ui.Count(b.Directories, "process directory"))
	case *event.RecoveryFinished:
		return recoveryFinished(b)
	case *event.SegmentOpened:
		return segmentOpened(b)
	case *event.ClockStepped:
		return clockStepped(b)
	case *event.CapsuleLoaded:
		return capsuleLoaded(e, b)
	case *event.CapsuleUnloaded:
		return fmt.Sprintf("capsule %s is no longer served%s", orUnnamed(e.Capsule), because(unloadReasons.say(b.Reason)))
	case *event.PolicyChanged:
		return policyChanged(b)
	case *event.InvocationStarted:
		return invocationStarted(e, b)
	case *event.InvocationFinished:
		return invocationFinished(e, b)
	case *event.SpawnRequested:
		return t.requested(e, b)
	case *event.LedgerSalvaged:
		return ledgerSalvaged(b)
	case *event.LedgerBackedUp:
		return fmt.Sprintf("the ledger was copied through event %d to %s and the copy found sound (%s, %s)",
			b.Through, orNowhere(b.Directory), ui.Count(b.Segments, "segment"), ui.Bytes(b.Bytes))
	case *event.LedgerMigrated:
		return fmt.Sprintf("the ledger's files were brought from layout %d to %d; the files before are kept in %s", b.From, b.To, orNowhere(b.Backup))
	}
	return t.processWords(e)
}

// processWords are the sentences about one process.
func (t teller) processWords(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.SpawnDecided:
		return t.decided(b)
	case *event.SpawnAborted:
		return t.aborted(b)
	case *event.SpawnFailed:
		return t.failed(b)
	case *event.ProcessStarted:
		return t.started(b)
	case *event.ProcessAdopted:
		return t.process + " was still running and was taken in again by the restarted daemon"
	case *event.ProcessExited:
		return t.exited(b)
	case *event.ProcessLost:
		return t.lost(b)
	case *event.HandleReleased:
		return fmt.Sprintf("the handle of %s was released%s", t.process, because(releaseReasons.say(b.Reason)))
	}
	return t.holdingWords(e)
}

// holdingWords are the sentences about holding and watching a process.
func (t teller) holdingWords(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.HandleAttached:
		return fmt.Sprintf("%s attached to %s", actor(e), t.process)
	case *event.WatchArmed:
		return t.watchArmed(e, b)
	case *event.WatchDisarmed:
		return fmt.Sprintf("what becomes of %s is published no more%s", t.process, because(disarmReasons.say(b.Reason)))
	}
	return t.endingWords(e)
}

// endingWords are the sentences about ending processes.
func (t teller) endingWords(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.CancelRequested:
		return cancelRequested(e, b)
	case *event.CancelFinished:
		return fmt.Sprintf("cancel %s is complete: every process it reached has ended", id16(b.Cancel))
	case *event.StopRequested:
		return fmt.Sprintf("%s asked to stop %s%s: TERM now, KILL after %s", actor(e), t.process, because(stopReasons.say(b.Reason)), nanos(b.GraceNano))
	case *event.StdinClosed:
		return t.stdinClosed(e, b)
	case *event.TimerFired:
		return t.timerFired(b)
	case *event.SignalRequested:
		return t.signalRequested(e, b)
	case *event.SignalSent:
		return t.signalSent(b)
	case *event.OrphanEnded:
		return orphanEnded(e, b)
	}
	return unknown(e)
}

// unknown tells of a kind that a newer build wrote.
func unknown(e *event.Event) string {
	n := 0
	if u, ok := e.Body.(*event.Unknown); ok {
		n = len(u.Raw)
	}
	return fmt.Sprintf("an event of kind %d, which this version does not know, with %s of content", uint32(e.Kind()), ui.Count(n, "byte"))
}
