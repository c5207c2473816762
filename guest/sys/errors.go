package sys

import (
	"context"
	"fmt"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Code says why the host did not do what was asked.
type Code uint8

// The codes, in the contract's order.
const (
	CapabilityDenied Code = iota
	ConfigKeyReserved
	TooLarge
	RegistryUnavailable
	Cancelled
	Unknown
)

var codeNames = [...]string{
	"capability-denied", "config-key-reserved", "too-large", "registry-unavailable", "cancelled", "unknown",
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
	Detail string // set for Unknown only
}

// Error reads like "sys: too-large".
func (e *Error) Error() string {
	if e.Detail == "" {
		return "sys: " + e.Code.String()
	}
	return "sys: " + e.Code.String() + ": " + e.Detail
}

// Is compares by code; a cancelled call is context.Canceled too.
func (e *Error) Is(target error) bool {
	if t, ok := target.(*Error); ok {
		return t.Code == e.Code
	}
	return target == context.Canceled && e.Code == Cancelled
}

// One error for each code that a program is likely to act on, for errors.Is.
var (
	ErrDenied      = &Error{Code: CapabilityDenied}    // the manifest or the policy does not allow it
	ErrReserved    = &Error{Code: ConfigKeyReserved}   // the key is the host's own
	ErrTooLarge    = &Error{Code: TooLarge}            // beyond a cap of the contract
	ErrUnavailable = &Error{Code: RegistryUnavailable} // the host cannot look capabilities up now
	ErrCancelled   = &Error{Code: Cancelled}           // the call of the capsule was cancelled: clean up and return
)

// ErrOutside is returned by everything that is not built as a capsule.
var ErrOutside = mem.ErrOutside

// call calls a host function that returns a result of size bytes.
func call(size int, raw func(ret uint32)) (mem.View, error) {
	return mem.Result(size, 4, raw, liftError)
}

func liftError(v mem.View, at uint32) error {
	code, detail := v.ErrorCode(at, uint8(Unknown))
	return &Error{Code: Code(code), Detail: detail}
}
