package process

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Code says why the host did not do what was asked.
type Code uint8

// The codes, in the contract's order.
const (
	CapabilityDenied Code = iota
	InvalidInput
	BoundaryEscape
	Quota
	TooLarge
	Closed
	Cancelled
	WaitTimeout
	NoSuchProcess
	RegistryFull
	PersistUnsupported
	Unknown
)

var codeNames = [...]string{
	"capability-denied", "invalid-input", "boundary-escape", "quota", "too-large", "closed",
	"cancelled", "wait-timeout", "no-such-process", "registry-full", "persist-unsupported", "unknown",
}

// String returns the code's name in the contract.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error is an answer of the host that is not a success.
type Error struct {
	Code   Code
	Detail string // set for Unknown, and where this package refused itself
}

// Error reads like "process: quota".
func (e *Error) Error() string {
	if e.Detail == "" {
		return "process: " + e.Code.String()
	}
	return "process: " + e.Code.String() + ": " + e.Detail
}

// Is compares by code. Cancelled is context.Canceled too, and WaitTimeout
// context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	if t, ok := target.(*Error); ok {
		return t.Code == e.Code
	}
	return (target == context.Canceled && e.Code == Cancelled) ||
		(target == context.DeadlineExceeded && e.Code == WaitTimeout)
}

// One error for each code of the contract, for errors.Is.
var (
	ErrDenied             = &Error{Code: CapabilityDenied}   // the manifest or the policy does not allow it
	ErrInvalid            = &Error{Code: InvalidInput}       // something in the request may not be
	ErrEscape             = &Error{Code: BoundaryEscape}     // the directory is outside of the workspace
	ErrQuota              = &Error{Code: Quota}              // as many run as may
	ErrTooLarge           = &Error{Code: TooLarge}           // beyond a cap of the contract
	ErrClosed             = &Error{Code: Closed}             // the program, or its stdin, has ended
	ErrCancelled          = &Error{Code: Cancelled}          // the call of the capsule was cancelled: clean up and return
	ErrWaitTimeout        = &Error{Code: WaitTimeout}        // it still runs
	ErrNoSuchProcess      = &Error{Code: NoSuchProcess}      // no process of this capsule and principal has the id
	ErrRegistryFull       = &Error{Code: RegistryFull}       // too many ids are kept: release some
	ErrPersistUnsupported = &Error{Code: PersistUnsupported} // the host cannot keep a process for this caller
)

// ErrOutside is returned by everything that is not built as a capsule.
var ErrOutside = mem.ErrOutside

// call calls a host function whose result is size bytes; at is where the ok or
// the error case stands in it, 4 or 8.
func call(size int, at uint32, raw func(ret uint32)) (mem.View, error) {
	return mem.Result(size, at, raw, liftError)
}

func liftError(v mem.View, at uint32) error {
	code, detail := v.ErrorCode(at, uint8(Unknown))
	return &Error{Code: Code(code), Detail: detail}
}

// valid refuses text that is not UTF-8: the host would trap the capsule.
func valid(what string, texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return &Error{Code: InvalidInput, Detail: what + " is not UTF-8"}
		}
	}
	return nil
}
