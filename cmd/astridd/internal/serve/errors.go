package serve

import (
	"context"
	"errors"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger"
)

// asControl turns any error into one that goes over the wire. What it does not
// know is told as it is: operators may read everything.
func asControl(err error) *control.Error {
	var ce *control.Error
	if errors.As(err, &ce) {
		return ce
	}
	code, hint := codeOf(err)
	return &control.Error{Code: code, Message: err.Error(), Hint: hint}
}

// busCodes are what the bus's errors mean to an operator; the others mean that
// something failed.
var busCodes = map[ipc.Code]control.Code{
	ipc.CapabilityDenied: control.CodeDenied, ipc.InvalidInput: control.CodeUsage, ipc.Closed: control.CodeUnavailable,
	ipc.RateLimited: control.CodeQuota, ipc.Backpressure: control.CodeQuota, ipc.Quota: control.CodeQuota,
	ipc.Timeout: control.CodeDeadline, ipc.Unknown: control.CodeFailed,
}

// codeOf knows the errors of the rooms below.
func codeOf(err error) (control.Code, string) {
	var ambiguous *query.AmbiguousError
	var bus *ipc.Error
	switch {
	case errors.As(err, &bus):
		return busCodes[bus.Code], ""
	case errors.As(err, &ambiguous):
		return control.CodeUsage, ""
	case errors.Is(err, ledger.ErrGap):
		return control.CodeGap, "run astridctl verify for all faults"
	case errors.Is(err, ledger.ErrCorrupt):
		return control.CodeCorrupt, "run astridctl verify for all faults"
	case errors.Is(err, ledger.ErrNotFound):
		return control.CodeNotFound, ""
	case errors.Is(err, ledger.ErrNoSpace):
		return control.CodeLedger, "free some space on the disk of the data directory"
	case errors.Is(err, ledger.ErrFailed):
		return control.CodeLedger, "the daemon reopens its ledger by itself; see its log, and try again"
	case errors.Is(err, ledger.ErrClosed):
		return control.CodeUnavailable, "the daemon is stopping"
	case errors.Is(err, context.DeadlineExceeded):
		return control.CodeDeadline, ""
	case errors.Is(err, context.Canceled):
		return control.CodeCancelled, ""
	}
	return control.CodeFailed, ""
}
