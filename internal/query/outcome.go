package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/astrid-os/processledger/ledger/event"
)

// plainOutcomes are the outcomes without a number, for help and checks.
var plainOutcomes = []string{
	"granted", "refused", // spawn.decided; a refusal also has its code:
	"capability-denied", "invalid-input", "boundary-escape", "quota", "too-large", "registry-full", "persist-unsupported", "closed", "cancelled", "unknown",
	"aborted", "failed", "lost", // spawn.aborted, spawn.failed, process.lost
	"exited", "success", "failure", "signaled", // process.exited, and exit:N, signal:N
	"delivered", "undelivered", // signal.sent
	"ok", "error", "trap", "deadline", "daemon-restart", // invocation.finished, with cancelled
}

// OutcomeNames lists the outcomes a filter may name, for help texts.
func OutcomeNames() []string { return append(slices.Clone(plainOutcomes), "exit:N", "signal:N") }

// checkOutcome tells what is wrong with an outcome's name.
func checkOutcome(o string) error {
	if slices.Contains(plainOutcomes, o) {
		return nil
	}
	for _, prefix := range []string{"exit:", "signal:"} {
		if n, ok := strings.CutPrefix(o, prefix); ok {
			if _, err := strconv.ParseInt(n, 10, 32); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("outcome %q is not known; use one of %s", o, strings.Join(OutcomeNames(), ", "))
}

// Outcomes returns the outcomes that e tells of, the general before the
// particular: none for an event that decides or ends nothing.
func Outcomes(e *event.Event) []string {
	switch b := e.Body.(type) {
	case *event.SpawnDecided:
		if b.Outcome == event.OutcomeGranted {
			return []string{"granted"}
		}
		return []string{"refused", b.Code}
	case *event.SpawnAborted:
		return []string{"aborted"}
	case *event.SpawnFailed:
		return []string{"failed"}
	case *event.ProcessLost:
		return []string{"lost"}
	case *event.ProcessExited:
		return exitOutcomes(b.Exit)
	case *event.SignalSent:
		if b.Delivered {
			return []string{"delivered"}
		}
		return []string{"undelivered"}
	case *event.InvocationFinished:
		return []string{b.Outcome}
	}
	return nil
}

func exitOutcomes(x event.Exit) []string {
	switch {
	case x.Signal != nil:
		return []string{"exited", "failure", "signaled", fmt.Sprintf("signal:%d", *x.Signal)}
	case x.Code != nil && *x.Code == 0:
		return []string{"exited", "success", "exit:0"}
	case x.Code != nil:
		return []string{"exited", "failure", fmt.Sprintf("exit:%d", *x.Code)}
	}
	return []string{"exited"}
}
