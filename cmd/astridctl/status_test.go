package main

import (
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestRecoveryInStatus holds what status says of a recovery that goes on, of one
// that left something to go on, and of none.
func TestRecoveryInStatus(t *testing.T) {
	r := control.RecoveryOf(&event.RecoveryFinished{Ended: 2, Pending: 2, Silent: 1, Foreign: 1, TookNano: 5e6})
	r.Settling = 1
	for want, st := range map[string]*control.Status{
		"":               {},
		"3 of 7 matched": {Progress: &control.Progress{Matched: 3, Total: 7}},
		"2 were cancelled because their owners were gone, 1 program had run that this ledger knows nothing of (restored from an older copy?), " +
			"2 were still being ended or waited for (1 without an answer of the shim), in 5 ms; 1 of them now": {Recovery: r},
	} {
		if got := recoveryText(st); got != want {
			t.Errorf("status says %q, want %q", got, want)
		}
	}
}
