package bind

import (
	"context"
	"errors"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
)

// errorSet is the error-code of an interface, and how errors become one.
type errorSet struct {
	of *abi.Type

	// caseOf returns which case an error is, and the text of a case that has
	// one. known is false for a fault of the host's own, of which the guest is
	// not to learn more than that.
	caseOf func(err error) (n int, text string, known bool)
}

// unknown returns the number of the last case, which every error-code has.
func (e *errorSet) unknown() int { return len(casesOf(e.of)) - 1 }

// The error codes of the process interface. The numbers of host.Code are those
// of 1.0.0.
var (
	processErrors = &errorSet{of: errorCode, caseOf: func(err error) (int, string, bool) {
		code, text, known := hostCode(err)
		return int(min(code, host.Unknown)), text, known
	}}

	processErrors07 = &errorSet{of: errorCode07, caseOf: func(err error) (int, string, bool) {
		const unknown07 = 8
		code, text, known := hostCode(err)
		if code < unknown07 {
			return int(code), text, known
		}
		if code < host.Unknown {
			text = code.String()
		}
		return unknown07, text, known
	}}
)

// hostCode returns the code of an error of the process host. The detail is for
// the guest only if that is all there is.
func hostCode(err error) (code host.Code, text string, known bool) {
	var e *host.Error
	switch {
	case errors.As(err, &e):
		return e.Code, e.Detail, true
	case isCancel(err):
		return host.Cancelled, "", true
	}
	return host.Unknown, "", false
}

// errCancelled is a wait of the binding's own that a cancel ended.
var errCancelled = context.Canceled

func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// answer sets the result of a function.
func (in *Instance) answer(s abi.Slot, f function, ok func(abi.Slot), err error) {
	switch {
	case f.errors == nil && err != nil:
		panic(&abi.Trap{Reason: "the call failed and has no way to say so", Err: err})
	case f.errors == nil:
		ok(s)
	case err != nil:
		in.fail(s.Case(1), f, err)
	default:
		if v := s.Case(0); ok != nil {
			ok(v)
		}
	}
}

// fail sets an error-code. An error that the host did not put into the
// contract's words is told to the operator and not to the guest.
func (in *Instance) fail(s abi.Slot, f function, err error) {
	n, text, known := f.errors.caseOf(err)
	if !known {
		in.log.Error("a served function failed", "function", f.Name,
			"capsule", in.caller.Capsule, "principal", in.caller.Principal, "error", err)
		n, text = f.errors.unknown(), "the host failed; its log says why"
	}
	if v := s.Case(n); n == f.errors.unknown() {
		v.Text(lossyString(text))
	}
}
